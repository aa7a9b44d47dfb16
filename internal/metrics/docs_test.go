package metrics_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the metrics into docs/metrics.md")

// family is a metric as a scrape has it.
type family struct {
	name, kind, help string
	labels           []string
}

var (
	series = regexp.MustCompile(`^(\w+)(?:\{(.*)\})? \S+$`)
	label  = regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
)

// families are dockstack's own metrics in a scrape, by name.
func families(t *testing.T, text string) map[string]*family {
	t.Helper()
	out := map[string]*family{}
	var now *family
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			now = &family{name: name, help: help}
			out[name] = now
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			_, now.kind, _ = strings.Cut(rest, " ")
			continue
		}
		m := series.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("a scrape's line can't be read: %s", line)
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" && !slices.Contains(now.labels, l[1]) {
				now.labels = append(now.labels, l[1])
			}
		}
	}
	return out
}

const (
	tableBegin = "<!-- metrics: written by `go test ./internal/metrics -update` -->\n"
	tableEnd   = "<!-- end of metrics -->"
)

// TestDocs: docs/metrics.md has every metric, as it is.
func TestDocs(t *testing.T) {
	const path = "../../docs/metrics.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the metrics", path)
	}
	var b strings.Builder
	b.WriteString("\n| metric | type | labels | is |\n|---|---|---|---|\n")
	all := families(t, whole(t))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		if !strings.HasPrefix(name, "dockstack_") {
			continue
		}
		labels := "–"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, f.kind, labels, f.help)
	}
	b.WriteString("\n")
	want := before + tableBegin + b.String() + tableEnd + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(doc) {
		t.Errorf("%s is not what the metrics are: run `go test ./internal/metrics -update`", path)
	}
}

// used are the metrics that a query asks for.
var used = regexp.MustCompile(`\b(dockstack_\w+|process_\w+|go_\w+|up)\b`)

// checkNames fails for each metric of a query that no scrape has.
func checkNames(t *testing.T, all map[string]*family, where, query string) int {
	t.Helper()
	names := used.FindAllString(query, -1)
	for _, name := range names {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if cut, ok := strings.CutSuffix(name, suffix); ok && all[cut] != nil && all[cut].kind == "histogram" {
				base = cut
			}
		}
		if name != "up" && all[base] == nil {
			t.Errorf("%s asks for %s, which dockstack does not have", where, name)
		}
	}
	return len(names)
}

func TestAlertsAskForWhatIsThere(t *testing.T) {
	all := families(t, whole(t))
	for _, file := range []string{"alerts.yml", "alerts_test.yml"} {
		text, err := os.ReadFile(filepath.Join("../../docs/prometheus", file))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "expr: ") && !strings.Contains(line, "ALERTS") || strings.Contains(line, "series: ") {
				n += checkNames(t, all, file, strings.ReplaceAll(line, "DOCKSTACK_", ""))
			}
		}
		if n < 15 {
			t.Errorf("%s: only %d metrics were found, so nothing was checked", file, n)
		}
	}
}

// panel is what the test reads of a dashboard's panel.
type panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

// TestDashboard: every query of the dashboard is one that Prometheus
// understands, and asks for metrics that there are.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../docs/grafana/dockstack.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title, UID string
		Panels     []panel
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("the dashboard is no JSON: %v", err)
	}
	all := families(t, whole(t))
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	ids := map[int]bool{}
	queries := 0
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is wider than the dashboard", p.Title)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			checkNames(t, all, "panel "+p.Title, q.Expr)
			queries++
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$network", ".*").Replace(q.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("panel %q asks with a variable that there is not: %s", p.Title, expr)
			}
			fmt.Fprintf(&rules, "      - {record: 'q%d', expr: '%s'}\n", queries, strings.ReplaceAll(expr, "'", "''"))
		}
	}
	if queries < 20 {
		t.Errorf("only %d queries were found", queries)
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}
