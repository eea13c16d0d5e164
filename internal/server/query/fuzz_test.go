package query

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/corpus"
)

// FuzzParseOrder: an order that is taken is one, and the name tells apart what is alike in it.
func FuzzParseOrder(f *testing.F) {
	corpus.Add(f)
	for _, s := range []string{
		"inBytes desc, user", "name", "start_time asc", "limits.maxSessions", "drops", " , ", "ipsec.psks", "user desc desc", "\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, about := range []proto.Message{filterSession, filterTenant, filterUser} {
			o, err := ParseOrder(about.ProtoReflect().Descriptor(), text)
			if err != nil || o == nil {
				continue
			}
			empty := about.ProtoReflect().New().Interface()
			places := []string{o.Place(about, "b"), o.Place(empty, "c"), o.Place(about, "a"), o.Place(about, "b")}
			if places[0] != places[3] || places[2] >= places[0] || places[1] == places[2] || places[1] == places[0] {
				t.Errorf("%q: %q", text, places)
			}
			if s, ok := about.(*concentratorv1.Session); ok && strings.EqualFold(strings.TrimSpace(text), "inBytes") {
				more := proto.CloneOf(s)
				more.InBytes++
				if !slices.IsSorted([]string{o.Place(s, "z"), o.Place(more, "a")}) {
					t.Errorf("%q: more octets come first", text)
				}
			}
		}
	})
}

// FuzzParseSeconds: what is read as seconds is a duration, and what Seconds writes is read as the same.
func FuzzParseSeconds(f *testing.F) {
	corpus.Add(f)
	for _, s := range []string{"20s", "0.5s", "-1s", "1m", "s", ".s", "1e3s", "9223372036.854775807s", "1_0s"} {
		f.Add(s, int64(len(s)))
	}
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if d, err := ParseSeconds(text); err == nil {
			if want, err := time.ParseDuration(text); err != nil || d != want {
				t.Errorf("%q is %v, want %v, %v", text, d, want, err)
			}
		}
		// A float holds whole nanoseconds up to some weeks.
		want := time.Duration(n % int64(1000*time.Hour))
		if got, err := ParseSeconds(Seconds(want)); err != nil || got != want {
			t.Errorf("%v is written %s, read as %v, %v", want, Seconds(want), got, err)
		}
	})
}
