package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/vm"
	"lastgood/internal/vm/vmtest"
)

// The scripts run the command as a process of its own, which starts its measuring
// child as the installed binary does.
//
// Started as the first process of a VM, the tests are what runs in it.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		if err := vm.RunGuest(context.Background(), rebootGuest); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	testscript.Main(cleaned{m}, map[string]func(){
		"lastgood":    func() { os.Exit(Main(os.Args[1:], OS())) },
		"without-bpf": withoutBPF,
	})
}

// cleaned removes what the tests of one process share, when all of them are over.
type cleaned struct{ *testing.M }

func (c cleaned) Run() int {
	defer scratch.Remove()
	return c.M.Run()
}

var scratch vmtest.Scratch

// withoutBPF runs a command under a seccomp filter that answers EPERM to bpf(2), as
// container runtimes' default filters do.
func withoutBPF() {
	const (
		loadWord  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jumpEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer    = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: loadWord, K: 0}, // seccomp_data.nr
		{Code: jumpEqual, K: unix.SYS_BPF, Jt: 0, Jf: 1},
		{Code: answer, K: 0x00050000 | uint32(unix.EPERM)}, // SECCOMP_RET_ERRNO
		{Code: answer, K: 0x7fff0000},                      // SECCOMP_RET_ALLOW
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	}
	if err == nil {
		var path string
		if path, err = exec.LookPath(os.Args[1]); err == nil {
			err = unix.Exec(path, os.Args[1:], os.Environ())
		}
	}
	fmt.Fprintln(os.Stderr, "without-bpf:", err)
	os.Exit(125)
}

func TestScripts(t *testing.T) {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cilium/ebpf").Output()
	if err != nil {
		t.Fatalf("find the test data of github.com/cilium/ebpf: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("LASTGOOD_CONFIG", filepath.Join(e.WorkDir, "lastgood.yaml"))
			e.Setenv("LASTGOOD_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			if v, ok := os.LookupEnv("GORACE"); ok {
				e.Setenv("GORACE", v)
			}
			hosts, err := filepath.Abs("../../testdata/hosts")
			if err != nil {
				return err
			}
			e.Setenv("HOSTS", hosts)
			e.Setenv("FOREIGN", filepath.Join(strings.TrimSpace(string(module)), "testdata"))
			e.Setenv("BPF", filepath.Join(hosts, "..", "..", "bpf"))
			return os.WriteFile(filepath.Join(e.WorkDir, "lastgood.yaml"), []byte("keep: 5\n"), 0o644)
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "bpf":
				return canLoad(), nil
			case "root":
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "edit": edit, "snapshots-equal": snapshotsEqual, "spoil-objects": spoilObjects,
			"smaller-before": smallerBefore, "spoil-explanations": spoilExplanations,
			"unpack": unpack, "taken": taken, "findings": findings, "mode": mode, "cut": cutShort,
		},
	})
}

// canLoad reports whether this process may load programs; where BPF is required
// it answers yes, so that a script that wants it fails instead of being passed over.
func canLoad() bool {
	return os.Getuid() == 0 || strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf")
}

// exits runs a command and checks its exit status: exits 3 lastgood check.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ee, ok := err.(*exec.ExitError); ok {
		got = ee.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// edit changes a snapshot: edit IN OUT CHANGE..., where a change is
// KIND/ID ATTR=NUMBER|TEXT, -KIND/ID to remove it, or +KIND/ID to add a copy of the
// first subject of that kind.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	snap, err := snapshot.Decode([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	for i := 2; i < len(args); i++ {
		i += editOne(ts, snap, args[i:])
	}
	b, err := snap.Encode()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o644))
}

// editOne applies one change and says how many more words it took.
func editOne(ts *testscript.TestScript, snap *snapshot.Snapshot, words []string) int {
	name := words[0]
	kind, id, ok := strings.Cut(strings.TrimLeft(name, "+-"), "/")
	if !ok {
		ts.Fatalf("no subject in %q", name)
	}
	switch name[0] {
	case '-':
		for i := range snap.Subjects {
			if snap.Subjects[i].Key() == (snapshot.Key{Kind: kind, ID: id}) {
				snap.Subjects = append(snap.Subjects[:i], snap.Subjects[i+1:]...)
				return 0
			}
		}
		ts.Fatalf("no subject %s", name)
	case '+':
		for i := range snap.Subjects {
			if snap.Subjects[i].Kind == kind {
				added := snap.Subjects[i]
				added.ID, added.Label = id, id
				snap.Subjects = append(snap.Subjects, added)
				ts.Check(snap.Sort())
				return 0
			}
		}
		ts.Fatalf("no subject of kind %s", kind)
	}
	sub := snap.Subject(snapshot.Key{Kind: kind, ID: id})
	if id == "*" {
		for i := range snap.Subjects {
			if snap.Subjects[i].Kind == kind {
				sub = &snap.Subjects[i]
				break
			}
		}
	}
	if sub == nil || len(words) < 2 {
		ts.Fatalf("no subject %s, or no change of it", name)
	}
	attr, text, _ := strings.Cut(words[1], "=")
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		sub.Set(attr, snapshot.Int(n))
	} else {
		sub.Set(attr, snapshot.Text(text))
	}
	return 1
}

// spoilObjects changes a byte of every object that a state folder keeps.
func spoilObjects(ts *testscript.TestScript, _ bool, args []string) {
	kept, err := filepath.Glob(filepath.Join(args[0], "objects", "sha256", "*"))
	ts.Check(err)
	if len(kept) == 0 {
		ts.Fatalf("no objects are kept in %s", args[0])
	}
	for _, name := range kept {
		b, err := os.ReadFile(name)
		ts.Check(err)
		b[len(b)/2] ^= 1
		ts.Check(os.WriteFile(name, b, 0o640))
	}
}

// snapshotsEqual checks that two snapshots agree in every exact attribute.
func snapshotsEqual(ts *testscript.TestScript, _ bool, args []string) {
	all, err := kinds()
	ts.Check(err)
	var sides [2]map[string]string
	untold := map[string]bool{} // what could not be told on either side is no difference
	for i, name := range args[:2] {
		snap, err := snapshot.Decode([]byte(ts.ReadFile(name)))
		ts.Check(err)
		sides[i] = map[string]string{}
		for _, s := range snap.Subjects {
			for attr := range s.Errs {
				untold[s.Key().String()+" "+attr] = true
			}
			for attr, v := range s.Attrs {
				k := all[s.Kind]
				if a, ok := k.Attr(attr); ok && a.Noise == snapshot.Exact {
					sides[i][s.Key().String()+" "+attr] = v.String()
				}
			}
		}
	}
	for _, side := range sides {
		maps.DeleteFunc(side, func(name, _ string) bool { return untold[name] })
	}
	if len(sides[0]) < 100 || len(sides[0]) != len(sides[1]) {
		ts.Fatalf("%d and %d exact attributes", len(sides[0]), len(sides[1]))
	}
	for name, v := range sides[0] {
		if sides[1][name] != v {
			ts.Fatalf("%s: %s and %s", name, v, sides[1][name])
		}
	}
}
