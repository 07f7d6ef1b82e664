package hw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const (
	cpuKind   = "hw.cpu"
	cpuFolder = "/sys/devices/system/cpu"
)

var _ = catalogue.Add(source.Source{
	Name:  "cpu",
	Doc:   "processors and what drives their speed\n\nReads /sys/devices/system/cpu. Model, microcode and mitigations are of the identity.",
	Kinds: []snapshot.Kind{cpu},
	Read:  readCPUs,
})

var cpu = snapshot.Kind{
	Name:     cpuKind,
	Doc:      "the processors of the machine, taken together",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "online", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "hardware threads that the kernel uses"},
		{Name: "possible", Unit: snapshot.Count, Doc: "hardware threads that there could be, by the firmware's tables"},
		{Name: "present", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "hardware threads that there are"},
		{Name: "offline", Doc: "hardware threads that are not used, as a list of ranges"},
		{Name: "sockets", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "packages of those online"},
		{Name: "cores", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "cores of those online"},
		{Name: "smt", Doc: "several threads a core: on, off, forceoff, notsupported, notimplemented"},
		{Name: "max_khz", Better: snapshot.HigherBetter, Doc: "highest frequency of the fastest CPU, in kHz"},
		{Name: "frequency_driver", Doc: "what sets the frequency"},
		{Name: "governor", Doc: "by which policy"},
		{Name: "idle_driver", Doc: "what puts idle CPUs to sleep"},
		{Name: "clocksource", Doc: "what the kernel reads the time from"},
		{Name: "throttled_core", Unit: snapshot.Count, Noise: snapshot.Ambient, Cumulative: true, Doc: "how often cores were slowed down by heat since boot, over all CPUs"},
		{Name: "throttled_package", Unit: snapshot.Count, Noise: snapshot.Ambient, Cumulative: true, Doc: "how often the package that had it most was slowed down by heat since boot"},
	},
	Rules: []snapshot.Rule{
		{Code: "cpu-fewer", On: snapshot.OnWorse, Attr: "online", Topic: "count", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "the kernel uses {new} CPUs, used {old}",
			Hint: "look for nosmt, maxcpus or mitigations on the command line, then for a failed socket"},
		{Code: "cpu-socket-missing", On: snapshot.OnWorse, Attr: "sockets", Topic: "count", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "the machine has {new} processors, had {old}"},
		{Code: "cpu-fewer-present", On: snapshot.OnWorse, Attr: "present", Topic: "count", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "the machine has {new} CPUs, had {old}"},
		{Code: "cpu-smt-changed", On: snapshot.OnChanged, Attr: "smt", Topic: "count", Severity: snapshot.Warning, Class: snapshot.ClassKernel, Message: "several threads a core: {new}, was {old}"},
		{Code: "cpu-slower", On: snapshot.OnWorse, Attr: "max_khz", Share: 0.01, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "the CPUs reach {new} kHz, reached {old}"},
		{Code: "cpu-frequency-driver-changed", On: snapshot.OnChanged, Attr: "frequency_driver", Severity: snapshot.Info, Class: snapshot.ClassKernel, Message: "{new} sets the CPUs' frequency, was {old}"},
		{Code: "cpu-governor-changed", On: snapshot.OnChanged, Attr: "governor", Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "the CPUs' frequency follows the policy {new}, was {old}"},
		{Code: "clock-slower", On: snapshot.OnBecomes, Attr: "clocksource", From: fastClocks, To: slowClocks, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the kernel reads the time from {new}, read it from {old}: asking for the time costs a hundred times as much", Hint: "look for \"clocksource: Marking … as unstable\" in the kernel's log"},
		{Code: "cpu-idle-driver-changed", On: snapshot.OnChanged, Attr: "idle_driver", Severity: snapshot.Info, Class: snapshot.ClassKernel, Message: "{new} puts idle CPUs to sleep, was {old}"},
	},
}

// fastClocks are read by programs themselves (their drivers set a vdso_clock_mode), slowClocks
// by the kernel from a device.
var (
	fastClocks = []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"}
	slowClocks = []string{"hpet", "acpi_pm", "jiffies", "refined-jiffies"}
)

func readCPUs(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	files, err := list(ctx, h, cpuFolder)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	d := &device{ctx: ctx, root: h.Root.OneDevice(), dir: cpuFolder}
	d.Kind, d.ID, d.Label, d.Outcome = cpuKind, "cpus", "the CPUs", snapshot.Measured
	d.countCPUs("possible")
	d.countCPUs("present")
	online := d.countCPUs("online")
	d.keep("offline", "offline")
	d.keep("smt", "smt", "control")
	d.keep("idle_driver", "cpuidle", "current_driver")
	if clock, err := d.root.Attr(ctx, "/sys/devices/system/clocksource/clocksource0/current_clocksource"); err == nil && clock != "" {
		d.Set("clocksource", snapshot.Text(clock))
	} else if err != nil && !sysfs.Absent(err) {
		d.Fail("clocksource", err)
	}
	d.topology(online)
	t, err := Throttling(ctx, h, online)
	if err != nil {
		d.Fail("throttled_core", err)
	} else if t.Known {
		d.Set("throttled_core", snapshot.Int(t.Core))
		d.Set("throttled_package", snapshot.Int(t.Package))
	}
	return []snapshot.Subject{d.Subject}, nil
}

// countCPUs reads a list of CPUs, sets how many it has and gives their numbers.
func (d *device) countCPUs(name string) []int {
	text := d.attr(name, name)
	if text == "" {
		return nil
	}
	cpus, err := parseCPUList(text)
	if err != nil {
		d.Fail(name, fmt.Errorf("read %s: %w", name, err))
		return nil
	}
	d.Set(name, snapshot.Int(len(cpus)))
	return cpus
}

// mostCPUs is beyond NR_CPUS of any kernel.
const mostCPUs = 1 << 16

// parseCPUList reads a list of ranges, "0-3,8" (Documentation/core-api/kernel-api,
// bitmap_parselist); an empty one is no CPU.
func parseCPUList(text string) ([]int, error) {
	var out []int
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for _, part := range strings.Split(strings.TrimSpace(text), ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		if !isRange {
			hi = lo
		}
		a, err1 := strconv.ParseUint(lo, 10, 16)
		b, err2 := strconv.ParseUint(hi, 10, 16)
		if err := errors.Join(err1, err2); err != nil || b < a || len(out)+int(b-a) >= mostCPUs {
			return nil, fmt.Errorf("%.40q is no list of CPUs", text)
		}
		for n := a; n <= b; n++ {
			out = append(out, int(n))
		}
	}
	return out, nil
}

// topology counts packages and cores of the CPUs online and finds the fastest.
func (d *device) topology(online []int) {
	sockets, cores := map[int64]bool{}, map[[2]int64]bool{}
	var fastest int64
	for _, n := range online {
		folder := "cpu" + strconv.Itoa(n)
		socket, err1 := d.root.Int(d.ctx, d.dir, folder, "topology", "physical_package_id")
		core, err2 := d.root.Int(d.ctx, d.dir, folder, "topology", "core_id")
		if err := errors.Join(err1, err2); err != nil {
			d.lostTopology(err1, err2)
			return
		}
		sockets[socket], cores[[2]int64{socket, core}] = true, true
		if khz, err := d.root.Int(d.ctx, d.dir, folder, "cpufreq", "cpuinfo_max_freq"); err == nil {
			fastest = max(fastest, khz)
		}
	}
	if len(sockets) > 0 {
		d.Set("sockets", snapshot.Int(len(sockets)))
		d.Set("cores", snapshot.Int(len(cores)))
	}
	if fastest > 0 {
		d.Set("max_khz", snapshot.Int(fastest))
	}
	if len(online) > 0 {
		first := "cpu" + strconv.Itoa(online[0])
		d.keep("frequency_driver", first, "cpufreq", "scaling_driver")
		d.keep("governor", first, "cpufreq", "scaling_governor")
	}
}

// lostTopology notes why packages and cores could not be counted; a kernel without
// topology, as in a container, has none to count.
func (d *device) lostTopology(errs ...error) {
	for _, err := range errs {
		if err != nil && !sysfs.Absent(err) {
			d.Fail("sockets", err)
			d.Fail("cores", err)
		}
	}
}

// Throttle is how often heat slowed CPUs down since boot.
type Throttle struct {
	Known         bool // the kernel counts it (x86 with CONFIG_X86_THERMAL_VECTOR)
	Core, Package int64
}

// Throttling reads the counters of the CPUs of the given numbers, or where there are
// none of those online: the sum over cores, and the most of any package
// (drivers/thermal/intel/therm_throt.c; each CPU tells its package's).
func Throttling(ctx context.Context, h source.Host, online []int) (Throttle, error) {
	root := h.Root.OneDevice()
	if len(online) == 0 {
		text, err := root.Attr(ctx, cpuFolder, "online")
		if err != nil {
			return Throttle{}, err
		}
		if online, err = parseCPUList(text); err != nil {
			return Throttle{}, fmt.Errorf("read %s/online: %w", cpuFolder, err)
		}
	}
	var t Throttle
	for _, n := range online {
		dir := path.Join(cpuFolder, "cpu"+strconv.Itoa(n), "thermal_throttle")
		core, err := root.Int(ctx, dir, "core_throttle_count")
		if sysfs.Absent(err) {
			return t, nil // where one CPU does not count, none does
		}
		if err != nil {
			return Throttle{}, err
		}
		pkg, err := root.Int(ctx, dir, "package_throttle_count")
		if err != nil && !sysfs.Absent(err) {
			return Throttle{}, err
		}
		t.Known = true
		t.Core += core
		t.Package = max(t.Package, pkg)
	}
	return t, nil
}
