package contract

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/moby/sys/mountinfo"

	"lastgood/internal/sysfs"
)

// maxStack bounds devices that lie on one another: a file system on LUKS on LVM on RAID on partitions has six.
const maxStack = 12

// passingBlocks are devices that come and go: loop, ram, network and compressed memory.
var passingBlocks = regexp.MustCompile(`^(loop|ram|nbd|zram|sr|fd|rbd|drbd)[0-9]+`)

func passingBlock(name string) bool { return passingBlocks.MatchString(name) }

// mountNode is the kernel's name of the block device that a mount lies on: "" where it lies on none. btrfs gives an
// anonymous device number (major 0), so that its source is looked at too.
func mountNode(ctx context.Context, root *sysfs.Root, m *mountinfo.Info) string {
	if m.Major != 0 {
		if t, err := root.Target(ctx, "/sys/dev/block", fmt.Sprintf("%d:%d", m.Major, m.Minor)); err == nil {
			return path.Base(t)
		}
	}
	if !strings.HasPrefix(m.Source, "/dev/") {
		return ""
	}
	return nodeName(ctx, root, m.Source)
}

// nodeName is the kernel's name of a path in /dev: "" where it is no block device that sysfs knows.
func nodeName(ctx context.Context, root *sysfs.Root, dev string) string {
	for range maxStack {
		t, err := root.Target(ctx, dev)
		if err != nil {
			break
		}
		dev = t
	}
	name := path.Base(dev)
	if there, err := root.Exists(ctx, "/sys/class/block", name); err == nil && there {
		return name
	}
	if strings.HasPrefix(dev, "/dev/mapper/") { // a node of its own where udev does not link
		return mappedName(ctx, root, name)
	}
	return ""
}

// mappedName finds the device that the device mapper calls name.
func mappedName(ctx context.Context, root *sysfs.Root, name string) string {
	all, _ := listDir(ctx, root, "/sys/class/block")
	for _, b := range all {
		if !strings.HasPrefix(b, "dm-") {
			continue
		}
		if have, err := root.Attr(ctx, "/sys/class/block", b, "dm/name"); err == nil && have == name {
			return b
		}
	}
	return ""
}

// blockStack lists a block device and all that it lies on, itself first: dm-0, md1, sda2, sda.
func blockStack(ctx context.Context, root *sysfs.Root, name string, depth int) ([]string, error) {
	out := []string{name}
	if depth >= maxStack {
		return out, nil
	}
	under, err := listDir(ctx, root, path.Join("/sys/class/block", name, "slaves"))
	if err != nil {
		return out, err
	}
	if part, err := root.Exists(ctx, "/sys/class/block", name, "partition"); err == nil && part {
		if dir, err := root.Target(ctx, "/sys/class/block", name); err == nil {
			under = append(under, path.Base(path.Dir(dir)))
		}
	}
	for _, u := range under {
		more, err := blockStack(ctx, root, u, depth+1)
		if err != nil {
			return out, err
		}
		for _, m := range more {
			if !contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out, nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// blockType is what a block device is: disk, partition, md, dm-lvm, dm-crypt, dm-mpath, dm.
func blockType(ctx context.Context, root *sysfs.Root, name string) string {
	switch {
	case strings.HasPrefix(name, "dm-"):
		uuid, _ := root.Attr(ctx, "/sys/class/block", name, "dm/uuid") // "" is a volume without a maker
		maker, _, found := strings.Cut(uuid, "-")
		if !found {
			return "dm"
		}
		return "dm-" + strings.ToLower(maker)
	case strings.HasPrefix(name, "md"):
		return "md"
	}
	if part, err := root.Exists(ctx, "/sys/class/block", name, "partition"); err == nil && part {
		return "partition"
	}
	return "disk"
}

// udevOf is what udev knows of a block device: the E: lines of /run/udev/data/bMAJOR:MINOR (systemd's
// src/libsystemd/sd-device/device-private.c). Nothing where udev does not run.
func udevOf(ctx context.Context, root *sysfs.Root, name string) map[string]string {
	if name == "" {
		return nil
	}
	number, err := root.Attr(ctx, "/sys/class/block", name, "dev")
	if err != nil {
		return nil
	}
	text, _, err := readText(ctx, root, maxFile, "/run/udev/data/b"+number)
	if err != nil {
		return nil
	}
	return parseUdev(text)
}

func parseUdev(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if fact, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "E:"); ok {
			if k, v, ok := strings.Cut(fact, "="); ok {
				out[k] = v
			}
		}
	}
	return out
}
