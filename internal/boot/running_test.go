package boot

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func sourceHost(root *sysfs.Root) source.Host {
	return source.Host{Root: root, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// readOne reads the one subject of the source kernel_state.
func readOne(t *testing.T, root *sysfs.Root) snapshot.Subject {
	t.Helper()
	subjects, err := readKernel(t.Context(), sourceHost(root))
	if err != nil || len(subjects) != 1 {
		t.Fatalf("got %d subjects, %v", len(subjects), err)
	}
	return subjects[0]
}

func TestSourcesAreDeclaredWell(t *testing.T) {
	kinds, err := source.Kinds(Sources())
	if err != nil {
		t.Fatal(err)
	}
	if kinds[KernelKind] == nil {
		t.Errorf("kind %s is not declared", KernelKind)
	}
}

func TestReadKernel(t *testing.T) {
	want := snapshot.Subject{
		Kind: KernelKind, ID: "running", Label: "running kernel", Outcome: snapshot.Measured,
		Attrs: snapshot.Attrs{
			"taint":               snapshot.List("P (proprietary module loaded)", "O (out-of-tree module loaded)"),
			"lockdown":            snapshot.Text("integrity"),
			"panic_on_warn":       snapshot.Bool(false),
			"microcode_revisions": snapshot.Int(2),
			"microcode":           snapshot.List("0xd0003d1", "0xd0003f5"),
			"mitigations": snapshot.List("meltdown=Not affected",
				"spectre_v2=Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; PBRSB-eIBRS: SW sequence; BHI: SW loop, KVM: SW loop"),
		},
	}
	if d := cmp.Diff(want, readOne(t, readHost(t, "debian").root())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestReadKernelFailures(t *testing.T) {
	for file, attr := range map[string]string{
		"/proc/sys/kernel/tainted":                           "taint",
		"/proc/sys/kernel/panic_on_warn":                     "panic_on_warn",
		"/sys/kernel/security/lockdown":                      "lockdown",
		"/proc/cpuinfo":                                      "microcode_revisions",
		"/sys/devices/system/cpu/vulnerabilities/spectre_v2": "mitigations",
	} {
		s := readOne(t, readHost(t, "debian").fail(file, unix.EIO).root())
		if _, there := s.Attrs[attr]; there || len(s.Errs) != 1 || s.Errs[attr] == "" || s.Outcome != snapshot.Measured {
			t.Errorf("%s fails: outcome %s, attributes %v, errors %v", file, s.Outcome, s.Attrs, s.Errs)
		}
		gone := readHost(t, "debian")
		delete(gone.files, file)
		if s := readOne(t, gone.root()); len(s.Errs) != 0 {
			t.Errorf("%s is absent: errors %v", file, s.Errs)
		}
	}
	if s := readOne(t, newHost().root()); s.Outcome != snapshot.Skipped || s.Reason == "" {
		t.Errorf("an empty recording: %+v", s)
	}
	if s := readOne(t, newHost().fail("/proc/sys/kernel/tainted", unix.EIO).root()); s.Outcome != snapshot.Inconclusive || s.Reason == "" {
		t.Errorf("nothing but errors: %+v", s)
	}
}

func TestReadKernelLive(t *testing.T) {
	s := readOne(t, sysfs.Live())
	if s.Outcome != snapshot.Measured {
		t.Fatalf("outcome %s: %s", s.Outcome, s.Reason)
	}
	for _, name := range []string{"taint", "panic_on_warn"} {
		if _, ok := s.Attrs[name]; !ok {
			t.Errorf("no %s: %s", name, s.Errs[name])
		}
	}
}
