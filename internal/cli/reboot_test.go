package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lastgood/internal/kernels"
	"lastgood/internal/kmod"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/vm"
	"lastgood/internal/vm/vmtest"
)

// guestRun is what a boot of a VM with a state folder is asked to do.
type guestRun struct {
	Commands [][]string     // run one after the other, in the guest's first process
	Agent    []string       // files of the payload that are the agent's objects
	Budget   string         // of each command
	Await    map[string]int // patterns of paths, and how many of each there must be before
}

// guestRan is what it answers.
type guestRan struct {
	Status []int
	Took   []string // of each command
	Out    []string
	State  []byte // the state folder, as tar
}

// rebootGuest is the init of such a VM. What is on its disk is brought along and sent
// back, for a VM has none: to the next boot it is the same disk.
func rebootGuest(ctx context.Context, g *vm.Guest) error {
	var do guestRun
	b, err := os.ReadFile(filepath.Join(g.Payload, "run.json"))
	if err == nil {
		err = json.Unmarshal(b, &do)
	}
	if err == nil {
		err = os.WriteFile("/etc/machine-id", []byte(guestMachineID+"\n"), 0o444)
	}
	if err == nil {
		err = untar(filepath.Join(g.Payload, "state.tar"), "/state")
	}
	for _, name := range do.Agent {
		if err == nil {
			err = os.MkdirAll("/agent", 0o755)
		}
		if err == nil {
			err = os.Rename(filepath.Join(g.Payload, name), filepath.Join("/agent", name))
		}
	}
	if err == nil {
		err = os.WriteFile("/agent.yaml", []byte("workloads:\n  - name: agent\n    objects: [/agent/*.o]\n"), 0o444)
	}
	for pattern, n := range do.Await {
		if err == nil {
			err = awaitPaths(ctx, pattern, n)
		}
	}
	if err != nil {
		return err
	}
	var ran guestRan
	for _, args := range do.Commands {
		if args[0] == removeCommand {
			if err := removeDevice(ctx, args[1]); err != nil {
				return err
			}
			continue
		}
		var out bytes.Buffer
		env := OS()
		env.In, env.Out, env.Err = strings.NewReader(""), &out, os.Stderr
		args = append([]string{args[0], "--state-dir", "/state", "--config", "/agent.yaml", "--budget", do.Budget}, args[1:]...)
		begun := time.Now()
		ran.Status = append(ran.Status, Main(args, env))
		ran.Took = append(ran.Took, time.Since(begun).Round(time.Millisecond).String())
		ran.Out = append(ran.Out, out.String())
	}
	if ran.State, err = tarOf("/state"); err != nil {
		return err
	}
	if b, err = json.Marshal(ran); err != nil {
		return err
	}
	return g.Send(vm.FrameResult, b)
}

func tarOf(dir string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: rel, Mode: 0o640, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	return out.Bytes(), errors.Join(err, w.Close())
}

func untar(name, dir string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(to, b, 0o640)
		}
		if err != nil {
			return err
		}
	}
}

// guestInit is this package's test binary without libraries, which is its own guest.
var guestInit = sync.OnceValues(func() (string, error) { return scratch.Tests("lastgood/internal/cli") })

// bootWith boots a real kernel on a bare machine with a state folder and runs commands in it.
func bootWith(t *testing.T, p *preflighter, release string, state []byte, agent []string, commands ...[]string) guestRan {
	t.Helper()
	return bootOn(t, *p.lab.Machine, namedKernel(t, p, release), nil, state, guestRun{Commands: commands, Agent: agent, Budget: "120s"})
}

// bootOn boots a kernel with modules on a machine. The agent's objects are paths here,
// and names of the payload there.
func bootOn(t *testing.T, machine vm.Machine, k kernels.Kernel, modules []kmod.Module, state []byte, do guestRun) guestRan {
	t.Helper()
	init, err := guestInit()
	if err != nil {
		t.Fatal(err)
	}
	var payload []vm.File
	for i, path := range do.Agent {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			do.Agent = slices.Clone(do.Agent)
		}
		do.Agent[i] = filepath.Base(path)
		payload = append(payload, vm.File{Path: filepath.Base(path), Mode: 0o444, Data: b})
	}
	if state != nil {
		payload = append(payload, vm.File{Path: "state.tar", Mode: 0o444, Data: state})
	}
	b, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	payload = append(payload, vm.File{Path: "run.json", Mode: 0o444, Data: b})
	machine.Timeout = thoroughTimeout
	r, err := machine.Run(t.Context(), vm.Job{Kernel: k.Image, Arch: k.Arch, Image: vm.Image{Init: init, Payload: payload, Modules: modules}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != vm.Done || len(r.Results) != 1 || r.Facts.Release != k.Release || len(r.Facts.ModuleErrors) > 0 {
		t.Fatalf("%s: %s: %s %v\n%s", k.Release, r.Outcome, r.Why, r.Facts, r.Console)
	}
	t.Logf("%s: boot %v, whole %v", k.Release, r.BootTime.Round(time.Millisecond), r.Took.Round(time.Millisecond))
	var ran guestRan
	if err := json.Unmarshal(r.Results[0], &ran); err != nil {
		t.Fatal(err)
	}
	return ran
}

// programFindings are a report's findings on programs of objects, a line each.
func programFindings(t *testing.T, out string) []string {
	t.Helper()
	rep, err := report.Decode([]byte(out))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var lines []string
	for _, f := range rep.Findings {
		if f.Subject.Kind == "bpf.program" {
			lines = append(lines, fmt.Sprintf("%s %s %s %s: %s", f.Severity, f.Class, f.Code, f.Subject.ID, f.Message))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestVMReboot boots one real kernel with an agent's objects, accepts the boot, and boots
// another one with the same disk before the agent is up: its programs are verified from
// the kept bytes, and the one that the kernel refuses is named.
func TestVMReboot(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	state, err := vmState()
	if err != nil {
		t.Fatal(err)
	}
	const good, bad = "6.18.15+deb13-cloud-amd64", "6.12.117+deb12-cloud-amd64"
	p := matrixPreflighter(t, state, strings.Split(vmSuites, ",")...)
	objects := []string{"../../loader/testdata/agent.o", "../../bpf/l7_parser_small_bpfel.o"}

	first := bootWith(t, p, good, nil, objects, []string{"check"}, []string{"accept"}, []string{"snapshot"})
	if !slices.Equal(first.Status, []int{0, 0, 0}) {
		t.Fatalf("first boot: %v\n%s", first.Status, strings.Join(first.Out[:2], "\n"))
	}
	second := bootWith(t, p, bad, first.State, nil, []string{"check", "-o", "json"}, []string{"show", "current", "-o", "json"}, []string{"show", "last-good", "-o", "json"})
	if second.Status[0] != 1 {
		t.Errorf("a refused program: exit status %d\n%s", second.Status[0], second.Out[0])
	}
	found := programFindings(t, second.Out[0])
	t.Logf("after the reboot:\n%s", strings.Join(found, "\n"))
	want := "critical kernel program-rejected agent.o/deep_stack: deep_stack of agent.o is refused after "
	if !slices.ContainsFunc(found, func(l string) bool {
		return strings.HasPrefix(l, want) && strings.Contains(l, "was accepted with 33") && strings.Contains(l, "combined stack size of 2 calls is 5")
	}) {
		t.Errorf("no finding %q", want)
	}
	// Nothing of the agent's is there, and all of its programs were verified.
	snap, err := snapshot.Decode([]byte(second.Out[1]))
	if err != nil {
		t.Fatal(err)
	}
	if s := snap.Subject(snapshot.Key{Kind: "bpf.object", ID: "agent.o"}); s == nil || !strings.HasPrefix(s.Text("state"), "kept") {
		t.Errorf("the kept object: %+v", s)
	}
	if s := snap.Subject(snapshot.Key{Kind: "bpf.program", ID: "l7_parser_small_bpfel.o/l7_parse"}); s == nil || s.Text("verdict") != "accepted" {
		t.Errorf("its other program: %+v", s)
	}
	// Comparing the two snapshots by hand says the same.
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": second.Out[2], "b.json": second.Out[1]} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	env := OS()
	env.Out = &out
	if status := Main([]string{"diff", "-o", "json", filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")}, env); status != 1 {
		t.Errorf("diff: exit status %d", status)
	}
	if byHand := programFindings(t, out.String()); !slices.Equal(byHand, found) {
		t.Errorf("diff found\n%s\nand check\n%s", strings.Join(byHand, "\n"), strings.Join(found, "\n"))
	}
}
