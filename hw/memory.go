package hw

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const memoryKind = "hw.memory"

var _ = catalogue.Add(source.Source{
	Name:  "memory",
	Doc:   "the memory that the kernel has to give\n\nReads /proc/meminfo, and the nodes in /sys/devices/system/node.",
	Kinds: []snapshot.Kind{memory},
	Read:  readMemory,
})

var memory = snapshot.Kind{
	Name: memoryKind,
	Doc:  "the memory that the kernel has to give, in all and by NUMA node",
	Attrs: []snapshot.Attr{
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "MemTotal: physical memory without what firmware and kernel keep for themselves"},
		{Name: "cpus", Doc: "CPUs of the node, as a list of ranges"},
	},
	Rules: []snapshot.Rule{
		{Code: "memory-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Share: 0.01, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} has {new}, had {old}", Hint: "a module may have been lost or turned off by the firmware: compare the hw.dimm subjects, or look at `dmidecode -t 17`"},
		{Code: "memory-node-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "{name} is gone"},
		{Code: "memory-node-cpus-changed", On: snapshot.OnChanged, Attr: "cpus", Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "{name} has the CPUs {new}, had {old}"},
	},
}

var nodeFolder = regexp.MustCompile(`^node([0-9]+)$`)

func readMemory(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	const folder = "/sys/devices/system/node"
	names, err := list(ctx, h, folder)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	var errs []error
	add := func(id, label, file string) *snapshot.Subject {
		s := snapshot.Subject{Kind: memoryKind, ID: id, Label: label, Outcome: snapshot.Measured}
		size, err := memTotal(ctx, h.Root, file)
		if sysfs.Absent(err) {
			return nil
		}
		if err != nil {
			s.Fail("size_bytes", err)
			errs = append(errs, err)
		} else {
			s.Set("size_bytes", snapshot.Int(size))
		}
		out = append(out, s)
		return &out[len(out)-1]
	}
	add("total", "the memory", "/proc/meminfo")
	for _, name := range names {
		m := nodeFolder.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		s := add("node/"+m[1], "NUMA node "+m[1], path.Join(folder, name, "meminfo"))
		if s == nil {
			continue
		}
		if cpus, err := h.Root.Attr(ctx, folder, name, "cpulist"); err == nil && cpus != "" {
			s.Set("cpus", snapshot.Text(cpus))
		} else if err != nil && !sysfs.Absent(err) {
			s.Fail("cpus", err)
		}
	}
	return out, errors.Join(errs...)
}

// maxMemInfo bounds a meminfo; MemTotal is its first line.
const maxMemInfo = 64 << 10

func memTotal(ctx context.Context, root *sysfs.Root, file string) (int64, error) {
	b, err := root.Bytes(ctx, maxMemInfo, file)
	if err != nil {
		return 0, err
	}
	n, err := parseMemTotal(b)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// parseMemTotal finds "MemTotal: N kB" in /proc/meminfo, or "Node 0 MemTotal: N kB" in
// a node's (fs/proc/meminfo.c, drivers/base/node.c), in bytes.
func parseMemTotal(b []byte) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		_, rest, ok := strings.Cut(lines.Text(), "MemTotal:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil || n < 0 || n > 1<<53 {
			return 0, fmt.Errorf("MemTotal is no number of kB: %.40q", rest)
		}
		return n << 10, nil
	}
	return 0, errors.New("it has no MemTotal")
}
