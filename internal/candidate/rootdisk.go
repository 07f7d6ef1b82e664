package candidate

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// rootDisk asks whether the drivers on the way to the root file system's disk are
// there before the root file system is: built in, or in the initramfs.
func (r *reader) rootDisk(ctx context.Context) {
	modules, disk, err := rootModules(ctx, r.host.Root)
	switch {
	case err != nil:
		r.unread(rootDriver, err)
		return
	case disk == "":
		return // the root is no disk: a network, a RAM disk
	case r.files.Initramfs == "":
		r.gap(rootDriver, "the candidate has no initramfs yet", false)
		return
	}
	names, err := r.initramfs()
	if err != nil {
		r.gap(rootDriver, err.Error(), true)
		return
	}
	inside := map[string]bool{}
	for _, n := range names {
		if strings.Contains(path.Base(n), ".ko") {
			inside[kmod.Name(n)] = true
		}
	}
	for _, m := range modules {
		if r.tree.Builtin(m) || inside[kmod.Name(m)] || !r.tree.Has(m) {
			continue // one that the candidate does not have at all is driver-missing
		}
		r.add(rootDriver, snapshot.Finding{Subject: r.subject("initramfs/" + m), Old: text("loaded"), New: text("not in the initramfs"),
			Message: fmt.Sprintf("the root file system's disk %s is driven by %s, which is not in the initramfs of %s", disk, m, r.files.Release),
			Hint:    "make it anew: update-initramfs -u -k " + r.files.Release + ", or dracut --force --kver " + r.files.Release})
	}
}

// rootModules lists the modules of the drivers between the root file system's disk and
// its bus. disk is "" where the root is on none.
func rootModules(ctx context.Context, root *sysfs.Root) (modules []string, disk string, err error) {
	number, err := rootDevice(ctx, root)
	if err != nil || number == "" {
		return nil, "", err
	}
	at, err := root.Target(ctx, "/sys/dev/block", number)
	if err != nil {
		return nil, "", err
	}
	var disks []string
	if err := below(ctx, root, at, &disks, 0); err != nil {
		return nil, "", err
	}
	for _, d := range disks {
		for at := path.Dir(d); strings.HasPrefix(at, "/sys/devices/"); at = path.Dir(at) {
			driver, err := root.Target(ctx, at, "driver")
			if err != nil {
				continue
			}
			if m, err := root.Link(ctx, driver, "module"); err == nil && !slices.Contains(modules, path.Base(m)) {
				modules = append(modules, path.Base(m))
			}
		}
	}
	if len(disks) == 0 {
		return nil, "", nil
	}
	return modules, path.Base(disks[0]), nil
}

// rootDevice is the number of the root file system's device, "" where it is none.
func rootDevice(ctx context.Context, root *sysfs.Root) (string, error) {
	b, err := root.Bytes(ctx, 4<<20, "/proc/self/mountinfo")
	if sysfs.Absent(err) {
		b, err = root.Bytes(ctx, 4<<20, "/proc/1/mountinfo")
	}
	if err != nil {
		return "", err
	}
	number, kind := "", ""
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			number = f[2] // the last one mounted is on top
			_, after, _ := strings.Cut(line, " - ")
			kind, _, _ = strings.Cut(after, " ")
		}
	}
	if !strings.HasPrefix(number, "0:") {
		return number, nil
	}
	// File systems over several disks have a number of their own, and no device has it.
	switch kind {
	case "btrfs", "zfs", "bcachefs", "overlay":
		return "", fmt.Errorf("the root file system is %s, and its disks are not known by its number", kind)
	}
	return "", nil
}

// below follows a block device to the disks that it is made of.
func below(ctx context.Context, root *sysfs.Root, at string, disks *[]string, depth int) error {
	if depth > 16 {
		return errors.New("the root file system's devices are stacked without end")
	}
	if ok, err := root.Exists(ctx, at, "partition"); err == nil && ok {
		at = path.Dir(at)
	}
	slaves, err := root.List(ctx, at, "slaves")
	if err != nil && !sysfs.Absent(err) {
		return err
	}
	for _, s := range slaves {
		t, err := root.Target(ctx, at, "slaves", s)
		if err != nil {
			return err
		}
		if err := below(ctx, root, t, disks, depth+1); err != nil {
			return err
		}
	}
	if len(slaves) == 0 && !strings.Contains(at, "/virtual/") {
		*disks = append(*disks, at)
	}
	return nil
}
