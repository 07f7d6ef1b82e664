package preflight

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"path"
	"slices"

	"lastgood/internal/bootloader"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func bootChecks(sys calls) []Check {
	return []Check{
		{Code: "boot-entry-missing", Title: "the loader's default names an entry", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "A setting that names an entry which is gone makes the loader boot another one without a word.", Run: checkEntry},
		{Code: "boot-not-candidate", Title: "the candidate is what boots next", Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Doc: "Says which kernel boots next where it is not the one that is judged.", Run: checkCandidate},
		{Code: "boot-image-bad", Title: "the kernel image is there and whole", Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Doc: "A missing, empty or cut-off image stops the machine in the loader.", Run: sys.checkImages},
		{Code: "boot-initramfs-bad", Title: "the initramfs is there and is an archive", Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Doc: "Without its initramfs a distribution kernel does not find the root file system and panics.", Run: checkInitramfs},
		{Code: "boot-modules-missing", Title: "the module tree is there", Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Doc: "Without its modules a kernel comes up without network and most file systems.", Run: checkModules},
		{Code: "boot-initramfs-stale", Title: "the initramfs is newer than its modules", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Doc: "An initramfs that was made before its modules last changed may hold old ones.", Run: sys.checkStale},
	}
}

func entryRef(e *bootloader.Entry) snapshot.SubjectRef {
	return snapshot.SubjectRef{Kind: "boot.entry", ID: e.ID, Label: e.Title}
}

func kernelRef(release string) snapshot.SubjectRef {
	return snapshot.SubjectRef{Kind: "boot.kernel", ID: release}
}

var loaderRef = snapshot.SubjectRef{Kind: "boot.loader", ID: "loader"}

func checkEntry(ctx context.Context, h source.Host, _ Target) ([]snapshot.Finding, []snapshot.Gap) {
	st, gaps := loaderState(ctx, h)
	hint := "see which entries there are and set the default anew: grub-set-default ID, grubby --set-default=/boot/vmlinuz-RELEASE or bootctl set-default ID"
	switch {
	case st.Loader == "" || len(gaps) > 0 && st.Next < 0:
		return nil, append(gaps, gap(st.Why))
	case len(st.Entries) == 0:
		return []snapshot.Finding{{Severity: snapshot.Critical, Subject: loaderRef, Message: "the boot loader has no entry to boot", Hint: "make its configuration anew: update-grub, grub2-mkconfig or kernel-install add-all", Evidence: st.Why}}, gaps
	case st.Next < 0:
		return nil, append(gaps, gap("what boots next: "+st.Why))
	case st.Missing != "":
		e := st.NextEntry()
		return []snapshot.Finding{{Subject: loaderRef, Message: fmt.Sprintf("the loader is set to boot %q, which does not exist; %q boots instead", st.Missing, e.ID), Hint: hint, Evidence: st.Why}}, gaps
	}
	return nil, gaps
}

func checkCandidate(ctx context.Context, h source.Host, t Target) ([]snapshot.Finding, []snapshot.Gap) {
	st, _ := loaderState(ctx, h) // checkEntry reports what could not be read
	e := st.NextEntry()
	if t.Release == "" || e == nil || e.Release == t.Release {
		return nil, nil
	}
	if e.Release == "" {
		return nil, []snapshot.Gap{gap(fmt.Sprintf("the entry %q that boots next does not say which kernel release it starts", e.ID))}
	}
	old, now := snapshot.Text(t.Release), snapshot.Text(e.Release)
	return []snapshot.Finding{{Subject: entryRef(e), Old: &old, New: &now, Evidence: st.Why,
		Message: fmt.Sprintf("the next reboot starts %s, not the candidate %s", e.Release, t.Release),
		Hint:    "choose the candidate for one boot: grub-reboot ID, grub2-reboot ID or bootctl set-oneshot ID"}}, nil
}

// bootFiles are a kernel's files that a boot needs.
type bootFiles struct {
	ref      snapshot.SubjectRef
	release  string
	image    string
	initrd   []string
	modules  string // "" where it is to be looked for
	noInitrd bool   // an entry without one, beside others that have one
}

// toBoot are the files of the entry that boots next and of the candidate, each once.
func toBoot(ctx context.Context, h source.Host, t Target) []bootFiles {
	st, _ := loaderState(ctx, h)
	var out []bootFiles
	if e := st.NextEntry(); e != nil && e.Linux != "" {
		others := slices.ContainsFunc(st.Entries, func(o bootloader.Entry) bool { return len(o.Initrd) > 0 })
		uki := path.Ext(e.Linux) == ".efi"
		out = append(out, bootFiles{ref: entryRef(e), release: e.Release, image: e.Linux, initrd: e.Initrd, noInitrd: len(e.Initrd) == 0 && others && !uki})
	}
	if t.Release == "" && t.Image == "" {
		return out
	}
	c := bootFiles{ref: kernelRef(t.Release), release: t.Release, image: t.Image, modules: t.Modules}
	if t.Initramfs != "" {
		c.initrd = []string{t.Initramfs}
	}
	if len(out) == 1 && out[0].release == c.release {
		out[0].modules = c.modules
		if c.image == "" || c.image == out[0].image {
			return out
		}
	}
	return append(out, c)
}

// checkImages looks at the first bytes and the size of each image.
func (sys calls) checkImages(ctx context.Context, h source.Host, t Target) (fs []snapshot.Finding, gaps []snapshot.Gap) {
	for _, b := range toBoot(ctx, h, t) {
		if b.image == "" {
			continue
		}
		what, g := sys.imageFault(ctx, h.Root, b.image)
		gaps = append(gaps, g...)
		if what != "" {
			fs = append(fs, snapshot.Finding{Subject: b.ref, Message: fmt.Sprintf("kernel image %s %s: the machine would stop in the boot loader", b.image, what),
				Hint: "install the kernel's package again: apt install --reinstall linux-image-" + b.release + " or dnf reinstall kernel-core-" + b.release, Evidence: b.image})
		}
	}
	return fs, gaps
}

func (sys calls) imageFault(ctx context.Context, root *sysfs.Root, name string) (string, []snapshot.Gap) {
	head, err := root.Bytes(ctx, sysfs.PageSize, name)
	switch {
	case sysfs.Absent(err):
		return "does not exist", nil
	case err != nil:
		return "", []snapshot.Gap{unread(err)}
	case len(head) == 0:
		return "is empty", nil
	case len(bytes.Trim(head, "\x00")) == 0:
		return "begins with zeros", nil
	}
	want := bzImageSize(head)
	if want == 0 {
		return "", nil
	}
	have := int64(len(head))
	if have == sysfs.PageSize {
		f, err := sys.stat(ctx, root, name)
		if err != nil {
			return "", []snapshot.Gap{gap("whether " + name + " is whole: " + err.Error())}
		}
		have = f.size
	}
	if have < want {
		return fmt.Sprintf("is cut off: %d bytes of %d", have, want), nil
	}
	return "", nil
}

// bzImageSize is the size that an x86 image says it has, 0 for another format: the set-up sectors
// and the protected-mode code (Documentation/arch/x86/boot.rst).
func bzImageSize(head []byte) int64 {
	if len(head) < 0x206 || string(head[0x202:0x206]) != "HdrS" {
		return 0
	}
	setup := int64(head[0x1f1])
	if setup == 0 {
		setup = 4
	}
	return (setup+1)*512 + int64(binary.LittleEndian.Uint32(head[0x1f4:]))*16
}

// archives are how an initramfs may begin: cpio, or one of the kernel's compressions.
var archives = []string{"070701", "070702", "\x1f\x8b", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd", "\x02\x21\x4c\x18", "BZh", "\x5d\x00\x00", "\x89LZO"}

func checkInitramfs(ctx context.Context, h source.Host, t Target) (fs []snapshot.Finding, gaps []snapshot.Gap) {
	for _, b := range toBoot(ctx, h, t) {
		bad := func(what string) {
			fs = append(fs, snapshot.Finding{Subject: b.ref, Message: what + ": the kernel would not find its root file system",
				Hint: "make it anew: update-initramfs -c -k " + b.release + " && update-grub, or dracut --force --kver " + b.release})
		}
		if b.noInitrd {
			bad(fmt.Sprintf("entry %q has no initramfs although other entries have one", b.ref.ID))
		}
		for _, name := range b.initrd {
			head, err := h.Root.Bytes(ctx, 16, name)
			switch {
			case sysfs.Absent(err):
				bad("initramfs " + name + " does not exist")
			case err != nil:
				gaps = append(gaps, unread(err))
			case len(head) == 0:
				bad("initramfs " + name + " is empty")
			case !slices.ContainsFunc(archives, func(a string) bool { return bytes.HasPrefix(head, []byte(a)) }):
				bad("initramfs " + name + " does not begin like an archive")
			}
		}
	}
	return fs, gaps
}

func checkModules(ctx context.Context, h source.Host, t Target) (fs []snapshot.Finding, gaps []snapshot.Gap) {
	for _, b := range toBoot(ctx, h, t) {
		dir, err := b.modules, error(nil)
		if dir == "" && !safeRelease(b.release) {
			gaps = append(gaps, gap(fmt.Sprintf("the modules of %q: its kernel release is not known", b.ref.ID)))
			continue
		}
		if dir == "" {
			dir, err = findModules(ctx, h.Root, b.release)
		}
		var dep []byte
		if err == nil && dir != "" {
			dep, err = h.Root.Bytes(ctx, 1, dir, "modules.dep")
		}
		if err != nil && !sysfs.Absent(err) {
			gaps = append(gaps, unread(err))
			continue
		}
		what := ""
		switch {
		case dir == "":
			what = "there is no module tree for " + b.release
		case len(dep) == 0:
			what = "the module tree " + dir + " has no list of dependencies, so nothing can be loaded from it"
		default:
			continue
		}
		fs = append(fs, snapshot.Finding{Subject: b.ref, Message: what, Hint: "install the kernel's modules package again, then run depmod " + b.release})
	}
	return fs, gaps
}

func (sys calls) checkStale(ctx context.Context, h source.Host, t Target) (fs []snapshot.Finding, gaps []snapshot.Gap) {
	for _, b := range toBoot(ctx, h, t) {
		dir := b.modules
		if dir == "" && safeRelease(b.release) {
			dir, _ = findModules(ctx, h.Root, b.release) // checkModules reports what is wrong there
		}
		if dir == "" || len(b.initrd) == 0 {
			continue
		}
		name := b.initrd[len(b.initrd)-1] // those before it hold microcode
		initrd, err := sys.stat(ctx, h.Root, name)
		if sysfs.Absent(err) {
			continue
		}
		modules, merr := facts{}, error(nil)
		if err == nil {
			modules, merr = sys.stat(ctx, h.Root, path.Join(dir, "modules.dep"))
		}
		if err != nil || merr != nil && !sysfs.Absent(merr) {
			gaps = append(gaps, gap("whether "+name+" is newer than its modules could not be told: "+first(err, merr).Error()))
			continue
		}
		if merr == nil && initrd.changed.Before(modules.changed) {
			fs = append(fs, snapshot.Finding{Subject: b.ref, Message: fmt.Sprintf("initramfs %s is older than the modules in %s", name, dir),
				Evidence: fmt.Sprintf("%s, modules.dep %s", initrd.changed.UTC().Format("2006-01-02 15:04:05"), modules.changed.UTC().Format("2006-01-02 15:04:05")),
				Hint:     "make it anew: update-initramfs -u -k " + b.release + " or dracut --force --kver " + b.release})
		}
	}
	return fs, gaps
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
