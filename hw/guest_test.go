package hw_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ipmi "github.com/bougou/go-ipmi/pkg/open"

	"lastgood/hw"
	"lastgood/internal/kernels"
	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/vm"
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
	for _, dir := range shared {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// shared are folders to remove when all tests are through.
var shared []string

// guestReading is one reading of the guest's hardware, and how long each source took.
type guestReading struct {
	Snapshot *snapshot.Snapshot
	Took     map[string]time.Duration
}

// guest reads the hardware twice. In between it has the management controller log a
// critical temperature, if there is a controller that takes it.
func guest(ctx context.Context, g *vm.Guest) error {
	want, err := os.ReadFile(filepath.Join(g.Payload, "await"))
	if err != nil {
		return err
	}
	if err := await(ctx, strings.Fields(string(want))); err != nil {
		return err
	}
	if err := sendReading(ctx, g); err != nil {
		return err
	}
	if err := addSEL(ctx); err != nil {
		// A controller that gives no answer cannot log either: the second reading says so.
		fmt.Fprintln(os.Stderr, "add SEL entry:", err)
	}
	return sendReading(ctx, g)
}

// await waits until the drivers have found what they are to find.
func await(ctx context.Context, paths []string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for len(paths) > 0 {
		if found, _ := filepath.Glob(paths[0]); len(found) > 0 {
			paths = paths[1:]
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not appear", paths[0])
		case <-tick.C:
		}
	}
	return nil
}

func sendReading(ctx context.Context, g *vm.Guest) error {
	host := source.Host{Root: sysfs.Live(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	r := guestReading{Snapshot: &snapshot.Snapshot{Schema: snapshot.Schema, Identity: snapshot.Identity{MachineID: "m"}}, Took: map[string]time.Duration{}}
	for _, src := range hw.Sources() {
		begun := time.Now()
		subjects, err := src.Read(ctx, host)
		r.Took[src.Name] = time.Since(begun)
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
	if err := r.Snapshot.Sort(); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return g.Send(vm.FrameResult, b)
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

// needVM skips where there is no QEMU or no Debian client, or fails where a VM is required.
func needVM(t *testing.T) {
	t.Helper()
	skip := t.Skipf
	if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "vm") {
		skip = t.Fatalf
	} else if testing.Short() {
		t.Skip("boots kernels, which is no short test")
	}
	for _, tool := range []string{"qemu-system-x86_64", "apt-get", "dpkg", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip("%s is not installed", tool)
		}
	}
}

// guestInit builds this package's tests as they are, without libraries.
var guestInit = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lastgood-hw-")
	if err != nil {
		return "", err
	}
	shared = append(shared, dir)
	name := filepath.Join(dir, "hw.test")
	cmd := exec.Command("go", "test", "-c", "-ldflags", "-s -w", "-o", name, "lastgood/hw")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return name, nil
})

// guestKernel fetches Debian's newest kernel of a series, with all its modules: the
// flavour for clouds has neither megaraid_sas nor ipmi_si.
func guestKernel(t *testing.T, series string) kernels.Kernel {
	t.Helper()
	state := *vmState
	if state == "" {
		dir, err := os.MkdirTemp("", "lastgood-hw-kernels-")
		if err != nil {
			t.Fatal(err)
		}
		shared = append(shared, dir)
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
	return k
}

// boot runs the guest on a machine with these devices and returns its two readings.
func boot(t *testing.T, k kernels.Kernel, devices, modules, await []string) []guestReading {
	t.Helper()
	init, err := guestInit()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := kmod.Open(t.Context(), k.Modules)
	if err != nil {
		t.Fatal(err)
	}
	load, missing, err := tree.Resolve(modules...)
	if err != nil || len(missing) > 0 {
		t.Fatalf("modules %v: missing %v, %v", modules, missing, err)
	}
	m := vm.New()
	m.Accel, m.Devices = vm.TCG, devices
	r, err := m.Run(t.Context(), vm.Job{Kernel: k.Image, Image: vm.Image{Init: init, Modules: load, Payload: []vm.File{{Path: "await", Mode: 0o444, Data: []byte(strings.Join(await, "\n"))}}}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != vm.Done || len(r.Results) != 2 {
		t.Fatalf("%s: %s, %d results\n%s", r.Outcome, r.Why, len(r.Results), r.Console)
	}
	if len(r.Facts.ModuleErrors) > 0 {
		t.Errorf("modules: %v", r.Facts.ModuleErrors)
	}
	t.Logf("%s: boot %v, whole %v", r.Facts.Release, r.BootTime.Round(time.Millisecond), r.Took.Round(time.Millisecond))
	var out []guestReading
	for _, b := range r.Results {
		var g guestReading
		if err := json.Unmarshal(b, &g); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
	}
	return out
}
