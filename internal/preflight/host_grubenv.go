package preflight

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/bootloader"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func grubenvChecks() []Check {
	return []Check{
		{Code: "grubenv-bad", Title: "GRUB's environment block is there and whole", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "Without it a saved default, a one-shot boot and a fallback counter have no effect.", Run: checkGrubenv},
		{Code: "grubenv-unwritable", Title: "GRUB can write its environment block", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "GRUB cannot write on md, LVM, btrfs or ZFS: a one-shot choice then stays for every boot, and counters never count.", Run: checkWritable},
	}
}

func checkGrubenv(ctx context.Context, h source.Host, _ Target) ([]snapshot.Finding, []snapshot.Gap) {
	st, _ := bootloader.Read(ctx, h.Root)
	if st.Loader != bootloader.GRUB || st.EnvErr == nil {
		return nil, nil
	}
	name := path.Join(st.Dir, "grubenv")
	f := snapshot.Finding{Subject: snapshot.SubjectRef{Kind: "boot.grubenv", ID: name}, Evidence: st.EnvErr.Error(), Hint: "make it anew: grub-editenv " + name + " create"}
	if sysfs.Absent(st.EnvErr) {
		f.Message = "GRUB has no environment block: one-shot boots, a saved default and fallback counters have no effect"
		return []snapshot.Finding{f}, nil
	}
	if _, err := h.Root.Bytes(ctx, 1, name); err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	f.Message = "GRUB's environment block is damaged: what is saved in it is not used"
	return []snapshot.Finding{f}, nil
}

// cannotWrite are the file systems that GRUB reads and never writes
// (check_writable of its /etc/grub.d/00_header).
var cannotWrite = []string{"btrfs", "zfs", "squashfs", "erofs"}

func checkWritable(ctx context.Context, h source.Host, _ Target) ([]snapshot.Finding, []snapshot.Gap) {
	st, _ := bootloader.Read(ctx, h.Root)
	if st.Loader != bootloader.GRUB {
		return nil, nil
	}
	why, m, err := cannotWriteTo(ctx, h.Root, st.Dir)
	if err != nil {
		return nil, []snapshot.Gap{gap(err.Error())}
	}
	if why == "" {
		return nil, nil
	}
	f := snapshot.Finding{Subject: snapshot.SubjectRef{Kind: "boot.grubenv", ID: path.Join(st.Dir, "grubenv")}, Evidence: fmt.Sprintf("%s on %s, %s", m.source, m.point, m.fstype),
		Message: "GRUB cannot write to " + why + ": a one-shot boot would stay the default, and a fallback counter would never count",
		Hint:    "do not use grub-reboot here; try a kernel with the firmware's BootNext (efibootmgr --bootnext) or with kexec, or put /boot on a plain partition"}
	if next := st.Env["next_entry"]; next != "" {
		f.Severity = snapshot.Critical
		f.Message = fmt.Sprintf("a one-shot boot of %q is set and GRUB cannot clear it on %s: every boot will take it", next, why)
		f.Hint = "take it back: grub-editenv " + f.Subject.ID + " unset next_entry"
	}
	return []snapshot.Finding{f}, nil
}

// GRUBCannotWrite names what keeps GRUB itself from writing to a folder of its own, as
// "software RAID (md0)"; "" is nothing. The error is that it could not be told.
func GRUBCannotWrite(ctx context.Context, root *sysfs.Root, dir string) (string, error) {
	why, _, err := cannotWriteTo(ctx, root, dir)
	return why, err
}

func cannotWriteTo(ctx context.Context, root *sysfs.Root, dir string) (string, mount, error) {
	mounts, err := readMounts(ctx, root)
	if err != nil {
		return "", mount{}, fmt.Errorf("where %s lies: %w", dir, err)
	}
	m, found := holding(mounts, dir)
	if !found {
		return "", m, fmt.Errorf("where %s lies: no mount holds it", dir)
	}
	why, err := notForGRUB(ctx, root, m)
	if err != nil {
		return "", m, fmt.Errorf("whether GRUB can write to %s: %w", m.source, err)
	}
	return why, m, nil
}

// notForGRUB names what keeps GRUB from writing to a mount: "" is nothing.
func notForGRUB(ctx context.Context, root *sysfs.Root, m mount) (string, error) {
	if slices.Contains(cannotWrite, m.fstype) {
		return m.fstype, nil
	}
	dev, err := blockName(ctx, root, m.device)
	if err != nil {
		return "", err
	}
	devices, err := stack(ctx, root, dev, 0)
	if err != nil {
		return "", err
	}
	for _, d := range devices {
		if strings.HasPrefix(d, "md") {
			return "software RAID (" + d + ")", nil
		}
		if !strings.HasPrefix(d, "dm-") {
			continue
		}
		uuid, err := root.Attr(ctx, "/sys/class/block", d, "dm/uuid")
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(uuid, "LVM-") {
			return "LVM (" + d + ")", nil
		}
	}
	return "", nil
}
