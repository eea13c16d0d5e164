package telemetry

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Where the files for operators are.
const (
	dashboardFile = "../../deploy/grafana/concentrator.json"
	alertsFile    = "../../deploy/prometheus/alerts.yml"
)

// query is one expression of PromQL and where it stands.
type query struct{ where, expr string }

// queries are all expressions of the dashboard and the alert rules, the dashboard's variables included.
func queries(t *testing.T) (all []query) {
	t.Helper()
	var board struct {
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	decode(t, dashboardFile, func(b []byte) error { return json.Unmarshal(b, &board) })
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			all = append(all, query{"variable " + v.Name, v.Definition})
		}
	}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, query{"panel " + p.Title, target.Expr})
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	decode(t, alertsFile, func(b []byte) error { return yaml.Unmarshal(b, &rules) })
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all = append(all, query{"alert " + r.Alert, r.Expr})
		}
	}
	if len(all) < 80 {
		t.Fatalf("found only %d queries: the test does not see them", len(all))
	}
	return all
}

func decode(t *testing.T, file string, into func([]byte) error) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = into(b)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

var (
	metricName = regexp.MustCompile(`\b(concentrator|process|go|promhttp)_[a-z0-9_]+`)
	selector   = regexp.MustCompile(`\b([a-z][a-z0-9_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping   = regexp.MustCompile(`\bby \(([\w, ]+)\)`)
	suffix     = regexp.MustCompile(`_(bucket|count|sum)$`)
)

// TestDeployedQueriesNameWhatThereIs: every metric that the dashboard and the alert rules name is one that the daemon has, and
// has the labels that they look at.
func TestDeployedQueriesNameWhatThereIs(t *testing.T) {
	labels := make(map[string][]string) // of each metric, as it stands in queries
	for _, s := range specs {
		name := namespace + "_" + s.name
		labels[name] = s.labels
		if s.kind == kindHistogram {
			delete(labels, name)
			labels[name+"_bucket"] = append(slices.Clone(s.labels), "le")
			labels[name+"_count"], labels[name+"_sum"] = s.labels, s.labels
		}
	}
	m := NewMetrics()
	serveOnce(t, m) // promhttp's own come with the page
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name := f.GetName(); !strings.HasPrefix(name, namespace+"_") {
			labels[name] = []string{"quantile"}
		}
	}
	for _, q := range queries(t) {
		var known []string
		for _, name := range metricName.FindAllString(q.expr, -1) {
			l, ok := labels[name]
			if !ok {
				t.Errorf("%s: there is no metric %s", q.where, name)
			}
			known = append(known, l...)
		}
		known = append(known, "instance", "job") // Prometheus sets them
		for _, s := range selector.FindAllStringSubmatch(q.expr, -1) {
			for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
				if !slices.Contains(append([]string{"instance", "job"}, labels[s[1]]...), l[1]) {
					t.Errorf("%s: %s has no label %s", q.where, s[1], l[1])
				}
			}
		}
		for _, g := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for _, l := range strings.Split(g[1], ", ") {
				if !slices.Contains(known, l) {
					t.Errorf("%s: by (%s): no metric of it has that label", q.where, l)
				}
			}
		}
	}
}

// TestEveryMetricIsShown: the dashboard or an alert rule uses each metric, or there is no use in it.
func TestEveryMetricIsShown(t *testing.T) {
	used := make(map[string]bool)
	for _, q := range queries(t) {
		for _, name := range metricName.FindAllString(q.expr, -1) {
			used[name], used[suffix.ReplaceAllString(name, "")] = true, true
		}
	}
	for _, s := range specs {
		if !used[namespace+"_"+s.name] && s.name != "pool_quarantined_addresses" { // for ad-hoc questions
			t.Errorf("%s is on no dashboard and in no rule", s.name)
		}
	}
}
