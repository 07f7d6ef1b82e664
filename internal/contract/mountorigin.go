package contract

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/fstab"
	"lastgood/internal/sysfs"
)

// ownMounts are points that a service mounts at every boot without fstab.
var ownMounts = []string{"/etc/pve", "/var/lib/ceph/", "/var/lib/lxcfs", "/boot", "/efi", "/gluster"}

// origin says who mounts a point at a boot.
type origin struct {
	lines []fstab.Line
	// demand are points with an automount on them: who looks first has them mounted, and after a while they are not any more.
	demand map[string]bool
	// units are points that an enabled mount unit of systemd's mounts, without fstab.
	units map[string]bool
}

// by is fstab, unit, demand or hand.
func (o *origin) by(point string) string {
	switch {
	case o.demand[point]:
		return "demand"
	case point == "/" || slices.ContainsFunc(o.lines, func(l fstab.Line) bool { return !l.Commented && l.Auto() && path.Clean(l.Point) == point }):
		return "fstab"
	case o.units[point] || slices.ContainsFunc(ownMounts, func(p string) bool { return beneath(point, p) }):
		return "unit"
	}
	return "hand"
}

// atBoot reports whether a boot mounts the point whatever anybody does.
func (o *origin) atBoot(point string) bool {
	return slices.Contains([]string{"fstab", "unit"}, o.by(point))
}

// readOrigin reads fstab, the automounts in the table and the enabled mount units. The error is fstab's.
func readOrigin(ctx context.Context, root *sysfs.Root) (origin, error) {
	o := origin{demand: map[string]bool{}, units: map[string]bool{}}
	text, _ := mountText(ctx, root) // the table's reader tells
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if ok && len(f) > 4 && strings.HasPrefix(after, "autofs ") {
			o.demand[fstab.Unescape(f[4])] = true
		}
	}
	for _, target := range []string{"local-fs", "remote-fs", "multi-user"} {
		for _, how := range []string{"wants", "requires"} {
			names, _ := listDir(ctx, root, fmt.Sprintf("/etc/systemd/system/%s.target.%s", target, how)) // without it a mount is told and fails nothing
			for _, n := range names {
				if u, ok := strings.CutSuffix(n, ".mount"); ok {
					o.units[unitPath(u)] = true
				}
			}
		}
	}
	var err error
	o.lines, err = fstabLines(ctx, root)
	return o, err
}

// unitPath is the path that a unit is named by: systemd-escape --unescape --path.
func unitPath(name string) string {
	if name == "-" {
		return "/"
	}
	var out strings.Builder
	out.WriteByte('/')
	for i := 0; i < len(name); i++ {
		var c byte
		switch {
		case name[i] == '-':
			out.WriteByte('/')
		case strings.HasPrefix(name[i:], `\x`) && i+3 < len(name) && sscanHex(name[i+2:i+4], &c):
			out.WriteByte(c)
			i += 3
		default:
			out.WriteByte(name[i])
		}
	}
	return out.String()
}

func sscanHex(s string, c *byte) bool {
	n, err := fmt.Sscanf(s, "%02x", c)
	return n == 1 && err == nil
}
