package cli

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"lastgood/internal/baseline"
	"lastgood/internal/metrics"
	"lastgood/internal/snapshot"
)

// lintMetrics does what `promtool check metrics` does, and asks that too where it is there.
func lintMetrics(t *testing.T, text []byte) {
	t.Helper()
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool: %v: %s", err, out)
		}
	}
}

// Every attribute of every kind makes a metric that follows the rules for names, whatever
// is declared after this was written.
func TestMetricNames(t *testing.T) {
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	snap := &snapshot.Snapshot{}
	for _, k := range all {
		numbers, texts, sets := snapshot.Attrs{}, snapshot.Attrs{}, snapshot.Attrs{}
		for _, a := range k.Attrs {
			numbers[a.Name], texts[a.Name], sets[a.Name] = snapshot.Int(3), snapshot.Text("a text"), snapshot.List("one", "two")
			if len(a.Order) > 0 {
				texts[a.Name] = snapshot.Text(a.Order[0])
			}
		}
		snap.Subjects = append(snap.Subjects, snapshot.Subject{Kind: k.Name, ID: "numbers", Outcome: snapshot.Measured, Attrs: numbers},
			snapshot.Subject{Kind: k.Name, ID: "texts", Outcome: snapshot.Measured, Attrs: texts},
			snapshot.Subject{Kind: k.Name, ID: "sets", Outcome: snapshot.Measured, Attrs: sets})
	}
	if err := snap.Sort(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	families := metrics.Families(metrics.Input{Kinds: all, Snapshot: snap, Base: snap, Waiting: 0})
	if err := metrics.WriteText(&b, families); err != nil {
		t.Fatal(err)
	}
	lintMetrics(t, b.Bytes())
	seen := map[string]bool{}
	for _, f := range families {
		if name := f.GetName(); strings.HasSuffix(name, "_dropped") && f.Metric[0].Gauge.GetValue() != 0 {
			t.Errorf("two attributes are one metric: %v", f.Metric)
		}
		// OpenMetrics calls a counter by its name without the ending: no gauge may bear that one.
		base, counter := strings.CutSuffix(f.GetName(), "_total")
		if counter != (f.GetType() == dto.MetricType_COUNTER) {
			t.Errorf("%s is a %s", f.GetName(), f.GetType())
		}
		if seen[base] {
			t.Errorf("OpenMetrics knows two families as %s", base)
		}
		seen[base] = true
	}
}

// recordedState is a state folder with two checks of a recorded host, and what --textfile wrote.
func recordedState(t *testing.T) (state string, textfile []byte) {
	t.Helper()
	dir := t.TempDir()
	host, state, out := filepath.Join(dir, "host"), filepath.Join(dir, "state"), filepath.Join(dir, "out")
	random := filepath.Join(host, "proc/sys/kernel/random")
	for _, d := range []string{random, out} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := exec.Command("tar", "-C", host, "-xzf", "../../testdata/hosts/shiftA.tar.gz").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	for _, boot := range []string{"boot-1", "boot-2"} {
		if err := os.WriteFile(filepath.Join(random, "boot_id"), []byte(boot+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if b, err := lastgoodProcess(t, "check", "--root", host, "--state-dir", state, "--textfile", out).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	}
	left, err := os.ReadDir(out)
	if err != nil || len(left) != 1 {
		t.Errorf("%v lie in the collector's folder, %v", left, err)
	}
	b, err := os.ReadFile(filepath.Join(out, "lastgood.prom"))
	if err != nil {
		t.Fatal(err)
	}
	return state, b
}

func TestTextfile(t *testing.T) {
	_, b := recordedState(t)
	lintMetrics(t, b)
	for _, line := range []string{`lastgood_verdict{verdict="good"} 1`, "lastgood_hw_sensor_value_celsius{", `lastgood_hw_disk_info{`} {
		if !bytes.Contains(b, []byte(line)) {
			t.Errorf("%s is not there", line)
		}
	}
	if bytes.Contains(b, []byte("age_seconds")) {
		t.Error("an age in a file is wrong as soon as it is written")
	}
	cmd := lastgoodProcess(t, "check", "--root", "../../testdata/hosts/shiftA.tar.gz", "--state-dir", t.TempDir(), "--textfile", "/nonexistent/folder")
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(string(out), "/nonexistent/folder") {
		t.Errorf("into no folder: %v: %s", err, out)
	}
}

// What -o prometheus says is part of what the collector and a scrape get, by the same names.
func TestOneExposition(t *testing.T) {
	state, kept := recordedState(t)
	b, err := lastgoodProcess(t, "diff", "--state-dir", state, "-o", "prometheus", "boot-1", "boot-2").Output()
	if err != nil {
		t.Fatal(err)
	}
	lintMetrics(t, b)
	if !bytes.Contains(b, []byte(`lastgood_verdict{verdict="good"} 1`)) {
		t.Errorf("no verdict: %s", b)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "# TYPE ") && !bytes.Contains(kept, []byte(line)) {
			t.Errorf("--textfile has no such metric: %s", line)
		}
	}
}

// A socket of systemd's is taken, and SIGTERM ends the server in order.
func TestServeOnASocketOfSystemd(t *testing.T) {
	state, _ := recordedState(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "lastgood") // what TestMain goes by
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" serve --state-dir "$1" --web.listen-address 192.0.2.1:1`, name, state)
	cmd.ExtraFiles = []*os.File{f}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 2 * time.Minute}
	w, err := client.Get("http://" + l.Addr().String() + "/metrics") // the kernel's queue holds it until the server is there
	if err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("%v: %s", err, errs.String())
	}
	b, err := io.ReadAll(w.Body)
	w.Body.Close()
	if err != nil || !bytes.Contains(b, []byte(`lastgood_verdict{verdict="good"} 1`)) {
		t.Errorf("%v: %.500s", err, b)
	}
	lintMetrics(t, b)
	if w, err = client.Get("http://" + l.Addr().String() + "/api/v1/diff?from=boot-1&to=boot-2"); err != nil {
		t.Error(err)
	} else if w.Body.Close(); w.StatusCode != http.StatusOK {
		t.Errorf("diff: status %d", w.StatusCode)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, errs.String())
	}
}

// The report of a check is kept for those who show it, and is whole.
func TestReportIsKept(t *testing.T) {
	state, _ := recordedState(t)
	var rep struct {
		Schema, Verdict string
		Current         snapshot.Identity
	}
	if err := baseline.OpenFolder(state, nil).Get(baseline.ReportFile, &rep, false); err != nil {
		t.Fatal(err)
	}
	if rep.Schema != "lastgood.report/v1" || rep.Verdict != "good" || rep.Current.BootID != "boot-2" {
		t.Errorf("kept: %+v", rep)
	}
}

func TestBootIDOfTheUnit(t *testing.T) {
	for have, want := range map[string]string{
		"0123456789abcdef0123456789abcdef":     "01234567-89ab-cdef-0123-456789abcdef",
		"01234567-89ab-cdef-0123-456789abcdef": "01234567-89ab-cdef-0123-456789abcdef",
		"":                                     "", "%b": "", "0123456789abcdef": "", "0123456789abcdef0123456789abcdeg": "", "../../../../etc/passwd_________ab": "",
	} {
		if got := dashed(have); got != want {
			t.Errorf("%q: %q, want %q", have, got, want)
		}
	}
	// What %b becomes has the form that is read (systemd.unit(5), Specifiers).
	unit, err := os.ReadFile("../../deploy/systemd/lastgood-serve.service")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(unit, []byte("\nEnvironment="+bootIDVariable+"=%b\n")) {
		t.Error("the unit does not say which boot this is")
	}
}
