package hw

import (
	"log/slog"

	"github.com/prometheus/procfs"
	"github.com/prometheus/procfs/blockdevice"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// The kernel tells of disks and interfaces in a second place, which is written by
// other code of its own. Where the two disagree, a line in the log helps whoever
// looks into it; it is never a finding, for a device may have gone in between.

// crossCheckDisks looks for each disk in /proc/diskstats.
func crossCheckDisks(h source.Host, found []snapshot.Subject) {
	if !h.Root.Live() || len(found) == 0 {
		return
	}
	fs, err := blockdevice.NewFS("/proc", "/sys")
	if err != nil {
		logOf(h).Debug("cross-check of disks", "error", err)
		return
	}
	stats, err := fs.ProcDiskstats()
	if err != nil {
		logOf(h).Debug("cross-check of disks", "error", err)
		return
	}
	names := map[string]bool{}
	for _, s := range stats {
		names[s.DeviceName] = true
	}
	warnUnknown(h, found, names, "/proc/diskstats")
}

// crossCheckNet looks for each interface in /proc/net/dev.
func crossCheckNet(h source.Host, found []snapshot.Subject) {
	if !h.Root.Live() || len(found) == 0 {
		return
	}
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		logOf(h).Debug("cross-check of interfaces", "error", err)
		return
	}
	devs, err := fs.NetDev()
	if err != nil {
		logOf(h).Debug("cross-check of interfaces", "error", err)
		return
	}
	names := map[string]bool{}
	for name := range devs {
		names[name] = true
	}
	warnUnknown(h, found, names, "/proc/net/dev")
}

func warnUnknown(h source.Host, found []snapshot.Subject, names map[string]bool, where string) {
	for i := range found {
		if name := found[i].Text("name"); name != "" && !names[name] {
			logOf(h).Warn("sysfs lists a device that another place does not", "device", name, "missing_from", where)
		}
	}
}

func logOf(h source.Host) *slog.Logger {
	if h.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Log
}
