//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where Prometheus listens, in the daemon's namespace, and where what we ship for it is.
const (
	prometheusAddress = "127.0.0.1:9091"
	deployDir         = "../../deploy"
)

// Prometheus is a Prometheus that scrapes a daemon once a second under the alert rules that we ship.
type Prometheus struct {
	http *http.Client
	proc *process
}

// StartPrometheus starts one beside d. It ends with the test. Some five seconds later it scrapes; Scraping waits for that.
func StartPrometheus(t testing.TB, d *Daemon) *Prometheus {
	t.Helper()
	dir := filepath.Join(d.Dir, "prometheus")
	alerts, err := filepath.Abs(filepath.Join(deployDir, "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: concentrator
    static_configs: [{targets: [%q], labels: {instance: gw1}}]
`, alerts, metricsAddress)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Prometheus{http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dialIn(d.ns)}}}
	p.proc, err = startProcess(filepath.Join(dir, "log"), inside(d.ns, "prometheus",
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+prometheusAddress)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.proc.stop(syscall.SIGTERM, 10*time.Second); err != nil {
			t.Errorf("prometheus: %v", err)
		}
	})
	return p
}

// Scraping returns when it has scraped the daemon.
func (p *Prometheus) Scraping(t testing.TB) {
	t.Helper()
	ready := func() bool {
		_, up, err := p.Query("up", 2*time.Second)
		return err == nil && up == 1
	}
	if err := p.proc.wait(ready, 20*time.Second); err != nil {
		t.Fatalf("prometheus: %v", err)
	}
}

// ask asks the HTTP API and decodes its data.
func (p *Prometheus) ask(what string, args url.Values, data any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+prometheusAddress+"/api/v1/"+what+"?"+args.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", what, resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", what, answer.Error)
	}
	return nil
}

// Query asks for an expression over the last seconds, one value a second. It returns how many series there are, and the
// largest number in them.
func (p *Prometheus) Query(expr string, over time.Duration) (series int, largest float64, err error) {
	var data struct {
		Result []struct {
			Values [][2]any // time and number
		}
	}
	now := time.Now()
	err = p.ask("query_range", url.Values{
		"query": {expr}, "step": {"1"},
		"start": {strconv.FormatInt(now.Add(-over).Unix(), 10)}, "end": {strconv.FormatInt(now.Unix(), 10)},
	}, &data)
	for _, r := range data.Result {
		for _, v := range r.Values {
			text, _ := v[1].(string)
			// What is no number is NaN, which is larger than nothing.
			if n, err := strconv.ParseFloat(text, 64); err == nil && n > largest {
				largest = n
			}
		}
	}
	return len(data.Result), largest, err
}

// Rule is an alert rule as Prometheus has it.
type Rule struct {
	Name, Health, LastError string
	Labels                  map[string]string
	Alerts                  []struct {
		State  string
		Labels map[string]string
	}
}

// Rules returns the alert rules.
func (p *Prometheus) Rules() (all []Rule, err error) {
	var data struct{ Groups []struct{ Rules []Rule } }
	err = p.ask("rules", nil, &data)
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all, err
}

// Panel is one expression of the dashboard that we ship.
type Panel struct{ Title, Expr string }

// Panels reads the dashboard. Its variables are those of somebody who has chosen nothing.
func Panels(t testing.TB) (all []Panel) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployDir, "grafana", "concentrator.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	chosen := strings.NewReplacer("$__rate_interval", "5s", "$instance", ".*", "$tenant", ".*", "$job", ".*")
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, Panel{p.Title, chosen.Replace(target.Expr)})
		}
	}
	return all
}
