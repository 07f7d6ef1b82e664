package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// rolloutStops are the alerts on which a rolling reboot stops; the others are about lastgood itself and about the fleet. A
// host that was never judged is by its next reboot.
func rolloutStops(t *testing.T) (stops, goesOn []string) {
	t.Helper()
	var rules ruleFile
	decodeYAML(t, "prometheus/lastgood.rules.yaml", &rules)
	aside := []string{"LastgoodNeverJudged", "LastgoodResultStale", "LastgoodNotificationsStuck", "LastgoodHomogeneousFleet"}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if slices.Contains(aside, r.Alert) {
				goesOn = append(goesOn, r.Alert)
			} else if r.Alert != "" {
				stops = append(stops, r.Alert)
			}
		}
	}
	return stops, goesOn
}

// kuredFlags are those of kured 1.23.0 that are used here, declared as its main.go declares them.
func kuredFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("kured", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.String("prometheus-url", "", "")
	f.String("alert-filter-regexp", "", "") // a value of its own there, which regexp.Compile reads
	f.Bool("alert-filter-match-only", false, "")
	f.Bool("alert-firing-only", false, "")
	f.String("reboot-sentinel-command", "", "")
	f.Duration("lock-release-delay", 0, "")
	f.Int("concurrency", 1, "")
	return f
}

// TestKured: the patch and the values are what kured and its chart read, say the same, and name alerts that there are.
func TestKured(t *testing.T) {
	var patch struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name, Namespace string }
		Spec       struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Name    string
						Command []string
					}
				}
			}
		}
	}
	decodeYAML(t, "kured/daemonset-patch.yaml", &patch)
	var values struct {
		Configuration struct {
			PrometheusURL         string `yaml:"prometheusUrl"`
			AlertFilterMatchOnly  bool   `yaml:"alertFilterMatchOnly"`
			AlertFilterRegexp     string `yaml:"alertFilterRegexp"`
			AlertFiringOnly       bool   `yaml:"alertFiringOnly"`
			LockReleaseDelay      string `yaml:"lockReleaseDelay"`
			Concurrency           int
			RebootSentinelCommand string `yaml:"rebootSentinelCommand"`
		}
	}
	decodeYAML(t, "kured/values.yaml", &values)
	if patch.Kind != "DaemonSet" || patch.APIVersion != "apps/v1" || patch.Metadata.Name != "kured" || len(patch.Spec.Template.Spec.Containers) != 1 || patch.Spec.Template.Spec.Containers[0].Name != "kured" {
		t.Fatalf("%+v", patch)
	}
	command := patch.Spec.Template.Spec.Containers[0].Command
	flags := kuredFlags()
	if err := flags.Parse(command[1:]); err != nil || command[0] != "/usr/bin/kured" || flags.NArg() != 0 {
		t.Fatalf("kured %v: %v", command, err)
	}
	c := values.Configuration
	for name, value := range map[string]string{
		"prometheus-url": c.PrometheusURL, "alert-filter-match-only": fmt.Sprint(c.AlertFilterMatchOnly), "alert-filter-regexp": c.AlertFilterRegexp,
		"alert-firing-only": fmt.Sprint(c.AlertFiringOnly), "concurrency": fmt.Sprint(c.Concurrency), "reboot-sentinel-command": c.RebootSentinelCommand,
	} {
		if have := flags.Lookup(name).Value.String(); have != value {
			t.Errorf("--%s is %q in the patch and %q in the values", name, have, value)
		}
	}
	delay, err := time.ParseDuration(c.LockReleaseDelay)
	if have, ferr := flags.GetDuration("lock-release-delay"); err != nil || ferr != nil || have != delay || delay < 5*time.Minute {
		t.Errorf("lock-release-delay: %v and %v, %v, %v: a check takes four minutes and a scrape one", have, delay, err, ferr)
	}
	if packaged(t)["deploy/hooks/kured-sentinel"] != c.RebootSentinelCommand {
		t.Errorf("the sentinel is not at %s", c.RebootSentinelCommand)
	}
	// kured blocks where MatchString of an active alert's name is alert-filter-match-only.
	filter := regexp.MustCompile(c.AlertFilterRegexp)
	blocks := func(alert string) bool { return filter.MatchString(alert) == c.AlertFilterMatchOnly }
	stops, goesOn := rolloutStops(t)
	for _, a := range stops {
		if !blocks(a) {
			t.Errorf("%s does not stop a rolling reboot", a)
		}
	}
	for _, a := range append(goesOn, "RebootRequired", "Watchdog", "KubePodCrashLooping", "NotLastgoodRegression") {
		if blocks(a) {
			t.Errorf("%s stops a rolling reboot", a)
		}
	}
}

// npdConfig is what node-problem-detector's custom plug-in monitor reads (pkg/custompluginmonitor/types).
type npdConfig struct {
	Plugin       string `json:"plugin"`
	PluginConfig struct {
		InvokeInterval    string `json:"invoke_interval"`
		Timeout           string `json:"timeout"`
		MaxOutputLength   int    `json:"max_output_length"`
		Concurrency       int    `json:"concurrency"`
		MessageChanges    bool   `json:"enable_message_change_based_condition_update"`
		SkipInitialStatus bool   `json:"skip_initial_status"`
	} `json:"pluginConfig"`
	Source           string `json:"source"`
	MetricsReporting bool   `json:"metricsReporting"`
	Conditions       []struct {
		Type    string `json:"type"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"conditions"`
	Rules []npdRule `json:"rules"`
}

type npdRule struct {
	Type      string   `json:"type"`
	Condition string   `json:"condition"`
	Reason    string   `json:"reason"`
	Path      string   `json:"path"`
	Args      []string `json:"args"`
	Timeout   string   `json:"timeout"`
}

func readNPD(t *testing.T, name string) npdConfig {
	t.Helper()
	f, err := os.Open(filepath.Join("../../deploy/node-problem-detector", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var c npdConfig
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// camel is how Kubernetes wants types and reasons of conditions.
var camel = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// TestNodeProblemDetector: the configurations have what its Validate asks for, and what it starts is there.
func TestNodeProblemDetector(t *testing.T) {
	for _, name := range []string{"lastgood-monitor.json", "lastgood-check-monitor.json"} {
		c := readNPD(t, name)
		every, err := time.ParseDuration(c.PluginConfig.InvokeInterval)
		within, werr := time.ParseDuration(c.PluginConfig.Timeout)
		if err != nil || werr != nil || every <= 0 || within <= 0 || within >= every || c.Plugin != "custom" || c.Source == "" || c.PluginConfig.MaxOutputLength != 80 || !c.PluginConfig.SkipInitialStatus {
			t.Errorf("%s: %+v", name, c.PluginConfig)
		}
		known := map[string]bool{}
		for _, cond := range c.Conditions {
			known[cond.Type] = true
			if !camel.MatchString(cond.Type) || !camel.MatchString(cond.Reason) || cond.Message == "" {
				t.Errorf("%s: condition %+v", name, cond)
			}
		}
		rules := map[string]int{}
		for _, r := range c.Rules {
			rules[r.Condition]++
			timeout, err := time.ParseDuration(r.Timeout)
			if err != nil || timeout > within || r.Type != "permanent" || !known[r.Condition] || !camel.MatchString(r.Reason) || rules[r.Condition] > 1 {
				t.Errorf("%s: rule %+v: %v", name, r, err)
			}
			runsOnHosts(t, name, r.Path, r.Args)
		}
		if len(rules) != len(known) {
			t.Errorf("%s: conditions %v, rules %v", name, known, rules)
		}
	}
}

// runsOnHosts reports a program that no package brings, and flags that lastgood does not have.
func runsOnHosts(t *testing.T, where, program string, args []string) {
	t.Helper()
	if program == "/usr/bin/lastgood" {
		cmd := lastgoodProcess(t, append(slices.Clone(args), "--help")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: lastgood %v: %v: %s", where, args, err, out)
		}
		return
	}
	for from, to := range packaged(t) {
		if to == program || strings.HasSuffix(to, "/") && to+filepath.Base(from) == program {
			return
		}
	}
	t.Errorf("%s: no package brings %s", where, program)
}

// pluginCase is a result, and what the plug-in says of it.
type pluginCase struct {
	name, what, file, stat string
	exit                   int
	says                   string
}

// TestNPDPlugin runs the plug-in as node-problem-detector does, on results of real checks and on what may lie there instead.
func TestNPDPlugin(t *testing.T) {
	dir := t.TempDir()
	result := func(recordings ...string) string {
		host, state := checkedHost(t, recordings...)
		out := filepath.Join(dir, strings.Join(recordings, "-"))
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := lastgoodProcess(t, "check", "--root", host, "--state-dir", state, "--textfile", out)
		if b, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() > exitRegressed {
			t.Fatalf("%v: %s", err, b)
		}
		return filepath.Join(out, "lastgood.prom")
	}
	bad, good := result("dead-xhci-before", "dead-xhci-after"), result("shiftA", "shiftB")
	write := func(name, text string) string { return writeFile(t, filepath.Join(dir, name), text) }
	head := "lastgood_check_timestamp_seconds 1.7e+09\n"
	now := write("stat", fmt.Sprintf("cpu 1 2\nbtime %d\n", time.Now().Add(-time.Hour).Unix()))
	later := write("later", fmt.Sprintf("btime %d\n", time.Now().Add(time.Hour).Unix()))
	long := strings.Repeat(`lastgood_finding_info{code="disk-missing",severity="critical",kind="hw.disk",id="x"} 1`+"\n", 30)
	hostile := write("hostile", head+`lastgood_verdict{verdict="regressed"} 1`+"\n"+`lastgood_finding_info{code="a",severity="critical",kind="hw.disk",id="x\",kind=\"net.interface\",code=\"y-missing$(touch /nonexistent)"} 1`+"\n")
	for _, c := range []pluginCase{
		{"regressed", "verdict", bad, now, 1, "regressed, 1 found: xhci-died"},
		{"regressed, its kernel", "kernel", bad, now, 0, "the kernel that was meant runs"},
		{"regressed, its hardware", "hardware", bad, now, 1, "missing: xhci-died"},
		{"good", "verdict", good, now, 0, "good"},
		{"good, its hardware", "hardware", good, now, 0, "nothing is missing"},
		{"of an earlier boot", "verdict", bad, later, 2, "not judged since it was booted"},
		{"learned", "verdict", write("learned", head+`lastgood_verdict{verdict="learned"} 1`+"\n"), "/dev/null", 0, "learned"},
		{"incomplete", "verdict", write("incomplete", head+`lastgood_verdict{verdict="incomplete"} 1`+"\n"+`lastgood_verdict{verdict="regressed"} 0`+"\n"), "/dev/null", 2, "incomplete: nothing can be said for certain"},
		{"fell back", "kernel", write("fell", head+`lastgood_verdict{verdict="invalid"} 1`+"\n"+`lastgood_boot_info{class="fell back",intended="6.13.2",running="6.12.1"} 1`+"\n"), "/dev/null", 1, "runs 6.12.1, was to run 6.13.2"},
		{"fell back, and accepted", "kernel", write("accepted", head+`lastgood_verdict{verdict="good"} 1`+"\n"+`lastgood_boot_info{class="fell back",running="6.12.1"} 1`+"\n"), "/dev/null", 0, "the kernel that was meant runs"},
		{"long", "verdict", write("long", head+`lastgood_verdict{verdict="regressed"} 1`+"\n"+long), "/dev/null", 1, "regressed, 30 found: disk-missing, disk-missing, disk-missing, disk-missing, ..."},
		{"hostile", "hardware", hostile, "/dev/null", 0, "nothing is missing"},
		{"empty", "verdict", write("empty", ""), "/dev/null", 2, "not judged: the result cannot be read"},
		{"none", "verdict", filepath.Join(dir, "none"), "/dev/null", 2, "not judged: there is no result"},
		{"no question", "", good, "/dev/null", 2, "usage: lastgood-npd verdict|kernel|hardware [FILE]"},
	} {
		cmd := exec.Command("../../deploy/node-problem-detector/lastgood-npd", c.what, c.file)
		cmd.Env = append(os.Environ(), "LASTGOOD_NPD_STAT="+c.stat)
		out, err := cmd.Output()
		said := strings.TrimSuffix(string(out), "\n")
		if cmd.ProcessState.ExitCode() != c.exit || said != c.says || len(said) > 80 {
			t.Errorf("%s: status %d, says %q (%v), want %d, %q", c.name, cmd.ProcessState.ExitCode(), said, err, c.exit, c.says)
		}
	}
}

// TestTextfileUnit: what the timer starts is a command of ours, writes where node_exporter looks, and systemd takes both.
func TestTextfileUnit(t *testing.T) {
	const folder = "../../deploy/node_exporter/"
	b, err := os.ReadFile(folder + "lastgood-textfile.service")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/lastgood (.*)$`).FindStringSubmatch(string(b))
	if line == nil {
		t.Fatal("it starts nothing of ours")
	}
	args := strings.Fields(line[1])
	at := slices.Index(args, "--textfile") + 1
	if at == 0 || !strings.Contains(string(b), "\nReadWritePaths="+args[at]+"\n") {
		t.Fatalf("%v: where it writes is not writable", args)
	}
	args[at] = t.TempDir()
	host, state := checkedHost(t, "dead-xhci-before", "dead-xhci-after")
	cmd := lastgoodProcess(t, append(args, "--root", host, "--state-dir", state)...)
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitRegressed || !slices.Contains(strings.Fields(regexp.MustCompile(`(?m)^SuccessExitStatus=(.*)$`).FindStringSubmatch(string(b))[1]), "1") {
		t.Errorf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(args[at], "lastgood.prom"))
	if err != nil {
		t.Fatal(err)
	}
	lintMetrics(t, text)
	root := offlineRoot(t)
	for _, u := range []string{"lastgood-textfile.service", "lastgood-textfile.timer"} {
		text, err := os.ReadFile(folder + u)
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "etc/systemd/system", u), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out, _ := exec.Command(systemdAnalyze(t), "verify", "--root="+root, "--man=no", "--generators=no", "--recursive-errors=yes", "lastgood-textfile.timer").CombinedOutput() // what it says counts
	for said := range strings.Lines(string(out)) {
		if strings.Contains(said, "lastgood-textfile") {
			t.Errorf("systemd-analyze: %s", said)
		}
	}
}
