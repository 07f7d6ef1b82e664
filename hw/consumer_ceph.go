package hw

import (
	"context"
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

const cephFolder = "/var/lib/ceph"

// readCeph reads the links of OSDs to their devices: /var/lib/ceph/osd/ceph-3/block, and
// /var/lib/ceph/FSID/osd.3/block where containers run them.
func readCeph(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	clusters, err := listed(ctx, root, cephFolder, "")
	errs := []error{err}
	var out []mention
	for _, cluster := range clusters {
		if base := path.Base(cluster); base != "osd" && strings.Count(base, "-") != 4 { // the OSDs, or a cluster's UUID
			continue
		}
		osds, err := listed(ctx, root, cluster, "")
		if errors.Is(err, unix.ENOTDIR) {
			continue
		}
		errs = append(errs, err)
		for _, osd := range osds {
			found, err := cephLinks(ctx, root, osd)
			out, errs = append(out, found...), append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

func cephLinks(ctx context.Context, root *sysfs.Root, osd string) ([]mention, error) {
	var out []mention
	var errs []error
	for _, link := range []string{"block", "block.db", "block.wal", "journal"} {
		name, err := root.Target(ctx, osd, link)
		switch {
		case sysfs.Absent(err) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTDIR): // none, or no link
			continue
		case err != nil:
			errs = append(errs, err)
			continue
		}
		if _, ok := baseOf(name, nil); ok && strings.HasPrefix(name, "/dev/") {
			out = append(out, mention{file: path.Join(osd, link), name: name, purpose: link + " of OSD " + path.Base(osd), need: needBoot})
		}
	}
	return out, errors.Join(errs...)
}
