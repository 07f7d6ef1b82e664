package boot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/sysfs"
)

// maxCPUInfo bounds /proc/cpuinfo: about 2 kB a CPU, NR_CPUS is 8192 at most.
const maxCPUInfo = 64 << 20

// cpus is what /proc/cpuinfo says, over all CPUs.
type cpus struct {
	count     int
	models    []string // sorted, each once
	microcode []string // sorted, each once
	// flags says that the feature flags are named as on x86, hypervisor that
	// X86_FEATURE_HYPERVISOR is among them.
	flags, hypervisor bool
}

// cpuReader gives what /proc/cpuinfo says.
type cpuReader func(context.Context, *sysfs.Root) (cpus, error)

// readCPUs reads /proc/cpuinfo once, where sysfs would take a file for each CPU.
func readCPUs(ctx context.Context, root *sysfs.Root) (cpus, error) {
	return stream(ctx, root, "/proc/cpuinfo", maxCPUInfo, parseCPUInfo)
}

// model names the CPU model, with family, model and stepping where the
// architecture has them: virtual machines of one model name run on many. It is
// several on a machine with unlike cores.
func (c cpus) model() string { return strings.Join(c.models, " + ") }

// microcode is the set of microcode revisions over all CPUs; empty where CPUs do
// not name it.
func microcode(ctx context.Context, root *sysfs.Root) ([]string, error) {
	c, err := readCPUs(ctx, root)
	return c.microcode, err
}

// cpuCount is how many CPUs are online, by sysfs, for some architectures' cpuinfo
// does not number them.
func cpuCount(ctx context.Context, root *sysfs.Root, info cpuReader) (int, error) {
	const name = "/sys/devices/system/cpu/online"
	s, err := root.Attr(ctx, name)
	if sysfs.Absent(err) {
		c, cerr := info(ctx, root)
		return c.count, cerr
	}
	if err != nil {
		return 0, err
	}
	n, err := countCPUList(s)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

// countCPUList counts the members of a list such as "0-3,8".
func countCPUList(s string) (int, error) {
	const maxCPU = 1 << 20
	n := 0
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 0 || b < a || b > maxCPU {
			return 0, errors.New("no list of CPUs")
		}
		n += b - a + 1
	}
	return n, nil
}

// mitigations is the kernel's answer to each CPU vulnerability that it knows.
func mitigations(ctx context.Context, root *sysfs.Root) (map[string]string, error) {
	const dir = "/sys/devices/system/cpu/vulnerabilities"
	names, err := root.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	var failed error
	m := map[string]string{}
	for _, name := range names {
		s, err := root.Attr(ctx, dir, name)
		switch {
		case err == nil:
			m[name] = s
		case !sysfs.Absent(err):
			failed = cmp.Or(failed, err)
		}
	}
	if len(m) == 0 {
		m = nil
	}
	return m, failed
}

// parseCPUInfo reads the blocks of /proc/cpuinfo, one a CPU.
func parseCPUInfo(r io.Reader) (cpus, error) {
	var c cpus
	one := map[string]string{}
	err := eachLine(r, func(line []byte) {
		k, v, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			if len(bytes.TrimSpace(line)) == 0 {
				c.add(one)
				clear(one)
			}
			return
		}
		key, value := string(bytes.ToLower(bytes.TrimSpace(k))), bytes.TrimSpace(v)
		switch {
		case key == "processor":
			c.count++
		case key == "flags":
			// All CPUs of a machine agree on it, and the line is long.
			if !c.flags {
				c.flags = true
				c.hypervisor = slices.Contains(strings.Fields(string(value)), "hypervisor")
			}
		case slices.Contains(cpuKeys, key):
			one[key] = string(value)
		}
	})
	c.add(one)
	if err == nil && c.count == 0 && len(c.models) == 0 {
		err = errors.New("no CPU in it")
	}
	return c, err
}

// cpuKeys are the lines that name a CPU on some architecture: x86, LoongArch and
// POWER, RISC-V, arm64.
var cpuKeys = []string{"model name", "cpu family", "model", "stepping", "microcode", "cpu", "uarch",
	"cpu implementer", "cpu part", "cpu variant", "cpu revision"}

// add merges one CPU.
func (c *cpus) add(one map[string]string) {
	c.models = insert(c.models, modelName(one))
	c.microcode = insert(c.microcode, one["microcode"])
}

func modelName(one map[string]string) string {
	name := cmp.Or(one["model name"], one["cpu"], one["uarch"])
	switch {
	case one["cpu family"] != "" && one["model"] != "" && one["stepping"] != "":
		id := "family " + one["cpu family"] + " model " + one["model"] + " stepping " + one["stepping"]
		if name == "" {
			return id
		}
		return name + " (" + id + ")"
	case name == "" && one["cpu implementer"] != "":
		// The four fields of MIDR_EL1, as arch/arm64/kernel/cpuinfo.c prints them.
		return "arm " + one["cpu implementer"] + "/" + one["cpu part"] + " r" + strings.TrimPrefix(one["cpu variant"], "0x") + "p" + one["cpu revision"]
	}
	return name
}

// insert puts s into a sorted set, unless it is empty.
func insert(set []string, s string) []string {
	if s == "" {
		return set
	}
	i, found := slices.BinarySearch(set, s)
	if found {
		return set
	}
	return slices.Insert(set, i, s)
}
