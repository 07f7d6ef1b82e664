// Package boot says which boot this is: the identity of the kernel and of the
// machine that it runs on, and the sources that follow the boot path.
//
// Everything is read through a sysfs.Root, so that a recorded host is read by the
// same code as the live one. A fact has three answers: it is there, it is absent
// (this kernel or machine has no such file), or it could not be read.
package boot

import (
	"context"
	"sync"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// catalogue gathers the sources of this family; each file adds its own.
var catalogue source.Catalogue

// Sources is the catalogue of what is read about the boot itself.
func Sources() []source.Source { return catalogue.All() }

// Identify reads what makes two snapshots comparable. It always returns: a fact
// that is absent is left out, and one that could not be read is left out too and
// has its reason in Errs, under the name of its JSON field.
//
// Of facts with several members (sysctls, packages, mitigations) the readable
// members are kept even where others failed.
func Identify(ctx context.Context, root *sysfs.Root) snapshot.Identity {
	r := &reader{ctx: ctx, root: root, errs: map[string]string{}}
	var id snapshot.Identity
	var wg sync.WaitGroup
	// The two hashes cost as much as all the rest together.
	wg.Go(func() { id.Kernel.BTFHash = fact(r, "btf_hash", btfHash) })
	wg.Go(func() {
		id.Packages = fact(r, "packages", packages)
		id.Kernel.ConfigHash = fact(r, "config_hash", configHash)
	})
	id.Kernel.Release = fact(r, "release", release)
	id.Kernel.Version = fact(r, "version", version)
	id.Kernel.Arch = fact(r, "arch", arch)
	id.Kernel.BuildID = fact(r, "build_id", buildID)
	id.Kernel.Cmdline = fact(r, "cmdline", cmdline)
	id.BootID = fact(r, "boot_id", bootID)
	id.MachineID = fact(r, "machine_id", machineID)
	id.Product = fact(r, "product", product)
	id.ProductUUID = fact(r, "product_uuid", productUUID)
	id.BoardSerial = fact(r, "board_serial", boardSerial)
	r.processors(&id)
	id.CPU.Mitigations = fact(r, "mitigations", mitigations)
	id.Lockdown = fact(r, "lockdown", lockdown)
	id.LSM = fact(r, "lsm", lsm)
	id.SecureBoot = fact(r, "secure_boot", secureBoot)
	id.Sysctls = fact(r, "sysctls", sysctls)
	id.Cgroup = fact(r, "cgroup", cgroup)
	id.Taint = fact(r, "taint", taintFact)
	wg.Wait()
	if len(r.errs) > 0 {
		id.Errs = r.errs
	}
	return id
}

// Running gives the two facts that are needed before anything is measured: which
// boot this is, and the build-id of the kernel. A fact that cannot be read is "".
func Running(ctx context.Context, root *sysfs.Root) (boot, build string) {
	r := &reader{ctx: ctx, root: root, errs: map[string]string{}}
	return fact(r, "boot_id", bootID), fact(r, "build_id", buildID)
}

// processors reads the facts that lean on /proc/cpuinfo, which is read once: some
// kernels stop every CPU for it to measure its frequency.
func (r *reader) processors(id *snapshot.Identity) {
	c, err := readCPUs(r.ctx, r.root)
	once := func(context.Context, *sysfs.Root) (cpus, error) { return c, err }
	id.CPU.Model = fact(r, "cpu_model", once).model()
	id.CPU.Microcode = fact(r, "microcode", once).microcode
	id.CPU.Count = fact(r, "cpu_count", func(ctx context.Context, root *sysfs.Root) (int, error) { return cpuCount(ctx, root, once) })
	id.Virtualization = fact(r, "virtualization", func(ctx context.Context, root *sysfs.Root) (string, error) {
		return virtualization(ctx, root, once)
	})
}

// reader keeps why a fact could not be read.
type reader struct {
	ctx  context.Context
	root *sysfs.Root
	mu   sync.Mutex
	errs map[string]string
}

// fact reads one fact. That its file is not there is an answer, not an error.
func fact[T any](r *reader, name string, read func(context.Context, *sysfs.Root) (T, error)) T {
	v, err := read(r.ctx, r.root)
	if err != nil && !sysfs.Absent(err) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errs[name] = err.Error()
	}
	return v
}
