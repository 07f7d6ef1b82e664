package cli

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"lastgood/internal/compare"
)

// prometheusFolder holds what Prometheus is given.
const prometheusFolder = "../../deploy/prometheus"

// TestPrometheusFiles: promtool takes the rules, their cases and the configuration.
func TestPrometheusFiles(t *testing.T) {
	promtool := prometheusTool(t, "promtool")
	dir := t.TempDir()
	cert, _ := certificate(t, dir)
	rules, err := filepath.Abs(filepath.Join(prometheusFolder, "lastgood.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := writeFile(t, filepath.Join(dir, "prometheus.yml"), example(t, "prometheus/prometheus.yaml",
		"/usr/share/lastgood/prometheus/lastgood.rules.yaml", rules, "/etc/prometheus/lastgood-ca.pem", cert, "/etc/prometheus/lastgood-password", cert))
	for _, args := range [][]string{{"check", "rules", "lastgood.rules.yaml"}, {"test", "rules", "lastgood.test.yaml", "lastgood-days.test.yaml"}, {"check", "config", config}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = prometheusFolder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// ruleFile is a file of rules.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr, For string
			Labels, Annotations      map[string]string
		}
	}
}

func decodeYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err == nil {
		err = yaml.NewDecoder(strings.NewReader(string(b)), yaml.Strict()).Decode(into)
	}
	if err != nil && err != io.EOF {
		t.Fatalf("%s: %v", name, err)
	}
}

// typed is a command of ours as the runbook has it, in a block or in a sentence.
var typed = regexp.MustCompile("(?m)(?:^|`)lastgood ([a-z]+)")

// TestAlertsAreToldAndExplained: each alert has a severity, words, a section in docs/alerts.md and a case in which it
// fires and one in which it is silent.
func TestAlertsAreToldAndExplained(t *testing.T) {
	var rules ruleFile
	decodeYAML(t, "prometheus/lastgood.rules.yaml", &rules)
	page, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	fires, silent := alertCases(t)
	alerts := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			alerts++
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: severity %q, summary or description is missing", r.Alert, r.Labels["severity"])
			}
			if want := "/usr/share/doc/lastgood/alerts.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
				t.Errorf("%s: runbook_url %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
			}
			if !fires[r.Alert] || !silent[r.Alert] {
				t.Errorf("%s: a case in which it fires: %v; one in which it is silent: %v", r.Alert, fires[r.Alert], silent[r.Alert])
			}
			runbook(t, string(page), r.Alert)
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
	for _, m := range typed.FindAllStringSubmatch(string(page), -1) {
		if !slices.ContainsFunc(commands(), func(c command) bool { return c.name == m[1] }) {
			t.Errorf("docs/alerts.md: there is no command %s", m[1])
		}
	}
}

// alertCases says of which alerts promtool's cases tell that they fire, and of which that they are silent.
func alertCases(t *testing.T) (fires, silent map[string]bool) {
	t.Helper()
	fires, silent = map[string]bool{}, map[string]bool{}
	for _, name := range []string{"lastgood.test.yaml", "lastgood-days.test.yaml"} {
		var file struct {
			RuleFiles []string `yaml:"rule_files"`
			Every     string   `yaml:"evaluation_interval"`
			Order     []string `yaml:"group_eval_order"`
			Tests     []struct {
				Name, Interval string
				Series         []struct{ Series, Values string } `yaml:"input_series"`
				Cases          []struct {
					At    string `yaml:"eval_time"`
					Alert string `yaml:"alertname"`
					Told  []struct {
						Labels      map[string]string `yaml:"exp_labels"`
						Annotations map[string]string `yaml:"exp_annotations"`
					} `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
				Values []struct {
					Expr string
					At   string `yaml:"eval_time"`
					Have []struct {
						Labels string
						Value  float64
					} `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		decodeYAML(t, "prometheus/"+name, &file)
		for _, test := range file.Tests {
			for _, c := range test.Cases {
				if len(c.Told) > 0 {
					fires[c.Alert] = true
				} else {
					silent[c.Alert] = true
				}
			}
		}
	}
	return fires, silent
}

// runbook looks at an alert's section of the runbook.
func runbook(t *testing.T, page, alert string) {
	t.Helper()
	_, section, found := strings.Cut(page, "\n## "+alert+"\n")
	if !found {
		t.Errorf("docs/alerts.md has no section %s", alert)
		return
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, part := range []string{"**What it means.**", "**Look first.**", "**Do.**", "**Silence.**"} {
		if !strings.Contains(section, part) {
			t.Errorf("docs/alerts.md, %s: %s is missing", alert, part)
		}
	}
	if !strings.Contains(section, "lastgood ") && !strings.Contains(section, "systemctl ") {
		t.Errorf("docs/alerts.md, %s: no command to type", alert)
	}
}

// TestAlertsKnowTheRules: the codes by which alerts pick findings are those of declared rules.
func TestAlertsKnowTheRules(t *testing.T) {
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{compare.TrendCode}
	for _, k := range all {
		for _, r := range k.Rules {
			codes = append(codes, r.Code)
		}
	}
	var rules ruleFile
	decodeYAML(t, "prometheus/lastgood.rules.yaml", &rules)
	picks := regexp.MustCompile(`lastgood_finding_info\{[^}]*code=~?"([^"]+)"`)
	picked := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			for _, m := range picks.FindAllStringSubmatch(r.Expr, -1) {
				picked++
				for _, branch := range branches(m[1]) {
					re := regexp.MustCompile("^(?:" + branch + ")$")
					if !slices.ContainsFunc(codes, re.MatchString) {
						t.Errorf("%s: no rule has a code like %s", r.Alert, branch)
					}
				}
			}
		}
	}
	if picked < 4 {
		t.Errorf("%d expressions that pick findings", picked)
	}
}

// branches are the alternatives of an expression, those in one pair of brackets among them.
func branches(expr string) []string {
	if before, rest, found := strings.Cut(expr, "("); found && strings.Contains(rest, ")") && !strings.Contains(before, "|") {
		inner, after, _ := strings.Cut(rest, ")")
		var out []string
		if !strings.HasPrefix(after, "?") {
			for _, b := range strings.Split(inner, "|") {
				tail, more, _ := strings.Cut(after, "|")
				out = append(out, before+b+tail)
				if more != "" {
					out = append(out, branches(more)...)
				}
			}
			return out
		}
	}
	return []string{expr}
}
