package manifest_test

import (
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/manifest"
	"concentrator/internal/manifest/fakeapi"
)

// FuzzPlan applies any documents, then others, with or without prune, to an empty API. What a plan says is done: planned
// again, nothing is left to do. A dry run changes nothing, and no step comes twice.
func FuzzPlan(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte(acme), []byte(acme), true)
	f.Add([]byte(acme), []byte("kind: Tenant\nname: tenants/acme\n"), true)
	f.Add([]byte(acme), []byte("kind: User\nname: tenants/acme/users/bob\npassword: x\n"), false)
	const two = "kind: Tenant\nname: tenants/a\n---\nkind: Tenant\nname: tenants/b\nrealms: [b.example]\n"
	f.Add([]byte(two), []byte(acme), true)
	f.Fuzz(func(t *testing.T, first, then []byte, prune bool) {
		api := fakeapi.New()
		for _, text := range [][]byte{first, then} {
			docs, err := manifest.Parse("f", text)
			if err != nil {
				return
			}
			planTwice(t, api, docs, prune)
		}
	})
}

// planTwice plans, applies, and plans again.
func planTwice(t *testing.T, api *fakeapi.API, docs []manifest.Document, prune bool) {
	c := manifest.Client{Conn: api}
	plan, err := manifest.Plan(t.Context(), c, docs, prune)
	if err != nil {
		return // the API has refused something
	}
	seen := map[string]bool{}
	for _, ch := range plan {
		if seen[ch.Name] {
			t.Errorf("%s comes twice", ch.Name)
		}
		seen[ch.Name] = true
	}
	quiet := func(manifest.Change, error) {}
	dryErr := manifest.Apply(t.Context(), c, plan, true, quiet)
	again, err := manifest.Plan(t.Context(), c, docs, prune)
	if err != nil || count(again) != count(plan) {
		t.Fatalf("a dry run has changed something: %d steps, then %d, %v (%v)", count(plan), count(again), err, dryErr)
	}
	if err := manifest.Apply(t.Context(), c, plan, false, quiet); err != nil {
		return
	}
	again, err = manifest.Plan(t.Context(), c, docs, prune)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(again); n != 0 {
		t.Errorf("%d steps are left after all was done: %+v", n, again)
	}
}

// count is how many steps of a plan change something.
func count(plan []manifest.Change) (n int) {
	for _, ch := range plan {
		if ch.Action != manifest.Unchanged {
			n++
		}
	}
	return n
}
