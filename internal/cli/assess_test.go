package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/contract"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// whenSaid does something once when a text is written.
type whenSaid struct {
	bytes.Buffer
	text string
	do   func()
}

func (w *whenSaid) Write(b []byte) (int, error) {
	if w.do != nil && strings.Contains(string(b), w.text) {
		w.do()
		w.do = nil
	}
	return w.Buffer.Write(b)
}

// accepted makes a boot of the old kernel with these checks of the contract, by id and state, the last good one.
func (h *gateHost) accepted(states map[string]string) {
	h.t.Helper()
	store, err := baseline.Open(h.dir+"/state", baseline.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer store.Close()
	if err := store.TryLock(); err != nil {
		h.t.Fatal(err)
	}
	snap := &snapshot.Snapshot{Tool: "test", Taken: time.Now(), Phase: "check", Identity: identity("second", oldRelease)}
	for id, state := range states {
		s := snapshot.Subject{Kind: contract.CheckKind, ID: id, Outcome: snapshot.Measured}
		s.Set("state", snapshot.Text(state))
		s.Set("severity", snapshot.Text(contract.Required))
		snap.Subjects = append(snap.Subjects, s)
	}
	if _, err := store.Save(snap, &baseline.Result{Verdict: snapshot.Good}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := store.Accept("second", "test"); err != nil {
		h.t.Fatal(err)
	}
}

// declare writes the contract of the host: checks in lines of flow mappings.
func (h *gateHost) declare(checks ...string) {
	text := "apiVersion: lastgood.dev/v1\nkind: HostContract\nmetadata: {name: test}\ndefaults: {every: 100ms}\nchecks:\n"
	for _, c := range checks {
		text += "  - {" + c + "}\n"
	}
	h.write("/etc/lastgood/contract.d/test.yaml", text)
	h.write("/proc/uptime", "5.00 9.00\n")
	for _, name := range []string{"/sys/devices/system/cpu/present", "/sys/block/none", "/sys/class/net/none"} { // nothing of a required kind is missing
		h.write(name, "")
	}
}

// TestAssessWaitsForTheContract: the checks have their time, are tried side by side until it is over or they have held, and what
// one of them may lead to stands in it.
func TestAssessWaitsForTheContract(t *testing.T) {
	pass, fail := map[string]string{"up": "pass"}, map[string]string{"up": "fail"}
	for name, c := range map[string]struct {
		check   string
		before  map[string]string
		then    func(*gateHost) // when it is waited for
		verdict snapshot.Verdict
		wants   gate.Reaction
		waits   bool
	}{
		"comes late":                      {"id: up, within: 60s, file: {path: /up}", pass, func(h *gateHost) { h.write("/up", "") }, snapshot.Good, "", true},
		"holds, and goes on so":           {"id: up, within: 60s, stable_for: 200ms, file: {path: /etc/lastgood/contract.d/test.yaml}", pass, nil, snapshot.Good, "", true},
		"never comes, may be rolled back": {"id: up, within: 60s, on_regression: rollback, file: {path: /up}", pass, tooLate, snapshot.Regressed, gate.Rollback, true},
		"never comes, may be held":        {"id: up, within: 60s, on_regression: hold, file: {path: /up}", pass, tooLate, snapshot.Regressed, gate.Hold, true},
		"never comes, is told":            {"id: up, within: 60s, file: {path: /up}", pass, tooLate, snapshot.Regressed, gate.Notify, true},
		"fails fast":                      {"id: up, within: 60s, fail_fast: true, on_regression: hold, file: {path: /up}", pass, nil, snapshot.Regressed, gate.Hold, false},
		"failed at the last good boot":    {"id: up, within: 1s, on_regression: rollback, file: {path: /up}", fail, nil, snapshot.Regressed, gate.Notify, false},
		"is new":                          {"id: up, within: 1s, on_regression: rollback, file: {path: /up}", nil, nil, snapshot.Regressed, gate.Notify, false},
		"only wanted":                     {"id: up, within: 1s, severity: wanted, on_regression: rollback, file: {path: /up}", pass, nil, snapshot.Good, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newGateHost(t)
			h.accepted(c.before)
			h.declare(c.check)
			g := h.boot("new", newRelease)
			said := &whenSaid{text: "waits for the contract: up", do: func() {
				if c.then != nil {
					c.then(h)
				}
			}}
			g.s.env.Err = said
			g.s.output, g.s.budget = "table", 10*time.Second
			verdict, err := g.polled(t.Context(), gate.Assessed, time.Millisecond, 10*time.Millisecond)
			if err != nil || verdict != c.verdict {
				t.Fatalf("verdict %s, %v: %s\n%s", verdict, err, g.s.env.Out, said.String())
			}
			st := g.state(t)
			if st.Wants != c.wants || strings.Contains(said.String(), said.text) != c.waits {
				t.Errorf("wants %q, want %q; waited: %v\n%s", st.Wants, c.wants, c.waits, said.String())
			}
			if strikes := min(1, c.wants.Rank()); st.Strikes != strikes {
				t.Errorf("%d strikes, want %d", st.Strikes, strikes)
			}
		})
	}
}

// tooLate is long after the boot.
func tooLate(h *gateHost) { h.write("/proc/uptime", "100.00 9.00\n") }

// TestAssessTellsAllFailures: one report has every check that is not met, each with its reason, beside those that are.
func TestAssessTellsAllFailures(t *testing.T) {
	h := newGateHost(t)
	h.accepted(map[string]string{"one": "pass", "two": "pass", "three": "pass"})
	h.declare("id: one, within: 1s, on_regression: notify, file: {path: /one}", "id: two, within: 1s, on_regression: hold, file: {path: /two}", "id: three, within: 1s, file: {path: /etc/lastgood/contract.d/test.yaml}")
	g := h.boot("new", newRelease)
	g.s.output, g.s.budget = "table", 10*time.Second
	if verdict, err := g.polled(t.Context(), gate.Assessed, time.Millisecond, time.Millisecond); err != nil || verdict != snapshot.Regressed {
		t.Fatal(verdict, err)
	}
	out := fmt.Sprint(g.s.env.Out)
	for _, want := range []string{"check one is not met, was at the last good boot: /one is not there", "check two is not met"} {
		if !strings.Contains(out, want) {
			t.Errorf("not told: %s\n%s", want, out)
		}
	}
	if strings.Contains(out, "check three") || g.state(t).Wants != gate.Hold {
		t.Errorf("%+v\n%s", g.state(t), out)
	}
}

// TestMarkWorse: boot-complete.target is kept back by a verdict, and by no other end of an assessment.
func TestMarkWorse(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/systemd/lastgood-verdict.service")
	if err != nil || !strings.Contains(string(unit), "\nAssertPathExists=!"+gate.WorsePath+"\n") {
		t.Errorf("the unit looks elsewhere: %v", err)
	}
	g := newGateHost(t).boot("new", newRelease)
	name := filepath.Join(g.runDir, "worse")
	for _, v := range []snapshot.Verdict{snapshot.Good, snapshot.Regressed, snapshot.Incomplete, snapshot.Regressed, snapshot.Invalid, "", snapshot.Regressed, snapshot.Learned} {
		if err := g.markWorse(v); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(name); (err == nil) != (v == snapshot.Regressed) {
			t.Errorf("%q: %v", v, err)
		}
	}
	g.runDir = filepath.Join(g.runDir, "none\x00")
	if err := g.markWorse(snapshot.Regressed); err == nil || !strings.Contains(err.Error(), "keep boot-complete.target back") {
		t.Errorf("error %v", err)
	}
}

// TestGateDoesNotWaitForTheContract: what is not due yet holds nothing, takes no time and is not told of before the assessment.
func TestGateDoesNotWaitForTheContract(t *testing.T) {
	h := newGateHost(t)
	h.accepted(map[string]string{"up": "pass"})
	h.declare("id: up, within: 60s, on_regression: rollback, file: {path: /up}")
	g := h.boot("new", newRelease)
	g.s.output, g.s.budget = "table", 10*time.Second
	said := g.s.env.Err.(*bytes.Buffer)
	verdict, err := g.polled(t.Context(), gate.Checked, time.Hour, time.Hour)
	if err != nil || verdict == snapshot.Regressed || h.read("run/hold") != "" || strings.Contains(said.String(), "looks again") {
		t.Errorf("%s, %v, hold %q: %s", verdict, err, h.read("run/hold"), said)
	}
	if strings.Contains(said.String(), "could not be judged") || len(h.got) != 0 {
		t.Errorf("told: %s", said)
	}
}

// TestContractThatCannotBeRead: what is wrong with it is told with file, line and column; the boot cannot be judged, holds nothing
// and waits for nothing; the contracts that can be read are still tried.
func TestContractThatCannotBeRead(t *testing.T) {
	const head = "apiVersion: lastgood.dev/v1\nkind: HostContract\nmetadata: {name: bad}\n"
	for name, c := range map[string]struct{ text, want string }{
		"broken YAML":  {head + "checks: [\n", "bad.yaml: [4:9] sequence end token ']' not found"},
		"unknown key":  {head + "checks:\n  - id: a\n    mont: {path: /}\n", `bad.yaml: [6:5] unknown field "mont"`},
		"duplicate id": {head + "checks:\n  - {id: up, file: {path: /x}}\n", "bad.yaml: [5:5] there are two checks of the id up"},
		"empty list":   {head + "checks: []\n", "bad.yaml: [1:1] the list of checks is empty"},
		"empty file":   {"", "bad.yaml: it is empty"},
		"no text":      {"\x00\xff\xfe", "bad.yaml: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := newGateHost(t)
			h.accepted(map[string]string{"up": "pass"})
			h.declare("id: up, within: 1s, severity: wanted, file: {path: /up}")
			if name == "duplicate id" { // whose file is read first has it
				h.write("/etc/lastgood/contract.d/0.yaml", strings.Replace(h.read("/etc/lastgood/contract.d/test.yaml"), "name: test", "name: first", 1))
				h.write("/etc/lastgood/contract.d/test.yaml", strings.Replace(h.read("/etc/lastgood/contract.d/test.yaml"), "id: up", "id: other", 1))
			}
			h.write("/etc/lastgood/contract.d/bad.yaml", c.text)
			for _, as := range []gate.EventType{gate.Checked, gate.Assessed} {
				g := h.boot("new", newRelease)
				g.s.output, g.s.budget = "table", 10*time.Second
				said := g.s.env.Err.(*bytes.Buffer)
				verdict, err := g.polled(t.Context(), as, time.Hour, time.Hour)
				out := strings.Join(strings.Fields(fmt.Sprint(g.s.env.Out)), " ") // as it was before it was folded
				if err != nil || verdict != snapshot.Incomplete || h.read("run/hold") != "" || strings.Contains(said.String(), "looks again") {
					t.Errorf("%s: %s, %v, hold %q: %s", as, verdict, err, h.read("run/hold"), said)
				}
				// Of a recorded host, which this is, only the assessment's watch tries the checks.
				if as == gate.Assessed && (!strings.Contains(out, c.want) || !strings.Contains(out, "check up is not met")) {
					t.Errorf("%s: want %q and the check of the other file in\n%s", as, c.want, out)
				}
				if told := strings.Contains(said.String(), "could not be judged"); told != (as == gate.Assessed) {
					t.Errorf("%s: told of it: %v", as, told)
				}
			}
		})
	}
}

// TestSummaryOf: who is told of a regression is told the worst of it.
func TestSummaryOf(t *testing.T) {
	rep := &report.Report{Verdict: snapshot.Regressed, Summary: "1 critical finding, 1 warning", Findings: []snapshot.Finding{
		{Severity: snapshot.Warning, Message: "a fan is slower"}, {Severity: snapshot.Critical, Message: "disk sda is gone"}}}
	if got, want := summaryOf(rep), "1 critical finding, 1 warning: disk sda is gone"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	rep.Verdict = snapshot.Good
	if got := summaryOf(rep); got != rep.Summary {
		t.Errorf("of a good boot: %q", got)
	}
}
