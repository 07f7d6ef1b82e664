package cli

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lastgood/internal/metrics"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// labelsOf are the labels of each metric.
type labelsOf map[string]map[string]bool

// targetLabels are those that Prometheus gives a series, and the cluster of many.
var targetLabels = []string{"job", "instance", "cluster"}

func (l labelsOf) add(metric string, labels ...string) {
	if l[metric] == nil {
		l[metric] = map[string]bool{}
	}
	for _, n := range append(labels, targetLabels...) {
		l[metric][n] = true
	}
}

func (l labelsOf) families(families []*dto.MetricFamily) {
	for _, f := range families {
		l.add(f.GetName())
		for _, m := range f.Metric {
			for _, p := range m.Label {
				l.add(f.GetName(), p.GetName())
			}
		}
	}
}

// exported are the metrics that there are: those of a real server, what a result that has everything becomes, and
// those of others that are leaned on.
func exported(t *testing.T) labelsOf {
	t.Helper()
	out := labelsOf{}
	out.families(parsed(t, served(t)))
	out.families(declared(t))
	out.add("up")
	out.add("ALERTS", "alertname", "alertstate", "severity")
	out.add("node_boot_time_seconds")
	out.recorded(t)
	return out
}

func parsed(t *testing.T, text []byte) []*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Values(families))
}

// served is what a server says of a host that regressed.
func served(t *testing.T) []byte {
	t.Helper()
	host, state := checkedHost(t, "dead-xhci-before", "dead-xhci-after")
	w, err := http.Get("http://" + serving(t, host, state) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	lintMetrics(t, b)
	return b
}

// declared is what becomes of a subject of each kind, with its texts and its numbers, and of all that a report and the
// gate can hold: on no recorded host all of it happened.
func declared(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	snap := &snapshot.Snapshot{}
	for _, k := range all {
		s := snapshot.Subject{Kind: k.Name, ID: "one", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{}}
		for _, a := range k.Attrs {
			s.Attrs[a.Name] = snapshot.Text("a text")
			if a.Unit != snapshot.NoUnit || a.Limit > 0 || a.LimitAttr != "" {
				s.Attrs[a.Name] = snapshot.Int(3)
			}
		}
		snap.Subjects = append(snap.Subjects, s)
	}
	if err := snap.Sort(); err != nil {
		t.Fatal(err)
	}
	id := &snapshot.Identity{Kernel: snapshot.KernelIdentity{Release: "6.12.1", BuildID: "ab", Arch: "x86_64"}}
	rep := &report.Report{Verdict: snapshot.Regressed, Taken: time.Unix(1, 0), Current: id, Baseline: id, Accepted: time.Unix(1, 0), AcceptedBy: "root",
		Findings: []snapshot.Finding{{Code: "c", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Attr: "a",
			Subject: snapshot.SubjectRef{Kind: "hw.disk", ID: "one", Label: "disk"}}},
		Candidates: []report.Candidate{{Kernel: "6.13", Verdict: snapshot.Good}}, Boot: &report.Boot{Class: "fell back", Intended: "6.13", Running: "6.12.1"}}
	return metrics.Families(metrics.Input{Kinds: all, Snapshot: snap, Base: snap, Report: rep, Boots: []metrics.Boot{{}}, Waiting: 1,
		Gate: &metrics.Gate{Held: true, Since: time.Unix(1, 0), Step: "recovered", From: "6.13", To: "6.12.1"}})
}

var (
	byList     = regexp.MustCompile(`^\w+ by \(([^)]*)\)`)
	selectorIn = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^{}]*)\}`)
	nameIn     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	grouping   = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	matcherIn  = regexp.MustCompile(`^\s*([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)`)
	stringIn   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	madeUp     = regexp.MustCompile(`(?:label_replace\([^"]*|count_values\()"(\w+)"`)
)

// recorded adds the recording rules' metrics, with the labels that their expressions leave, and to ALERTS those of what
// is alerted on.
func (l labelsOf) recorded(t *testing.T) {
	t.Helper()
	var rules ruleFile
	decodeYAML(t, "prometheus/lastgood.rules.yaml", &rules)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Record == "" {
				for _, metric := range metricsIn(r.Expr) {
					l.add("ALERTS", slices.Collect(maps.Keys(l[metric]))...)
				}
				continue
			}
			if m := byList.FindStringSubmatch(strings.TrimSpace(r.Expr)); m != nil {
				l.add(r.Record, nameIn.FindAllString(m[1], -1)...)
				continue
			}
			for _, metric := range metricsIn(r.Expr) {
				l.add(r.Record, slices.Collect(maps.Keys(l[metric]))...)
			}
			for _, m := range madeUp.FindAllStringSubmatch(r.Expr, -1) {
				l.add(r.Record, m[1])
			}
		}
	}
}

// metricsIn are the metrics that an expression names, by how they look: ours, recorded ones, and the few of others.
func metricsIn(expr string) []string {
	var out []string
	for _, w := range nameIn.FindAllString(stringIn.ReplaceAllString(expr, `""`), -1) {
		if strings.HasPrefix(w, "lastgood_") || strings.HasPrefix(w, "node_") || strings.Contains(w, ":") || w == "up" || w == "ALERTS" {
			out = append(out, w)
		}
	}
	return out
}

// unknown are the names in an expression that no metric has: of metrics, of their labels, and of labels that are grouped by.
func (l labelsOf) unknown(expr string) []string {
	var out []string
	all := map[string]bool{}
	for _, metric := range metricsIn(expr) {
		if l[metric] == nil {
			out = append(out, metric)
		}
		maps.Copy(all, l[metric])
	}
	for _, m := range madeUp.FindAllStringSubmatch(expr, -1) {
		all[m[1]] = true
	}
	bare := stringIn.ReplaceAllString(expr, `""`)
	for _, m := range selectorIn.FindAllStringSubmatch(bare, -1) {
		for _, part := range strings.Split(m[2], ",") {
			label := matcherIn.FindStringSubmatch(part)
			if label == nil || !l[m[1]][label[1]] {
				out = append(out, m[1]+"{"+strings.TrimSpace(part)+"}")
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(bare, -1) {
		for _, label := range nameIn.FindAllString(m[1], -1) {
			if !all[label] {
				out = append(out, "("+label+")")
			}
		}
	}
	return out
}

// TestWhatIsAskedForIsExported: dashboards, rules and what their words name are metrics and labels that lastgood exports.
func TestWhatIsAskedForIsExported(t *testing.T) {
	l := exported(t)
	var asking []string
	held := func(where, expr string) {
		t.Helper()
		asking = append(asking, metricsIn(expr)...)
		if no := l.unknown(expr); len(no) > 0 {
			t.Errorf("%s: nothing exports %v: %s", where, no, expr)
		}
	}
	for _, e := range dashboardExpressions(t) {
		held(e.dashboard+", "+e.panel, e.text)
		for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(e.legend, -1) {
			held(e.dashboard+", "+e.panel+", legend", "count by ("+m[1]+") ("+e.text+")")
		}
	}
	values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for name, d := range grafanaDashboards(t) {
		for _, v := range d.Templating.List {
			if m := values.FindStringSubmatch(v.Definition); m != nil {
				held(name+", variable "+v.Name, "count by ("+m[2]+") ("+m[1]+")")
			} else if v.Type == "query" {
				t.Errorf("%s: variable %s is made of %q", name, v.Name, v.Definition)
			}
		}
		columnsAreLabels(t, l, name, d)
	}
	var rules ruleFile
	decodeYAML(t, "prometheus/lastgood.rules.yaml", &rules)
	asked := regexp.MustCompile(`printf "((?:[^"\\]|\\.)*)"`)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			held(r.Record+r.Alert, r.Expr)
			for _, text := range r.Annotations {
				for _, m := range asked.FindAllStringSubmatch(text, -1) {
					held(r.Alert+", description", strings.NewReplacer("%q", `""`, "'", `"`).Replace(m[1]))
				}
				for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
					held(r.Alert+", words", "count by ("+m[1]+") ("+r.Expr+")")
				}
			}
		}
	}
	drops := dropped(t)
	for metric := range l {
		if drops.MatchString(metric) && slices.Contains(asking, metric) {
			t.Errorf("the scrape configuration drops %s, which is asked for", metric)
		}
	}
	if !drops.MatchString("lastgood_bpf_probe_total_states") || len(asking) == 0 {
		t.Error("the scrape configuration drops nothing")
	}
	if l.unknown(`lastgood_no_such{id="x"}`) == nil || l.unknown(`lastgood_verdict{state="x"}`) == nil || l.unknown(`sum by (state) (lastgood_verdict)`) == nil || l.unknown("a:b:c") == nil {
		t.Error("an unknown name is taken for a known one")
	}
}

// dropped is by what the example of a scrape configuration leaves metrics out.
func dropped(t *testing.T) *regexp.Regexp {
	t.Helper()
	var config struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			Relabel []struct {
				Source []string `yaml:"source_labels"`
				Regex  string
				Action string
			} `yaml:"metric_relabel_configs"`
		} `yaml:"scrape_configs"`
	}
	b, err := os.ReadFile("../../deploy/prometheus/prometheus.yaml")
	if err == nil {
		err = yaml.Unmarshal(b, &config) // the rest of it is promtool's to judge
	}
	if err != nil || len(config.Scrape) == 0 || len(config.Scrape[0].Relabel) != 1 || config.Scrape[0].Relabel[0].Action != "drop" {
		t.Fatalf("%+v, %v", config, err)
	}
	return regexp.MustCompile("^(?:" + config.Scrape[0].Relabel[0].Regex + ")$")
}

// columnsAreLabels looks at the columns that tables name.
func columnsAreLabels(t *testing.T, l labelsOf, name string, d grafanaDashboard) {
	t.Helper()
	for _, p := range d.Panels {
		labels := map[string]bool{"Value": true, "Value #A": true, "Value #B": true}
		for _, q := range p.Targets {
			for _, metric := range metricsIn(q.Expr) {
				maps.Copy(labels, l[metric])
			}
		}
		for _, tr := range p.Transformations {
			for column := range tr.Options.RenameByName {
				if !labels[column] {
					t.Errorf("%s, %s: there is no column %s", name, p.Title, column)
				}
			}
		}
	}
}
