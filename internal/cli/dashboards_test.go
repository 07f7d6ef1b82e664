package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// expression is one that a dashboard asks for.
type expression struct {
	dashboard, panel, text, legend string
	columns                        []string // labels that a table shows
}

// filled is the expression with a choice made of each variable.
func (e expression) filled() string {
	return strings.NewReplacer(`"$cluster"`, `".*"`, `"$job"`, `".*"`, `instance="$instance"`, `instance=~".+"`).Replace(e.text)
}

// grafanaPanel is what is looked at of a panel.
type grafanaPanel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ Type, UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct {
		Expr, LegendFormat, Format string
		Instant, Range             bool
	}
	FieldConfig struct {
		Defaults  struct{ Unit string }
		Overrides []struct {
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
	Transformations []struct {
		ID      string
		Options struct{ RenameByName map[string]string }
	}
}

// columns are the labels that a table's columns are of.
func (p *grafanaPanel) columns() []string {
	var out []string
	for _, tr := range p.Transformations {
		for label := range tr.Options.RenameByName {
			if !strings.HasPrefix(label, "Value") {
				out = append(out, label)
			}
		}
	}
	slices.Sort(out)
	return out
}

type grafanaDashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []grafanaPanel
	Templating    struct {
		List []struct {
			Name, Type, Definition string
			Query                  any
		}
	}
}

func grafanaDashboards(t *testing.T) map[string]grafanaDashboard {
	t.Helper()
	names, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(names) != 2 {
		t.Fatalf("dashboards: %v, %v", names, err)
	}
	out := map[string]grafanaDashboard{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d grafanaDashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[filepath.Base(name)] = d
	}
	return out
}

func dashboardExpressions(t *testing.T) []expression {
	t.Helper()
	var out []expression
	all := grafanaDashboards(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, p := range all[name].Panels {
			for _, q := range p.Targets {
				out = append(out, expression{name, p.Title, q.Expr, q.LegendFormat, p.columns()})
			}
		}
	}
	return out
}

// TestDashboards: variables are declared and used, panels lie side by side, and each says its unit.
func TestDashboards(t *testing.T) {
	uids := map[string]bool{}
	for name, d := range grafanaDashboards(t) {
		if d.UID == "" || uids[d.UID] || d.Title == "" || d.SchemaVersion != 39 {
			t.Errorf("%s: uid %q, title %q, schema version %d", name, d.UID, d.Title, d.SchemaVersion)
		}
		uids[d.UID] = true
		var variables []string
		for _, v := range d.Templating.List {
			variables = append(variables, v.Name)
		}
		if variables[0] != "datasource" || !slices.Contains(variables, "cluster") || !slices.Contains(variables, "job") || name == "host.json" && !slices.Contains(variables, "instance") {
			t.Errorf("%s: variables %v", name, variables)
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\$\{?(\w+)\}?`).FindAllStringSubmatch(string(b), -1) {
			if !slices.Contains(append(variables, "__value", "__all"), m[1]) {
				t.Errorf("%s: there is no variable %s", name, m[1])
			}
		}
		gridIsTiled(t, name, d.Panels)
		for _, p := range d.Panels {
			panelIsWhole(t, name, &p)
		}
	}
}

func gridIsTiled(t *testing.T, name string, panels []grafanaPanel) {
	t.Helper()
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range panels {
		if ids[p.ID] {
			t.Errorf("%s: id %d stands twice", name, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s: %q lies on %q or outside", name, p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// unitOf is the unit that an expression's values have, "" where its name does not say.
func unitOf(expr string) string {
	switch {
	case strings.Contains(expr, ") * ") && strings.Contains(expr, "lastgood_verdict{"), strings.HasPrefix(expr, "count"):
		return "none"
	case strings.Contains(expr, "_timestamp_seconds"):
		return "dateTimeAsIso"
	case strings.Contains(expr, "_ratio") || strings.Contains(expr, ":ratio") || strings.Contains(expr, "headroom:min"):
		return "percentunit"
	case strings.Contains(expr, "_celsius"):
		return "celsius"
	case strings.Contains(expr, "_bytes"):
		return "bytes"
	case strings.Contains(expr, "_seconds"):
		return "s"
	}
	return ""
}

func panelIsWhole(t *testing.T, name string, p *grafanaPanel) {
	t.Helper()
	if p.Type == "row" {
		return
	}
	if p.Title == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
		t.Errorf("%s: panel %d: title %q, %d queries, data source %q", name, p.ID, p.Title, len(p.Targets), p.Datasource.UID)
	}
	units := []string{p.FieldConfig.Defaults.Unit}
	for _, o := range p.FieldConfig.Overrides {
		for _, v := range o.Properties {
			if v.ID == "unit" {
				units = append(units, fmt.Sprint(v.Value))
			}
		}
	}
	for _, q := range p.Targets {
		if q.Instant == q.Range || (p.Type == "table") != (q.Format == "table") {
			t.Errorf("%s: %q: a %s asks for format %q, instant %v", name, p.Title, p.Type, q.Format, q.Instant)
		}
		want := unitOf(q.Expr)
		if want != "" && !slices.Contains(units, want) {
			t.Errorf("%s: %q has units %v, and shows %s: want %s", name, p.Title, units, q.Expr, want)
		}
		if want == "dateTimeAsIso" && !strings.Contains(q.Expr, "* 1000") && !strings.Contains(q.Expr, "1000 *") {
			t.Errorf("%s: %q: Grafana counts milliseconds: %s", name, p.Title, q.Expr)
		}
	}
}

// TestExpressionsAreWellFormed: promtool reads every expression of the dashboards.
func TestExpressionsAreWellFormed(t *testing.T) {
	promtool := prometheusTool(t, "promtool")
	var b bytes.Buffer
	b.WriteString("groups:\n- name: dashboards\n  rules:\n")
	all := dashboardExpressions(t)
	for i, e := range all {
		fmt.Fprintf(&b, "  - record: dashboard:expression_%d\n    expr: %s\n", i, mustJSON(t, e.filled()))
	}
	name := writeFile(t, filepath.Join(t.TempDir(), "rules.yaml"), b.String())
	out, err := exec.Command(promtool, "check", "rules", name).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("%d rules found", len(all))) {
		t.Errorf("%v: %s", err, out)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}
