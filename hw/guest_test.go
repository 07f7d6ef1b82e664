package hw_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ipmi "github.com/bougou/go-ipmi/pkg/open"
	"golang.org/x/sys/unix"

	"lastgood/hw"
	"lastgood/internal/kernels"
	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/vm"
	"lastgood/internal/vm/vmtest"
)

var vmState = flag.String("vm-state", "", "folder that keeps the kernels of VM tests from run to run")

// TestMain makes this very test binary the init of a VM.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		if err := vm.RunGuest(context.Background(), guest); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	code := m.Run()
	scratch.Remove()
	os.Exit(code)
}

// scratch is removed when all tests are through.
var scratch vmtest.Scratch

// inside is the guest's side of a test: its script runs there, as the first process.
type inside struct {
	ctx     context.Context
	g       *vm.Guest
	bridges bool // disks behind USB bridges are asked for their health too
}

// scripts are what guests do, by the name that the payload bears.
var scripts = map[string]func(*inside) error{}

// script adds one; each test file adds its own.
func script(name string, f func(*inside) error) string {
	scripts[name] = f
	return name
}

// guest waits for the devices, and runs its script.
func guest(ctx context.Context, g *vm.Guest) error {
	var given [2]string
	for i, name := range []string{"script", "await"} {
		b, err := os.ReadFile(filepath.Join(g.Payload, name))
		if err != nil {
			return err
		}
		given[i] = string(b)
	}
	run := scripts[given[0]]
	if run == nil {
		return fmt.Errorf("there is no script %q", given[0])
	}
	in := &inside{ctx: ctx, g: g}
	for _, pattern := range strings.Fields(given[1]) {
		if err := in.until(pattern+" is there", func() bool { return len(glob(pattern)) > 0 }); err != nil {
			return err
		}
	}
	return run(in)
}

func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern) // an error is of the pattern, which then matches nothing
	return found
}

// guestPatience bounds each wait inside a guest.
const guestPatience = 90 * time.Second

// until waits until something is so.
func (in *inside) until(what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(in.ctx, guestPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
	return nil
}

// load loads a module that was brought along for later, with parameters.
func (in *inside) load(name, params string) error {
	f, err := os.Open(filepath.Join(in.g.Payload, "later", name+".ko"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), params, 0); err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	return nil
}

// ask has the host give QEMU a command of its monitor protocol. What came of it is
// for the guest to see.
func (in *inside) ask(command string, arguments map[string]any) error {
	b, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		return err
	}
	return in.g.Send(vm.FrameProgress, b)
}

// guestReading is one reading of the guest's hardware, and how long it took: all, and
// each source.
type guestReading struct {
	Name     string
	Snapshot *snapshot.Snapshot
	Whole    time.Duration
	Took     map[string]time.Duration
}

// read reads the hardware and sends the reading home.
func (in *inside) read(name string) error {
	host := source.Host{Root: sysfs.Live(), Now: time.Now, Log: slog.New(slog.DiscardHandler), Bridges: in.bridges}
	r := guestReading{Name: name, Snapshot: &snapshot.Snapshot{Schema: snapshot.Schema, Identity: snapshot.Identity{MachineID: "m"}}, Took: map[string]time.Duration{}}
	r.Snapshot.Identity.Kernel.Release = in.g.Facts.Release
	begun := time.Now()
	for _, src := range hw.Sources() {
		since := time.Now()
		subjects, err := src.Read(in.ctx, host)
		r.Took[src.Name] = time.Since(since)
		s := snapshot.Subject{Kind: snapshot.SourceKind, ID: src.Name, Outcome: snapshot.Measured}
		var kinds []string
		for _, k := range src.Kinds {
			kinds = append(kinds, k.Name)
		}
		s.Set(snapshot.SourceKinds, snapshot.List(kinds...))
		if err != nil {
			s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
		}
		r.Snapshot.Subjects = append(append(r.Snapshot.Subjects, subjects...), s)
	}
	r.Whole = time.Since(begun)
	if err := r.Snapshot.Sort(); err != nil {
		return err
	}
	// Each byte of the answer is emulated, so it is packed.
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(w).Encode(r), w.Close()); err != nil {
		return err
	}
	return in.g.Send(vm.FrameResult, b.Bytes())
}

// addSEL has the controller log that sensor 0x30, a temperature, rose above its upper
// critical limit (IPMI 2.0, 31.6 and 32.1).
func addSEL(ctx context.Context) error {
	var dev ipmi.DeviceBackend
	if err := dev.Connect(ctx, 0); err != nil {
		return err
	}
	defer dev.Close(ctx)
	record := []byte{0, 0, 0x02, 0, 0, 0, 0, 0x20, 0, 0x04, 0x01, 0x30, 0x01, 0x59, 0x5c, 0x50}
	b, err := dev.Send(ctx, &ipmi.Request{NetFn: 0x0a, Cmd: 0x44, Data: record, TargetAddr: ipmi.BMCAddr}, 2*time.Second)
	if err != nil {
		return err
	}
	if len(b) < 1 || b[0] != 0 {
		return fmt.Errorf("answer % x", b)
	}
	return nil
}

// guestInit builds this package's tests as they are, without libraries.
var guestInit = sync.OnceValues(func() (string, error) { return scratch.Tests("lastgood/hw") })

// fetched are the kernels of this run by their series.
var (
	fetching sync.Mutex
	fetched  = map[string]kernels.Kernel{}
)

// guestKernel fetches Debian's newest kernel of a series, with all its modules: the
// flavour for clouds has neither megaraid_sas nor ipmi_si.
func guestKernel(t *testing.T, series string) kernels.Kernel {
	t.Helper()
	fetching.Lock()
	defer fetching.Unlock()
	if k, ok := fetched[series]; ok {
		return k
	}
	state := *vmState
	if state == "" {
		dir, err := scratch.Folder("lastgood-hw-kernels-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		state = dir
	}
	apt, err := kernels.NewApt(filepath.Join(state, "apt"), kernels.AptOptions{Root: sysfs.Live(), Suites: []string{"bookworm", "bookworm-security"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := apt.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := apt.Offered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found *kernels.Kernel
	for i := range all {
		if all[i].Flavour == "amd64" && strings.HasPrefix(all[i].Release, series) && all[i].Testable {
			found = &all[i]
		}
	}
	if found == nil {
		t.Fatalf("the archive offers no kernel %s…-amd64", series)
	}
	cache, err := kernels.OpenCache(filepath.Join(state, "kernels"), 4<<30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	k, err := cache.Tree(t.Context(), *found, apt.Fetch)
	if err != nil {
		t.Fatal(err)
	}
	fetched[series] = k
	return k
}

// machine is what a guest runs on and finds there.
type machine struct {
	script  string
	devices []string // QEMU's options
	modules []string // loaded before all else, in this order
	later   []string // brought along for the script to load
	args    []string // of the kernel's command line
	await   []string // patterns of paths that there must be before the script begins
}

// boot runs a guest to its end and returns its readings by name.
func boot(t *testing.T, k kernels.Kernel, m machine) map[string]*guestReading {
	t.Helper()
	init, err := guestInit()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := kmod.List(t.Context(), k.Modules)
	if err != nil {
		t.Fatal(err)
	}
	load, missing, err := tree.Resolve(append(slices.Clone(m.modules), m.later...)...)
	if err != nil || len(missing) > 0 {
		t.Fatalf("modules: missing %v, %v", missing, err)
	}
	load = slices.DeleteFunc(load, func(l kmod.Module) bool { return slices.Contains(m.later, l.Name) })
	files := []vm.File{{Path: "script", Mode: 0o444, Data: []byte(m.script)}, {Path: "await", Mode: 0o444, Data: []byte(strings.Join(m.await, "\n"))}}
	for _, name := range m.later {
		b, err := kmod.Read(tree.File(name))
		if err != nil {
			t.Fatalf("module %s: %v", name, err)
		}
		files = append(files, vm.File{Path: "later/" + name + ".ko", Mode: 0o444, Data: b})
	}
	monitor := newMonitor(t)
	v := vm.New()
	v.CPUs = 1 // with two a boot may be run once more with one, which is another machine
	v.Accel, v.Devices, v.Timeout = vm.TCG, append(monitor.options(), m.devices...), 3*time.Minute
	r, err := v.Run(t.Context(), vm.Job{Kernel: k.Image, Image: vm.Image{Init: init, Modules: load, Payload: files}, Args: m.args, Progress: monitor.pass})
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != vm.Done {
		t.Fatalf("%s: %s, %d results\n%s", r.Outcome, r.Why, len(r.Results), r.Console)
	}
	if len(r.Facts.ModuleErrors) > 0 {
		t.Errorf("modules: %v", r.Facts.ModuleErrors)
	}
	t.Logf("%s: boot %v, whole %v", r.Facts.Release, r.BootTime.Round(time.Millisecond), r.Took.Round(time.Millisecond))
	out := map[string]*guestReading{}
	for _, b := range r.Results {
		var g guestReading
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			err = json.NewDecoder(z).Decode(&g)
		}
		if err != nil {
			t.Fatal(err)
		}
		out[g.Name] = &g
		t.Logf("%s: %d subjects in %v: %v", g.Name, len(g.Snapshot.Subjects), g.Whole.Round(time.Millisecond), g.slowest(6))
	}
	return out
}

// slowest tells which sources took longest.
func (r *guestReading) slowest(n int) string {
	names := slices.SortedFunc(maps.Keys(r.Took), func(a, b string) int { return cmp.Compare(r.Took[b], r.Took[a]) })
	var out []string
	for _, name := range names[:min(n, len(names))] {
		out = append(out, name+" "+r.Took[name].Round(100*time.Microsecond).String())
	}
	return strings.Join(out, ", ")
}
