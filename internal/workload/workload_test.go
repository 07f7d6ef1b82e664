package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/loader"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func find(t *testing.T, release string, specs ...Spec) Set {
	t.Helper()
	f := Finder{Release: release}
	return f.Find(t.Context(), specs)
}

// brief is a set, a line for each file and problem.
func brief(s Set) []string {
	var out []string
	for _, f := range s.Files {
		line := fmt.Sprintf("%s %s %s", f.Name, f.Workload, f.State)
		if f.Idle {
			line += " idle"
		}
		if len(f.Values) > 0 {
			line += " " + string(f.Values)
		}
		out = append(out, line)
	}
	for _, p := range s.Problems {
		out = append(out, "! "+filepath.Base(p.Name)+": "+p.Why)
	}
	return out
}

func TestFind(t *testing.T) {
	d := t.TempDir()
	write(t, d+"/templates/aa/bpf_lxc.o", "lxc 1")
	write(t, d+"/templates/bb/bpf_lxc.o", "lxc 2")
	write(t, d+"/17/bpf_lxc.o", "lxc 1") // an endpoint's copy of the first
	write(t, d+"/17_next_fail/bpf_lxc.o", "lxc 3")
	write(t, d+"/templates/aa/bpf_lxc.json", `{"debug": 1}`)
	write(t, d+"/templates/bb/bpf_lxc.json", `no values`)
	write(t, d+"/tree/deep/er/x.o", "x")
	write(t, d+"/tree/readme", "no object")
	if err := unix.Mkfifo(d+"/tree/pipe.o", 0o600); err != nil {
		t.Fatal(err)
	}
	set := find(t, "6.1.0", Spec{Name: "net", Objects: []string{d + "/templates/*/*.o", d + "/[0-9]*/*.o"}}, Spec{Name: "tree", Objects: []string{d + "/tree", d + "/gone.o", d + "/nothing/*.o"}})
	sum := loader.DigestBytes([]byte("lxc 2"))[:8]
	plain := loader.DigestBytes([]byte("lxc 1"))[:8]
	want := []string{
		`bpf_lxc.o net present {"debug": 1}`, "bpf_lxc.o@" + sum + " net present", "bpf_lxc.o@" + plain + " net present", "x.o tree present",
		"! gone.o: find object: stat " + d + "/gone.o: no such file or directory",
	}
	if diff := cmp.Diff(want, brief(set)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func TestValuesThatAreNamedMustBeRead(t *testing.T) {
	d := t.TempDir()
	object := write(t, d+"/a.o", "a")
	for _, values := range []string{d + "/gone.json", write(t, d+"/bad.json", "{"), d} {
		set := find(t, "", Spec{Name: "w", Objects: []string{object}, Values: values})
		if len(set.Files) != 0 || len(set.Problems) != 1 || !strings.Contains(set.Problems[0].Why, "values") {
			t.Errorf("%s: %q", values, brief(set))
		}
	}
}

func TestBoundsOfAFolder(t *testing.T) {
	d := t.TempDir()
	deep := d
	for range maxDepth + 2 {
		deep = filepath.Join(deep, "x")
	}
	write(t, deep+"/too-deep.o", "1")
	write(t, d+"/here.o", "2")
	if err := os.Symlink(d, filepath.Join(d, "loop")); err != nil {
		t.Fatal(err)
	}
	set := find(t, "", Spec{Name: "w", Objects: []string{d}})
	if diff := cmp.Diff([]string{"here.o w present"}, brief(set)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f := Finder{entries: maxEntries}
	if set := f.Find(t.Context(), []Spec{{Name: "w", Objects: []string{d}}}); len(set.Problems) != 1 || !strings.Contains(set.Problems[0].Why, "the rest is left out") {
		t.Errorf("a folder without end: %q", brief(set))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	f = Finder{}
	if set := f.Find(ctx, []Spec{{Name: "w", Objects: []string{d + "/here.o"}}}); len(set.Problems) != 1 {
		t.Errorf("out of time: %q", brief(set))
	}
}

func TestAgentsPickByKernel(t *testing.T) {
	d := t.TempDir()
	for _, n := range []string{"exec.o", "exec_v53.o", "exec_v511.o", "exec_v61.o", "exec_v612.o", "only_v61.o", "plain.o"} {
		write(t, filepath.Join(d, n), n)
	}
	spec := Spec{Name: "tracer", Objects: []string{d}, ByKernel: true}
	for release, want := range map[string]string{
		"4.19.0": "exec.o plain.o", "5.10.0-46": "exec_v53.o plain.o", "5.15.0": "exec_v511.o plain.o", "6.6.1": "exec_v61.o only_v61.o plain.o",
		"6.12.117+deb12": "exec_v612.o only_v61.o plain.o", "7.1-rc1": "exec_v612.o only_v61.o plain.o",
		"what?": "exec.o exec_v511.o exec_v53.o exec_v61.o exec_v612.o only_v61.o plain.o",
	} {
		set := find(t, release, spec)
		var used []string
		for _, f := range set.ObjectFiles() {
			used = append(used, f.Name)
		}
		if got := strings.Join(used, " "); got != want {
			t.Errorf("%s: %s, want %s", release, got, want)
		}
		if len(set.Files) != 7 {
			t.Errorf("%s: %d objects are kept, want all", release, len(set.Files))
		}
	}
}

// keep puts a set through a snapshot, as a reboot does.
func keep(t *testing.T, set Set, specs []Spec, lost ...string) Set {
	t.Helper()
	snap := &snapshot.Snapshot{Subjects: set.subjects()}
	values := map[string][]byte{}
	for _, f := range set.Files {
		values[f.ValuesDigest] = f.Values
	}
	return Kept(snap, specs, func(d string) (string, error) {
		for _, f := range set.Files {
			if f.Digest == d && strings.Contains(strings.Join(lost, " "), f.Name) {
				return "", errors.New("it was not kept")
			}
		}
		return "/kept/" + d, nil
	}, func(d string) ([]byte, error) { return values[d], nil })
}

func TestMerge(t *testing.T) {
	d := t.TempDir()
	specs := []Spec{{Name: "net", Objects: []string{d + "/net"}, Types: map[string]string{"x": "xdp"}}, {Name: "trace", Objects: []string{d + "/trace"}}}
	write(t, d+"/net/a.o", "a")
	write(t, d+"/net/b.o", "b")
	write(t, d+"/net/b.json", `{"v":1}`)
	write(t, d+"/trace/t.o", "t")
	kept := keep(t, find(t, "", specs...), specs)
	if len(kept.Files) != 3 || kept.Files[0].Path != "/kept/"+kept.Files[0].Digest || kept.Files[0].Types["x"] != "xdp" {
		t.Fatalf("kept: %+v", kept)
	}
	merged := func() []string { return brief(Merge(kept, find(t, "", specs...), specs, "")) }
	same := []string{"a.o net present", `b.o net present {"v":1}`, "t.o trace present"}
	if diff := cmp.Diff(same, merged()); diff != "" {
		t.Errorf("nothing changed (-want +got):\n%s", diff)
	}
	write(t, d+"/net/a.o", "another a")
	if err := os.RemoveAll(d + "/trace"); err != nil {
		t.Fatal(err)
	}
	at := "a.o@" + loader.DigestBytes([]byte("another a"))[:8]
	updated := []string{"a.o net kept, no longer there", at + " net present", `b.o net present {"v":1}`, "t.o trace kept, its agent is not up", "! trace: find object: stat " + d + "/trace: no such file or directory"}
	if diff := cmp.Diff(updated, merged()); diff != "" {
		t.Errorf("one agent updated, one not up (-want +got):\n%s", diff)
	}
	lost := keep(t, find(t, "", specs...), specs, "b.o")
	if len(lost.Problems) != 1 || lost.Problems[0].Name != "b.o" || !strings.Contains(lost.Problems[0].Why, "not kept") {
		t.Errorf("bytes that are lost: %+v", lost.Problems)
	}
}

func TestProblemsAreSubjectsOfTheirOwn(t *testing.T) {
	set := Set{Files: []File{{ObjectFile: loader.ObjectFile{Name: "a.o"}}}, Problems: []Problem{{"a.o", "w", "gone"}, {"a.o", "w", "again"}, {"b.o", "w", "gone"}}}
	snap := &snapshot.Snapshot{Subjects: set.subjects()}
	if err := snap.Sort(); err != nil {
		t.Error(err)
	}
	if n := len(snap.Subjects); n != 3 {
		t.Errorf("%d subjects", n)
	}
}

func TestCache(t *testing.T) {
	c := Cache{Dir: filepath.Join(t.TempDir(), "measured"), Host: "host"}
	f := File{ObjectFile: loader.ObjectFile{Name: "a.o", Digest: "d"}}
	one := []snapshot.Subject{{Kind: "bpf.program", ID: "a.o/x", Outcome: snapshot.Measured}}
	one[0].Set("insns_processed", snapshot.Int(7))
	if c.Recall(&f) != nil {
		t.Error("something is recalled before anything was remembered")
	}
	if err := c.Remember(&f, one); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, c.Recall(&f), cmp.Comparer(func(a, b snapshot.Value) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, other := range map[string]struct {
		c Cache
		f File
	}{
		"another host":  {Cache{Dir: c.Dir, Host: "other"}, f},
		"no host":       {Cache{Dir: c.Dir}, f},
		"other bytes":   {c, File{ObjectFile: loader.ObjectFile{Name: "a.o", Digest: "e"}}},
		"other values":  {c, File{ObjectFile: f.ObjectFile, ValuesDigest: "v"}},
		"another type":  {c, File{ObjectFile: loader.ObjectFile{Name: "a.o", Digest: "d", Types: map[string]string{"a": "b"}}}},
		"other choices": {c, File{ObjectFile: loader.ObjectFile{Name: "a.o", Digest: "d", Only: []string{"x"}}}},
	} {
		if other.c.Recall(&other.f) != nil {
			t.Errorf("%s: recalled", name)
		}
	}
	// What could not be told is not remembered, and what is damaged is measured again.
	doubtful := File{ObjectFile: loader.ObjectFile{Name: "b.o", Digest: "d"}}
	if err := c.Remember(&doubtful, []snapshot.Subject{{Kind: "bpf.program", ID: "b.o/x", Outcome: snapshot.Inconclusive}}); err != nil || c.Recall(&doubtful) != nil {
		t.Errorf("inconclusive: %v", err)
	}
	b, err := os.ReadFile(c.path(&f))
	if err != nil {
		t.Fatal(err)
	}
	write(t, c.path(&f), strings.Replace(string(b), "7", "8", 1))
	if c.Recall(&f) != nil {
		t.Error("a damaged file is recalled")
	}
}

func TestHostKey(t *testing.T) {
	id := snapshot.Identity{Kernel: snapshot.KernelIdentity{Release: "6.1", BuildID: "b", Arch: "x86_64"}}
	base := HostKey(&id, "tool")
	if base == "" {
		t.Fatal("no key")
	}
	seen := map[string]string{base: "base"}
	for name, change := range map[string]func(*snapshot.Identity){
		"build":   func(i *snapshot.Identity) { i.Kernel.BuildID = "c" },
		"cpu":     func(i *snapshot.Identity) { i.CPU.Model = "x" },
		"jit":     func(i *snapshot.Identity) { i.Sysctls = map[string]int64{"net.core.bpf_jit_harden": 2} },
		"cmdline": func(i *snapshot.Identity) { i.Kernel.Cmdline = "mitigations=off" },
	} {
		other := id
		change(&other)
		k := HostKey(&other, "tool")
		if k == "" || seen[k] != "" {
			t.Errorf("%s: the key of %s", name, seen[k])
		}
		seen[k] = name
	}
	if HostKey(&id, "another tool") == base {
		t.Error("another lastgood, the same key")
	}
	boot := id
	boot.BootID = "x"
	if HostKey(&boot, "tool") != base {
		t.Error("another boot, another key")
	}
	unread := id
	unread.Errs = map[string]string{"sysctls": "no right"}
	if HostKey(&unread, "tool") != "" {
		t.Error("settings that could not be read, and a key all the same")
	}
	if HostKey(&snapshot.Identity{}, "tool") != "" {
		t.Error("a kernel without a build-id has a key")
	}
}
