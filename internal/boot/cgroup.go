package boot

import (
	"bytes"
	"context"
	"io"
	"strings"

	"lastgood/internal/sysfs"
)

// maxMounts bounds the mount table: a node with thousands of containers has MBs.
const maxMounts = 256 << 20

const cgroupRoot = "/sys/fs/cgroup"

// cgroup is the cgroup mode: v1, v2, or hybrid where version 1 controllers stand
// beside a version 2 hierarchy. It is absent where no hierarchy is mounted.
func cgroup(ctx context.Context, root *sysfs.Root) (string, error) {
	return firstOf([]string{"/proc/self/mountinfo", "/proc/mounts"}, func(name string) (string, error) {
		return stream(ctx, root, name, maxMounts, cgroupMode)
	})
}

// cgroupMode weighs the mounts at and below /sys/fs/cgroup only: network plug-ins
// mount a version 2 hierarchy for themselves elsewhere, on version 1 hosts too.
func cgroupMode(r io.Reader) (string, error) {
	top, v1, v2 := "", false, false
	err := eachLine(r, func(line []byte) {
		point, kind, ok := parseMount(line)
		if !ok || point != cgroupRoot && !strings.HasPrefix(point, cgroupRoot+"/") {
			return
		}
		if point == cgroupRoot {
			top = kind // a later mount hides an earlier one
		}
		v1 = v1 || kind == "cgroup"
		v2 = v2 || kind == "cgroup2"
	})
	switch {
	case err != nil:
		return "", err
	case top == "cgroup2":
		return "v2", nil
	case v1 && v2:
		return "hybrid", nil
	case v1:
		return "v1", nil
	case v2:
		return "v2", nil
	}
	return "", nil
}

// parseMount finds mount point and file system type in a line of mountinfo (id
// parent dev root POINT options… - TYPE source options) or of /proc/mounts
// (source POINT TYPE options 0 0).
func parseMount(line []byte) (point, kind string, ok bool) {
	f := bytes.Fields(line)
	if len(f) < 4 {
		return "", "", false
	}
	if !bytes.Contains(f[2], []byte(":")) || len(f) < 9 { // no device number: /proc/mounts
		return string(f[1]), string(f[2]), true
	}
	for i := 6; i < len(f)-1; i++ { // optional fields end at a lone hyphen
		if string(f[i]) == "-" {
			return string(f[4]), string(f[i+1]), true
		}
	}
	return "", "", false
}
