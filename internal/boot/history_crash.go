package boot

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

// maxCrashes bounds how many records of panics are listed.
const maxCrashes = 64

// readPstore names the records that pstore holds, and those that systemd-pstore moved away from
// there (fs/pstore; systemd-pstore.service). Only dmesg records are of a crash.
func readPstore(ctx context.Context, root *sysfs.Root) ([]string, error) {
	var out []string
	var errs []error
	for _, dir := range []string{"/sys/fs/pstore", "/var/lib/systemd/pstore"} {
		names, err := root.List(ctx, dir)
		if err != nil && !sysfs.Absent(err) {
			errs = append(errs, err)
		}
		for _, n := range names {
			if strings.HasPrefix(n, "dmesg") || dir != "/sys/fs/pstore" {
				out = append(out, path.Join(dir, n))
			}
		}
	}
	slices.Sort(out)
	return out[max(0, len(out)-maxCrashes):], errors.Join(errs...)
}

// watchdogFlags are the causes of a reset in a watchdog's boot status (include/uapi/linux/watchdog.h).
var watchdogFlags = []struct {
	bit  int64
	says string
}{
	{0x01, "reset for overheating"}, {0x02, "fan failed"}, {0x04, "external relay 1"}, {0x08, "external relay 2"}, {0x10, "power bad or failing"}, {0x20, "reset by the watchdog"}, {0x40, "power over voltage"},
}

// readWatchdogs says what the watchdogs know of why the machine was reset before this boot.
func readWatchdogs(ctx context.Context, root *sysfs.Root) ([]string, error) {
	const class = "/sys/class/watchdog"
	names, err := root.List(ctx, class)
	if err != nil {
		if sysfs.Absent(err) {
			err = nil
		}
		return nil, err
	}
	var out []string
	var errs []error
	for _, n := range names {
		status, err := root.Int(ctx, class, n, "bootstatus")
		if err != nil {
			if !sysfs.Absent(err) { // absent without CONFIG_WATCHDOG_SYSFS
				errs = append(errs, err)
			}
			continue
		}
		who, err := root.Attr(ctx, class, n, "identity")
		if err != nil {
			who = n
		}
		for _, f := range watchdogFlags {
			if status&f.bit != 0 {
				out = append(out, fmt.Sprintf("%s: %s", flatText(who), f.says))
			}
		}
	}
	return out, errors.Join(errs...)
}
