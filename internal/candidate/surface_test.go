package candidate

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
	"lastgood/probes"
)

// TestSurfaceOfRealKernels compares what kernels of the distribution offer to one object,
// by their images alone. It wants the folder with unpacked kernel packages that
// `make matrix` leaves: LASTGOOD_TREES=folder go test -run SurfaceOfRealKernels -v.
func TestSurfaceOfRealKernels(t *testing.T) {
	trees := os.Getenv("LASTGOOD_TREES")
	if trees == "" {
		t.Skip("LASTGOOD_TREES names no folder: this test reads kernel images of several series")
	}
	object, err := os.ReadFile("../../loader/testdata/surface.o")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		old, new string
		want     []string // among the findings
		not      string   // the subject of none
	}{
		{"5.10.0", "6.12.", []string{"critical type-gone field/task_struct.state", "info type-back field/task_struct.__state", "info layouts-changed layouts", "info type-kinds-gained types"}, "cgroup_rstat_flush"},
		{"6.12.", "7.1.", []string{"critical kfunc-gone cgroup_rstat_flush", "warning kfunc-untagged bpf_wq_set_callback_impl", "warning kfunc-changed bpf_session_cookie", "info kfuncs-changed kfuncs"}, "bpf_rcu_read_lock"},
	} {
		old, new := surfaceOf(t, trees, c.old, object), surfaceOf(t, trees, c.new, object)
		kinds, err := snapshot.NewKinds(probes.SurfaceKinds()...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range compare.Judge(old, new, kinds, compare.Policy{}).Findings {
			t.Logf("%s → %s: %s %s: %s", c.old, c.new, f.Severity, f.Code, f.Message)
			got = append(got, string(f.Severity)+" "+f.Code+" "+f.Subject.ID)
			if f.Subject.ID == c.not {
				t.Errorf("%s → %s: a finding on %s: %s", c.old, c.new, c.not, f.Message)
			}
		}
		missing := slices.DeleteFunc(slices.Clone(c.want), func(w string) bool { return slices.Contains(got, w) })
		if d := cmp.Diff([]string(nil), missing, cmp.Transformer("none", func(s []string) string { return strings.Join(s, "\n") })); d != "" {
			t.Errorf("%s → %s: not found (-want +got):\n%s", c.old, c.new, d)
		}
	}
}

// surfaceOf reads the surface of a host that has nothing but a kernel's types.
func surfaceOf(t *testing.T, trees, release string, object []byte) *snapshot.Snapshot {
	t.Helper()
	images, err := filepath.Glob(filepath.Join(trees, "*/boot/vmlinuz-"+release+"*"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no image of %s: %v", release, err)
	}
	types, err := readBTF(t.Context(), images[0])
	if err != nil {
		t.Fatal(err)
	}
	root := sysfs.New(&sysfstest.FS{Files: map[string]string{runningBTF: string(types)}})
	subjects := probes.ReadSurface(t.Context(), root, []probes.Object{{Name: "surface.o", File: bytes.NewReader(object)}})
	var kinds []string
	for _, k := range probes.SurfaceKinds() {
		kinds = append(kinds, k.Name)
	}
	s := &snapshot.Snapshot{Tool: "test", Subjects: append(subjects, snapshot.Subject{Kind: snapshot.SourceKind, ID: "surface", Outcome: snapshot.Measured,
		Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(kinds...)}})}
	s.Identity.Kernel = snapshot.KernelIdentity{BuildID: filepath.Base(images[0]), Arch: "x86_64"}
	slices.SortFunc(s.Subjects, func(a, b snapshot.Subject) int { return a.Key().Compare(b.Key()) })
	return s
}
