package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/bootloader"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// Target is what the host is to be rebooted into. What is not known is "".
type Target struct {
	// Release is the candidate's, as uname -r will give it.
	Release string
	// Image, Initramfs and Modules are its paths on the host.
	Image, Initramfs, Modules string
	// Running is the release that runs now, LastGood that of the last good boot.
	Running, LastGood string
}

// Check is one question about a host, with what an answer is worth.
type Check struct {
	Code     string // kebab-case, for ever
	Title    string
	Doc      string
	Severity snapshot.Severity
	Class    snapshot.Class
	// Run answers. Findings take the check's Code, and its Severity and Class where they have
	// none of their own. A gap says what could not be told.
	Run func(context.Context, source.Host, Target) ([]snapshot.Finding, []snapshot.Gap)
}

// CheckKind is the kind of the gaps that a check leaves: the ID is the check's code.
const CheckKind = "preflight.check"

// Host asks all questions about the host itself: will a reboot into the target come up, as
// far as loader, disks, names and mounts go? It reads files only, on a live host the size and
// age of a few and the room on /boot as well. It changes nothing.
func Host(ctx context.Context, h source.Host, t Target) ([]snapshot.Finding, []snapshot.Gap) {
	return runChecks(ctx, HostChecks(), h, t)
}

// HostChecks is the catalogue of questions about the host itself.
func HostChecks() []Check { return hostChecks(liveCalls()) }

func hostChecks(sys calls) []Check {
	return slices.Concat(bootChecks(sys), spaceChecks(sys), grubenvChecks(), nameChecks(), fstabChecks(), mdChecks(), dkmsChecks(), kernelChecks())
}

func runChecks(ctx context.Context, checks []Check, h source.Host, t Target) ([]snapshot.Finding, []snapshot.Gap) {
	t = t.completed(ctx, h.Root)
	var findings []snapshot.Finding
	var gaps []snapshot.Gap
	for _, c := range checks {
		fs, gs := c.Run(ctx, h, t)
		for _, f := range fs {
			f.Code = c.Code
			if f.Severity == "" {
				f.Severity = c.Severity
			}
			if f.Class == "" {
				f.Class = c.Class
			}
			findings = append(findings, f)
		}
		for _, g := range gs {
			g.Kind, g.ID = CheckKind, c.Code
			if !slices.Contains(gaps, g) {
				gaps = append(gaps, g)
			}
		}
	}
	return findings, gaps
}

// completed fills in what the host itself tells of the target.
func (t Target) completed(ctx context.Context, root *sysfs.Root) Target {
	if t.Running == "" {
		if r, err := root.Attr(ctx, "/proc/sys/kernel/osrelease"); err == nil {
			t.Running = r
		}
	}
	return t
}

// calls are what is asked of the kernel beside the file tree. Each answers errRecorded for a
// host that is not this one.
type calls struct {
	stat func(ctx context.Context, root *sysfs.Root, name string) (facts, error)
	free func(ctx context.Context, root *sysfs.Root, name string) (uint64, error)
}

// facts are a file's size in bytes and the time of its last change.
type facts struct {
	size    int64
	changed time.Time
}

// recordedError says that a recording cannot answer, which is nobody's fault.
type recordedError struct{ what string }

func (e *recordedError) Error() string { return e.what + " is not kept in a recorded host" }

func liveCalls() calls {
	return calls{
		stat: func(ctx context.Context, root *sysfs.Root, name string) (facts, error) {
			if !root.Live() {
				return facts{}, &recordedError{"the size and age of " + name}
			}
			return inTime(ctx, func() (facts, error) {
				st, err := os.Stat(name)
				if err != nil {
					return facts{}, err
				}
				return facts{st.Size(), st.ModTime()}, nil
			})
		},
		free: func(ctx context.Context, root *sysfs.Root, name string) (uint64, error) {
			if !root.Live() {
				return 0, &recordedError{"the room on " + name}
			}
			return inTime(ctx, func() (uint64, error) {
				var st unix.Statfs_t
				if err := unix.Statfs(name, &st); err != nil {
					return 0, fmt.Errorf("statfs %s: %w", name, err)
				}
				return st.Bavail * uint64(st.Bsize), nil
			})
		},
	}
}

// inTime gives up on a call that a dead file system keeps, as the reader of files does.
func inTime[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, sysfs.Patience)
	defer cancel()
	done := make(chan answer, 1)
	go func() {
		v, err := f()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, sysfs.ErrHung
	}
}

// gap is a question without an answer.
func gap(reason string) snapshot.Gap { return snapshot.Gap{Reason: reason} }

// unread is a gap that an error left; it keeps the verdict from being good.
func unread(err error) snapshot.Gap { return snapshot.Gap{Reason: err.Error(), Counts: true} }

// readText reads a text file; one that is not there is empty, and found is false.
func readText(ctx context.Context, root *sysfs.Root, name string) (text string, found bool, err error) {
	b, err := root.Bytes(ctx, maxText+1, name)
	if sysfs.Absent(err) {
		return "", false, nil
	}
	if err == nil && len(b) > maxText {
		err = fmt.Errorf("read %s: longer than %d bytes", name, maxText)
	}
	return string(b), err == nil, err
}

// maxText bounds a text file; the largest is dpkg's status with some 10 MB.
const maxText = 64 << 20

// loaderState reads the boot loader's state and why it is not whole.
func loaderState(ctx context.Context, h source.Host) (bootloader.State, []snapshot.Gap) {
	st, errs := bootloader.Read(ctx, h.Root)
	var gaps []snapshot.Gap
	for _, err := range errs {
		gaps = append(gaps, unread(err))
	}
	return st, gaps
}

// moduleDirs are where a kernel's modules may be; /lib is a link to /usr/lib on most systems.
func moduleDirs(release string) []string {
	return []string{path.Join("/usr/lib/modules", release), path.Join("/lib/modules", release)}
}

// findModules is the module tree of a release: "" where there is none.
func findModules(ctx context.Context, root *sysfs.Root, release string) (string, error) {
	for _, d := range moduleDirs(release) {
		names, err := root.List(ctx, d)
		if err == nil && len(names) > 0 {
			return d, nil
		}
		if err != nil && !sysfs.Absent(err) {
			return "", err
		}
	}
	return "", nil
}

// findImage is the kernel image of a release: "" where there is none.
func findImage(ctx context.Context, root *sysfs.Root, release string) (string, error) {
	for _, p := range []string{"/boot/vmlinuz-" + release, "/boot/vmlinux-" + release, "/boot/Image-" + release, "/usr/lib/modules/" + release + "/vmlinuz", "/lib/modules/" + release + "/vmlinuz"} {
		b, err := root.Bytes(ctx, 1, p)
		if err == nil && len(b) > 0 {
			return p, nil
		}
		if err != nil && !sysfs.Absent(err) {
			return "", err
		}
	}
	return "", nil
}

// safeRelease reports whether a release can stand in a path.
func safeRelease(r string) bool {
	return r != "" && r != "." && r != ".." && !strings.ContainsRune(r, '/')
}

func notDir(err error) bool { return errors.Is(err, unix.ENOTDIR) }

func isDir(err error) bool { return errors.Is(err, unix.EISDIR) }
