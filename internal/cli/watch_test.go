package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
)

// remember keeps a history in which one sensor reads celsius at three loads.
func remember(t *testing.T, store *baseline.Store, boot, release string, n int, celsius float64) {
	t.Helper()
	b, err := watch.Decode(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Begin(boot, release)
	for i := range n * 3 {
		_, _, err := b.Add(watch.Sample{Time: time.Unix(int64(60*i), 0), Uptime: time.Hour, Load: 100 + 250*(i%3),
			Points: []watch.Point{{ID: "cpu", Label: "coretemp Package", Type: watch.Temperature, Value: celsius}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	k := &keeper{store: store, boot: boot, release: release}
	if err := k.Fold(t.Context(), b.History()); err != nil {
		t.Fatal(err)
	}
}

func bootOf(boot, release string) *snapshot.Snapshot {
	return &snapshot.Snapshot{Tool: "t", Taken: time.Unix(1, 0), Identity: snapshot.Identity{BootID: boot, Kernel: snapshot.KernelIdentity{Release: release}}}
}

func TestCheckJudgesHistory(t *testing.T) {
	floor := 12.0
	cases := []struct {
		name    string
		celsius float64
		n       int
		policy  compare.Policy
		verdict snapshot.Verdict
		want    string // of the finding or the gap; "" for none
	}{
		{"hotter", 60, 30, compare.Policy{}, snapshot.Good, "warning thermal-hotter kernel"},
		{"hotter, and warnings fail", 60, 30, compare.Policy{FailOn: snapshot.Warning}, snapshot.Regressed, "warning thermal-hotter kernel"},
		{"much hotter", 67, 30, compare.Policy{}, snapshot.Regressed, "critical thermal-much-hotter kernel"},
		{"within what the administrator allows", 60, 30, compare.Policy{Rules: map[string]compare.Override{watch.CodeHotter: {Floor: &floor}}}, snapshot.Good, ""},
		{"ignored", 67, 30, compare.Policy{Ignore: []string{"hw.thermal_history/*"}}, snapshot.Good, ""},
		{"as before", 51, 30, compare.Policy{}, snapshot.Good, ""},
		{"too few", 90, 5, compare.Policy{}, snapshot.Good, "not comparable yet"},
		{"no watch at work", 0, 0, compare.Policy{}, snapshot.Good, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			store, err := baseline.Open(filepath.Join(t.TempDir(), "state"), baseline.Options{})
			if err != nil {
				t.Fatal(err)
			}
			remember(t, store, "aaa", "6.1", 30, 50)
			if c.n > 0 {
				remember(t, store, "bbb", "6.12", c.n, c.celsius)
			}
			ch := &check{store: store, policy: c.policy}
			rep := &report.Report{Verdict: snapshot.Good, Attribution: []snapshot.Class{snapshot.ClassKernel}}
			ch.judgeHistory(rep, bootOf("aaa", "6.1"), bootOf("bbb", "6.12"))
			var got []string
			for _, f := range rep.Findings {
				got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Class))
			}
			for _, g := range rep.Incomplete {
				got = append(got, g.Reason)
				if g.Counts {
					t.Error("too few samples make the verdict incomplete")
				}
			}
			if all := strings.Join(got, "\n"); !strings.HasPrefix(all, c.want) || (c.want == "") != (all == "") || rep.Verdict != c.verdict || len(ch.notes) > 0 {
				t.Errorf("verdict %s, %q, notes %v; want %s, %q", rep.Verdict, got, ch.notes, c.verdict, c.want)
			}
		})
	}
}

// The same kernel, hotter than on its boots before: it is not the kernel.
func TestHotterOnTheSameKernel(t *testing.T) {
	store, err := baseline.Open(filepath.Join(t.TempDir(), "state"), baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	remember(t, store, "aaa", "6.1", 15, 50)
	remember(t, store, "abb", "6.1", 15, 50)
	remember(t, store, "bbb", "6.1", 30, 60)
	rep := &report.Report{Verdict: snapshot.Good}
	(&check{store: store}).judgeHistory(rep, bootOf("aaa", "6.1"), bootOf("bbb", "6.1"))
	if len(rep.Findings) != 1 || rep.Findings[0].Class != snapshot.ClassHardware {
		t.Errorf("%+v", rep.Findings)
	}
}

// command runs a command line and gives its status and what it wrote.
func commandLine(ctx context.Context, args ...string) (int, string) {
	var out, errs bytes.Buffer
	status, err := run(ctx, args, Env{Out: &out, Err: &errs, Getenv: func(string) string { return "" }})
	if err != nil {
		printError(&errs, err)
	}
	return status, out.String() + errs.String()
}

func TestWatchCommand(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--interval", "1s"}, exitUsage, "must be between"},
		{[]string{"--once", "--print"}, exitUsage, "--once takes one sample"},
		{[]string{"--shutdown-above", "20"}, exitUsage, "not between 60 and 150"},
		{[]string{"extra"}, exitUsage, "unexpected argument"},
		{[]string{"--print"}, exitUsage, "no boot was accepted"},
		{[]string{"--once"}, exitOK, ""},
		{[]string{"--once"}, exitOK, ""},
	} {
		status, text := commandLine(t.Context(), append([]string{"watch", "--state-dir", state}, c.args...)...)
		if status != c.status || !strings.Contains(text, c.want) || (c.want == "" && text != "") {
			t.Errorf("watch %v: status %d, want %d: %s", c.args, status, c.status, text)
		}
	}
	store, err := baseline.Open(state, baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	boots, err := store.Histories()
	if err != nil || len(boots) != 1 {
		t.Fatalf("histories %v, %v", boots, err)
	}
	doc, lines, err := store.History(boots[0])
	if err != nil || doc == nil {
		t.Fatalf("%v, %v", doc, err)
	}
	if b, err := watch.Decode(doc, lines); err != nil || b.History().Folded != 2 || b.Lost > 0 || b.History().Release == "" {
		t.Errorf("%v: %+v", err, b)
	}
	if err := store.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Save(bootOf("aaa", "6.1"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Accept("aaa", "root"); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if status, text := commandLine(t.Context(), "watch", "--print", "--state-dir", state); status != exitOK || !strings.Contains(text, "not comparable yet") {
		t.Errorf("print: %d: %s", status, text)
	}
	status, text := commandLine(t.Context(), "watch", "--print", "-o", "json", "--state-dir", state)
	var heat report.Heat
	if err := json.Unmarshal([]byte(text), &heat); err != nil || status != exitOK || heat.NotComparable == "" || heat.Series == nil {
		t.Errorf("print as JSON: %d, %v: %s", status, err, text)
	}
}

// A watch that is told to end does so, and has kept what it sampled; a second one beside
// it is refused.
func TestWatchEnds(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	store, err := baseline.Open(state, baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	type ended struct {
		status int
		text   string
	}
	done := make(chan ended)
	go func() {
		status, text := commandLine(ctx, "watch", "--state-dir", state)
		done <- ended{status, text}
	}()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if boots, _ := store.Histories(); len(boots) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was sampled in two minutes")
		}
		time.Sleep(10 * time.Millisecond) // polls for a file
	}
	if status, text := commandLine(t.Context(), "watch", "--once", "--state-dir", state); status != exitUsage || !strings.Contains(text, "held by process") {
		t.Errorf("a second watch: %d: %s", status, text)
	}
	cancel()
	if e := <-done; e.status != exitOK {
		t.Errorf("status %d: %s", e.status, e.text)
	}
}
