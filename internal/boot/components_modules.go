package boot

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// dkms lists what DKMS built for the running kernel: MODULE/VERSION/KERNEL/ARCH below its tree.
func (c *components) dkms() {
	rel, err := release(c.ctx, c.root)
	if err != nil || rel == "" || strings.ContainsRune(rel, '/') {
		return // told by the identity
	}
	names, err := c.root.List(c.ctx, "/var/lib/dkms")
	if err != nil {
		c.version("dkms_modules", nil, err)
		return
	}
	var built []string
	var errs []error
	for _, n := range names {
		versions, err := c.root.List(c.ctx, "/var/lib/dkms", n)
		if err != nil {
			if !sysfs.Absent(err) && !errors.Is(err, unix.ENOTDIR) {
				errs = append(errs, err)
			}
			continue
		}
		for _, v := range versions {
			if strings.HasPrefix(v, "kernel-") {
				continue
			}
			if _, err := c.root.List(c.ctx, "/var/lib/dkms", n, v, rel); err == nil {
				built = append(built, flatText(n+" "+v))
			} else if !sysfs.Absent(err) && !errors.Is(err, unix.ENOTDIR) {
				errs = append(errs, err)
			}
		}
	}
	c.version("dkms_modules", built, errors.Join(errs...))
}

// livepatch lists live patches with their state (Documentation/ABI/testing/sysfs-kernel-livepatch).
func (c *components) livepatch() {
	const dir = "/sys/kernel/livepatch"
	names, err := c.root.List(c.ctx, dir)
	if err != nil {
		c.version("livepatch", nil, err)
		return
	}
	var out []string
	var errs []error
	for _, n := range names {
		on, err := c.root.Attr(c.ctx, path.Join(dir, n, "enabled"))
		switch {
		case err == nil && on == "1":
			out = append(out, n+" enabled")
		case err == nil:
			out = append(out, n+" disabled")
		case !sysfs.Absent(err):
			errs = append(errs, err)
		}
	}
	c.version("livepatch", out, errors.Join(errs...))
}
