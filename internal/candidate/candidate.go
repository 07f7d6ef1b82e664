// Package candidate reads a kernel that does not run yet, from its files alone: does
// it have drivers for the devices of this host, the options and types that this host's
// programs need, the firmware that its drivers ask for? Nothing is loaded or booted.
package candidate

import (
	"context"
	"fmt"
	"sync"

	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// Files are where a candidate's files are on this host. What is not there is "".
type Files struct {
	Release, Arch string
	Image         string // the kernel image
	Modules       string // lib/modules/RELEASE
	Config        string // its build configuration
	Initramfs     string // of an installed kernel
}

// Check is one question to a candidate, with what an answer is worth. A finding takes
// the check's code and class, and its severity where it has none of its own.
type Check struct {
	Code     string // kebab-case, for ever
	Title    string
	Severity snapshot.Severity
	Class    snapshot.Class
}

// The questions, by concern.
var (
	driverMissing   = Check{"driver-missing", "a device that is driven now has no driver in the candidate", snapshot.Warning, snapshot.ClassKernel}
	driverOther     = Check{"driver-other", "a device is driven by another module in the candidate", snapshot.Info, snapshot.ClassKernel}
	rootDriver      = Check{"initramfs-lacks-driver", "a driver of the root disk is neither built in nor in the initramfs", snapshot.Critical, snapshot.ClassKernel}
	microcodeLost   = Check{"microcode-lost", "the initramfs brings no microcode, where the running kernel's does", snapshot.Warning, snapshot.ClassKernel}
	optionLost      = Check{"option-lost", "an option that BPF agents or this host need is set now and not in the candidate", snapshot.Warning, snapshot.ClassKernel}
	moduleMissing   = Check{"module-missing", "a module that is loaded now is not in the candidate", snapshot.Warning, snapshot.ClassKernel}
	typeMissing     = Check{"btf-lacks", "something that a program reaches for is not in the candidate's types", snapshot.Critical, snapshot.ClassKernel}
	firmwareMissing = Check{"firmware-missing", "a firmware file that a driver asks for is not on this host", snapshot.Warning, snapshot.ClassKernel}
)

// Checks is the catalogue.
func Checks() []Check {
	return []Check{driverMissing, driverOther, rootDriver, microcodeLost, optionLost, moduleMissing, typeMissing, firmwareMissing}
}

// gapKind is the kind of what could not be told.
const gapKind = "preflight.check"

// reader collects what is found in one candidate.
type reader struct {
	host  source.Host
	files Files
	tree  *kmod.Tree
	// initramfs lists the files of the candidate's, read once.
	initramfs func() ([]string, error)
	found     []snapshot.Finding
	gaps      []snapshot.Gap
}

// Read asks all questions about the candidate that its files can answer, for the host
// as it runs now. objects are paths of ELF objects with BPF programs.
func Read(ctx context.Context, host source.Host, f Files, objects []string) ([]snapshot.Finding, []snapshot.Gap) {
	r := &reader{host: host, files: f}
	r.initramfs = sync.OnceValues(func() ([]string, error) { return listInitramfs(f.Initramfs) })
	r.openTree(ctx)
	if r.tree != nil {
		r.drivers(ctx)
		r.loadedModules(ctx)
		r.firmware(ctx)
		r.rootDisk(ctx)
	}
	r.microcode(ctx)
	r.options(ctx)
	if len(objects) > 0 {
		r.types(ctx, objects)
	}
	return r.found, r.gaps
}

func (r *reader) openTree(ctx context.Context) {
	if r.files.Modules == "" {
		r.gap(driverMissing, "the candidate's module tree is not at hand", false)
		return
	}
	tree, err := kmod.Open(ctx, r.files.Modules)
	if err != nil {
		r.gap(driverMissing, err.Error(), true)
		return
	}
	r.tree = tree
}

func (r *reader) add(c Check, f snapshot.Finding) {
	f.Code, f.Class = c.Code, c.Class
	if f.Severity == "" {
		f.Severity = c.Severity
	}
	r.found = append(r.found, f)
}

// gap says what could not be told. It counts where the candidate should have told.
func (r *reader) gap(c Check, reason string, counts bool) {
	r.gaps = append(r.gaps, snapshot.Gap{Kind: gapKind, ID: c.Code, Reason: reason, Counts: counts})
}

// unread is a gap from an error of the host's; what is not there is no fault.
func (r *reader) unread(c Check, err error) {
	r.gap(c, err.Error(), !sysfs.Absent(err))
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
