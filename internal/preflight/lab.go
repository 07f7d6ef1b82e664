package preflight

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/vm"
	"lastgood/loader"
)

// Lab measures kernels in VMs and remembers what it measured: the same kernel, the
// same programs and the same lastgood on the same emulated machine give the same
// counters, so once is enough.
type Lab struct {
	Machine *vm.Machine
	// Self is a static lastgood, the guest's init.
	Self string
	// Dir keeps snapshots; "" keeps none.
	Dir string
	// BootID names this boot, for what holds as long as it lasts.
	BootID string

	once    sync.Once
	self    string // digest of Self
	selfErr error

	mu  sync.Mutex
	kvm string // why KVM cannot be had, once it is known
}

// Candidate is the subject of a measurement: one kernel.
type Candidate struct {
	Release string // what it must say of itself
	Arch    string
	Image   string // path
	Modules string // lib/modules/RELEASE, "" where it is not at hand
}

// Measured is what a kernel did in a VM.
type Measured struct {
	// Snapshot is nil where the VM gave none; Outcome and Why say what it did instead.
	Snapshot *snapshot.Snapshot
	Outcome  vm.Outcome
	Why      string
	Facts    *vm.Facts
	Console  string
	Machine  string // accelerator and CPU model
	Notes    []string
	Boot     time.Duration // from QEMU's start to the guest's init
	Took     time.Duration
	Cached   bool
}

// NotAskedError is a VM in which something else ran than was asked for.
type NotAskedError struct{ Asked, Ran string }

func (e *NotAskedError) Error() string {
	return fmt.Sprintf("the VM ran %s, and %s was asked for", e.Ran, e.Asked)
}

// maxSnapshot bounds what a guest may claim to be a snapshot, unpacked.
const maxSnapshot = 64 << 20

// Measure boots the candidate and has it do the job, or gives what it did before.
// The objects' paths are of this host.
func (l *Lab) Measure(ctx context.Context, c Candidate, job Job, objects []loader.ObjectFile, progress func(string)) (*Measured, error) {
	job.Modules = c.Modules != ""
	payload, err := l.payload(&job, objects)
	if err != nil {
		return nil, err
	}
	modules, missing, err := kfuncModules(ctx, c.Modules, payload[:len(objects)])
	if err != nil {
		return nil, err
	}
	if modules, err = withAttachModules(ctx, c.Modules, modules); err != nil {
		return nil, err
	}
	machine := *l.Machine
	if why := l.noKVM(); why != "" && machine.Accel == vm.Auto {
		machine.Accel = vm.TCG
	}
	key, err := l.key(c, payload, modules, machine)
	if err != nil {
		return nil, err
	}
	if m := l.recall(key, c); m != nil {
		return m, nil
	}
	r, err := machine.Run(ctx, vm.Job{
		Kernel: c.Image, Arch: c.Arch, Image: vm.Image{Init: l.Self, Modules: modules, Payload: payload},
		InitArgs: []string{vm.GuestCommand}, Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	if r.KVMGivenUp != "" {
		l.giveUpKVM(r.KVMGivenUp)
		machine.Accel = vm.TCG
		if key, err = l.key(c, payload, modules, machine); err != nil {
			return nil, err
		}
	}
	m := &Measured{Outcome: r.Outcome, Why: r.Why, Facts: r.Facts, Console: r.Console, Notes: r.Notes,
		Machine: string(r.Accel) + ", " + r.CPU, Boot: r.BootTime, Took: r.Took}
	if len(missing) > 0 {
		m.Notes = append(m.Notes, "the objects call functions of modules that are not at hand: "+strings.Join(missing, ", "))
	}
	if r.Outcome != vm.Done {
		return m, nil
	}
	if err := m.open(r, c); err != nil {
		return m, err
	}
	l.remember(key, m)
	return m, nil
}

// open takes the snapshot out of the guest's answer and proves that it is of what
// was asked for.
func (m *Measured) open(r *vm.Result, c Candidate) error {
	if len(r.Results) != 1 {
		m.Outcome, m.Why = vm.Garbled, fmt.Sprintf("it gave %d results for one job", len(r.Results))
		return nil
	}
	snap, err := unpackSnapshot(r.Results[0])
	if err != nil {
		m.Outcome, m.Why = vm.Garbled, err.Error()
		return nil
	}
	m.Snapshot = snap
	ran := snap.Identity.Kernel.Release
	if ran != r.Facts.Release || c.Release != "" && ran != c.Release || c.Arch != "" && snap.Identity.Kernel.Arch != c.Arch {
		return &NotAskedError{Asked: strings.TrimSpace(c.Release + " " + c.Arch), Ran: ran + " " + snap.Identity.Kernel.Arch}
	}
	return nil
}

func unpackSnapshot(packed []byte) (*snapshot.Snapshot, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack snapshot: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(z, maxSnapshot+1))
	if err != nil {
		return nil, fmt.Errorf("unpack snapshot: %w", err)
	}
	if len(b) > maxSnapshot {
		return nil, fmt.Errorf("unpack snapshot: more than %d MiB", maxSnapshot>>20)
	}
	return snapshot.Decode(b)
}

// payload is what goes into the guest beside lastgood itself.
func (l *Lab) payload(job *Job, objects []loader.ObjectFile) ([]vm.File, error) {
	var files []vm.File
	seen := map[string]bool{}
	for i, o := range objects {
		if seen[o.Name] {
			return nil, fmt.Errorf("read objects: there are two of the name %s", o.Name)
		}
		seen[o.Name] = true
		data, err := o.Read()
		if err != nil {
			return nil, err
		}
		o.Path = fmt.Sprintf("object-%d.o", i)
		files = append(files, vm.File{Path: o.Path, Mode: 0o444, Data: data})
		job.Objects = append(job.Objects, o)
	}
	b, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	return append(files, vm.File{Path: JobFile, Mode: 0o444, Data: b}), nil
}

// key names a measurement by everything that it depends on.
func (l *Lab) key(c Candidate, payload []vm.File, modules []kmod.Module, m vm.Machine) (string, error) {
	l.once.Do(func() { l.self, l.selfErr = digestFile(l.Self) })
	if l.selfErr != nil {
		return "", l.selfErr
	}
	image, err := digestFile(c.Image)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, image, l.self, m.Accel, m.MemoryMiB, m.CPUs)
	for _, f := range payload {
		fmt.Fprintf(h, "%s %x\n", f.Path, sha256.Sum256(f.Data))
	}
	for _, mod := range modules {
		sum, err := digestFile(mod.File)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, mod.Name, sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func digestFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", filepath.Base(name), err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// kept is a measurement on disk.
type kept struct {
	Snapshot json.RawMessage `json:"snapshot"`
	Facts    *vm.Facts       `json:"facts"`
	Machine  string          `json:"machine"`
	Notes    []string        `json:"notes,omitempty"`
}

func (l *Lab) recall(key string, c Candidate) *Measured {
	if l.Dir == "" {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(l.Dir, key+".json"))
	if err != nil {
		return nil
	}
	var k kept
	if json.Unmarshal(b, &k) != nil || k.Facts == nil {
		return nil // made again and written over
	}
	snap, err := snapshot.Decode(k.Snapshot)
	if err != nil || c.Release != "" && snap.Identity.Kernel.Release != c.Release {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(l.Dir, key+".json"), now, now) // the least recently used go first
	return &Measured{Snapshot: snap, Outcome: vm.Done, Facts: k.Facts, Machine: k.Machine, Notes: k.Notes, Cached: true}
}

// remember keeps a measurement. It is a cache: what cannot be kept is measured again.
func (l *Lab) remember(key string, m *Measured) {
	if l.Dir == "" || m.Snapshot == nil {
		return
	}
	snap, err := m.Snapshot.Encode()
	if err != nil {
		return
	}
	b, err := json.Marshal(kept{Snapshot: snap, Facts: m.Facts, Machine: m.Machine, Notes: m.Notes})
	if err == nil && writeAtomic(l.Dir, key+".json", b) == nil {
		prune(l.Dir)
	}
}

// maxKept bounds the snapshots that are kept, about 60 MB of them.
const maxKept = 128

// kvmFile says why KVM cannot be had on this boot, so that the watchdog's seconds
// are spent once a boot.
const kvmFile = "kvm"

func (l *Lab) noKVM() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kvm == "" && l.Dir != "" && l.BootID != "" {
		b, err := os.ReadFile(filepath.Join(l.Dir, kvmFile))
		if boot, why, ok := strings.Cut(string(b), " "); err == nil && ok && boot == l.BootID {
			l.kvm = strings.TrimSpace(why)
		}
	}
	return l.kvm
}

func (l *Lab) giveUpKVM(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kvm = why
	if l.Dir != "" && l.BootID != "" {
		// Only seconds are lost where this cannot be written.
		_ = writeAtomic(l.Dir, kvmFile, []byte(l.BootID+" "+why+"\n"))
	}
}

// writeAtomic writes a file that is there as a whole or not at all.
func writeAtomic(dir, name string, b []byte) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// prune removes the least recently used snapshots, and what a killed writer left.
func prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type old struct {
		name string
		used time.Time
	}
	var all []old
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			continue
		}
		switch {
		case strings.HasPrefix(e.Name(), ".new-") && time.Since(st.ModTime()) > time.Hour:
			_ = os.Remove(filepath.Join(dir, e.Name()))
		case strings.HasSuffix(e.Name(), ".json"):
			all = append(all, old{e.Name(), st.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b old) int { return b.used.Compare(a.used) })
	for _, o := range all[min(len(all), maxKept):] {
		_ = os.Remove(filepath.Join(dir, o.name))
	}
}
