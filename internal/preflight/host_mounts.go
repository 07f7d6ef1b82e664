package preflight

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/fstab"
	"lastgood/internal/sysfs"
)

// mount is a line of /proc/self/mountinfo (Documentation/filesystems/proc.rst, 3.5).
type mount struct {
	device string // major:minor
	point  string
	fstype string
	source string
}

// parseMountinfo reads the mounts in their order; lines of another shape are passed over.
func parseMountinfo(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		left, right, found := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !found || len(l) < 6 || len(r) < 2 {
			continue
		}
		out = append(out, mount{device: l[2], point: fstab.Unescape(l[4]), fstype: r[0], source: fstab.Unescape(r[1])})
	}
	return out
}

// readMounts reads what is mounted. A host whose recording has no mountinfo answers with an error.
func readMounts(ctx context.Context, root *sysfs.Root) ([]mount, error) {
	for _, name := range []string{"/proc/1/mountinfo", "/proc/self/mountinfo"} {
		text, found, err := readText(ctx, root, name)
		if err != nil {
			return nil, err
		}
		if found {
			return parseMountinfo(text), nil
		}
	}
	return nil, fmt.Errorf("read /proc/self/mountinfo: not there")
}

// holding is the mount that holds a path: the longest that it lies in, of several on one
// point the last.
func holding(mounts []mount, name string) (mount, bool) {
	var best mount
	found := false
	for _, m := range mounts {
		in := m.point == "/" || name == m.point || strings.HasPrefix(name, m.point+"/")
		if in && len(m.point) >= len(best.point) {
			best, found = m, true
		}
	}
	return best, found
}

// maxStack bounds devices that lie on one another: a file system on LUKS on LVM on RAID has four.
const maxStack = 8

// stack lists a block device and all that it lies on: names such as dm-0, md1, sda2.
func stack(ctx context.Context, root *sysfs.Root, dev string, depth int) ([]string, error) {
	out := []string{dev}
	if depth >= maxStack {
		return out, nil
	}
	under, err := root.List(ctx, "/sys/class/block", dev, "slaves")
	if err != nil && !sysfs.Absent(err) {
		return out, err
	}
	for _, u := range under {
		more, err := stack(ctx, root, u, depth+1)
		if err != nil {
			return out, err
		}
		out = append(out, more...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// blockName is the kernel's name of the device major:minor.
func blockName(ctx context.Context, root *sysfs.Root, device string) (string, error) {
	t, err := root.Target(ctx, "/sys/dev/block", device)
	if err != nil {
		return "", err
	}
	return path.Base(t), nil
}
