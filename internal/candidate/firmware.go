package candidate

import (
	"context"
	"fmt"
	"path"
	"strings"

	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// firmwareRoots are where the kernel looks (fw_path in drivers/base/firmware_loader/main.c).
func firmwareRoots(release string) []string {
	return []string{"/lib/firmware/updates/" + release, "/lib/firmware/updates", "/lib/firmware/" + release, "/lib/firmware", "/usr/lib/firmware"}
}

// firmware asks, for every module that is loaded now, for the firmware files that the
// candidate's version of it names and the running one's does not: these are new, and
// their package may be old. A file that is missing for both is no regression.
func (r *reader) firmware(ctx context.Context) {
	root := r.host.Root
	if ok, err := root.Exists(ctx, "/lib/firmware"); err != nil {
		r.unread(firmwareMissing, err)
		return
	} else if !ok {
		r.gap(firmwareMissing, "there is no /lib/firmware: a VM or a container needs none, and a recording keeps none", false)
		return
	}
	loaded, err := r.loaded(ctx)
	if err != nil {
		return // said by loadedModules
	}
	running, err := r.runningTree(ctx)
	if err != nil {
		r.unread(firmwareMissing, err)
		return
	}
	if running == nil {
		r.gap(firmwareMissing, "the running kernel's modules are not at hand to compare with", false)
		return
	}
	for _, m := range loaded {
		file := r.tree.File(m.name)
		if file == "" || running.File(m.name) == "" {
			continue
		}
		if err := r.firmwareOf(ctx, m.name, file, running.File(m.name)); err != nil {
			r.gap(firmwareMissing, err.Error(), false)
		}
	}
}

// runningTree is the running kernel's module tree; of a recorded host there is none.
func (r *reader) runningTree(ctx context.Context) (*kmod.Tree, error) {
	if !r.host.Root.Live() {
		return nil, nil
	}
	release, err := r.host.Root.Attr(ctx, "/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	return kmod.List(ctx, path.Join("/lib/modules", release))
}

func (r *reader) firmwareOf(ctx context.Context, module, then, now string) error {
	wanted, err := firmwareNames(then)
	if err != nil || len(wanted) == 0 {
		return err
	}
	had, err := firmwareNames(now)
	if err != nil {
		return err
	}
	for name := range wanted {
		if had[name] {
			continue
		}
		there, err := r.firmwareThere(ctx, name)
		if err != nil {
			return err
		}
		if !there {
			r.add(firmwareMissing, snapshot.Finding{Subject: r.subject("firmware/" + name), New: text("missing"),
				Message: fmt.Sprintf("%s of %s asks for the firmware %s, which is not on this host and was not asked for before", module, r.files.Release, name),
				Hint:    "update the firmware packages before the reboot: firmware-linux, firmware-misc-nonfree or linux-firmware"})
		}
	}
	return nil
}

func firmwareNames(file string) (map[string]bool, error) {
	info, err := kmod.Info(file)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, line := range info {
		if name, ok := strings.CutPrefix(line, "firmware="); ok && !strings.Contains(name, "*") && !strings.Contains(name, "..") {
			names[name] = true
		}
	}
	return names, nil
}

// firmwareThere looks for a file as it is or packed.
func (r *reader) firmwareThere(ctx context.Context, name string) (bool, error) {
	for _, dir := range firmwareRoots(r.files.Release) {
		for _, suffix := range []string{"", ".xz", ".zst"} {
			ok, err := r.host.Root.Exists(ctx, path.Join(dir, name+suffix))
			if err != nil && !sysfs.Absent(err) {
				return false, err
			}
			if ok {
				return true, nil
			}
		}
	}
	return false, nil
}
