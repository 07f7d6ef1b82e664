package hw_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/hw"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

const (
	max6639 = "/sys/devices/i2c-0/0-002f/hwmon/hwmon0"
	zone0   = "/sys/devices/virtual/thermal/thermal_zone0"
	coreDir = "/sys/devices/platform/coretemp.0/hwmon/hwmon3"
	cpus    = "/sys/devices/system/cpu"
	edac    = "/sys/devices/system/edac/mc/mc0"
)

// with is a host whose files are replaced.
func with(pairs ...string) *sysfstest.FS {
	f := &sysfstest.FS{Files: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		f.Files[pairs[i]] = pairs[i+1] + "\n"
	}
	return f
}

// What comes of a change of temperatures, fans, processors and memory. Each case says
// what the host was like before and after, as changes of a recorded one.
func TestHeatAndMemory(t *testing.T) {
	cases := []struct {
		name, host    string
		before, after *sysfstest.FS
		want          []string
	}{
		{"a fan stopped and its chip says so", "hwmon61", with(max6639+"/fan1_fault", "0", max6639+"/fan1_input", "3750"), with(),
			[]string{"critical fan-stopped 002f/max6639/fan1"}},
		{"a fan stopped and its chip does not say so", "hwmon61", with(), with(max6639+"/fan2_input", "0"), []string{"critical fan-stopped 002f/max6639/fan2"}},
		{"a fan is given no power", "hwmon61", with(), with(max6639+"/fan2_input", "0", max6639+"/pwm2", "0"), []string{"warning fan-parked 002f/max6639/fan2"}},
		{"a parked fan fails", "hwmon61", with(max6639+"/fan2_input", "0", max6639+"/pwm2", "0"), with(max6639+"/fan2_fault", "1"), []string{"critical fan-stopped 002f/max6639/fan2"}},
		{"a fan that stood stands", "hwmon61", with(), with(), nil},
		{"255 °C with the fault bit is no heat", "hwmon61", with(max6639+"/temp1_fault", "0", max6639+"/temp1_input", "48000"), with(),
			[]string{"warning sensor-failed 002f/max6639/temp1"}},
		{"255 °C without the fault bit is none either", "hwmon61", with(), with(max6639+"/temp2_input", "255000"), []string{"warning sensor-failed 002f/max6639/temp2"}},
		{"whether a sensor is faulty cannot be told", "hwmon61", with(), &sysfstest.FS{Files: map[string]string{max6639 + "/temp2_input": "120000\n"},
			Errs: map[string]error{max6639 + "/temp2_fault": unix.EIO}}, nil},
		{"a chip's alarm", "hwmon61", with(), with(max6639+"/temp2_max_alarm", "1"), []string{"warning sensor-alarm 002f/max6639/temp2"}},
		{"above the driver's limit", "hwmon61", with(), with(max6639+"/temp2_input", "84000"), []string{"warning sensor-hot 002f/max6639/temp2"}},
		{"above the driver's critical limit", "hwmon61", with(), with(max6639+"/temp2_input", "91000"), []string{"critical sensor-critical 002f/max6639/temp2"}},
		{"it was as hot before", "hwmon61", with(max6639+"/temp2_input", "84000"), with(max6639+"/temp2_input", "86000"), nil},
		{"a zone at 77 °C, with no limit to warn at", "tz6.1", with(), with(zone0+"/temp", "77000"), []string{"warning sensor-hot thermal/acpitz"}},
		{"a zone beyond its hot trip point", "tz6.1", with(), with(zone0+"/temp", "91000"), []string{"critical sensor-critical thermal/acpitz"}},
		{"a zone of firmware that answers 0 K", "tz6.1", with(), with(zone0+"/temp", "-273200"), []string{"warning sensor-failed thermal/acpitz"}},
		{"without limits at 91 °C", "tz6.1", with(zone0+"/trip_point_0_temp", "0", zone0+"/trip_point_1_temp", "0"),
			with(zone0+"/trip_point_0_temp", "0", zone0+"/trip_point_1_temp", "0", zone0+"/temp", "91000"), []string{"critical sensor-critical thermal/acpitz"}},
		{"trip points and mode changed", "tz6.1", with(zone0+"/mode", "enabled"), with(zone0+"/trip_point_2_temp", "70000"),
			[]string{"warning zone-disabled thermal/acpitz", "info trips-changed thermal/acpitz"}},
		{"a fan that the kernel drives is gone", "tz6.1", with(), &sysfstest.FS{Removed: []string{"/sys/class/thermal/cooling_device2"}}, []string{"warning cooling-fan-missing Fan"}},
		{"a CPU less", "full61", with(), with(cpus+"/online", "0"), []string{"critical cpu-fewer cpus"}},
		{"slower CPUs", "full61", with(cpus+"/cpu0/cpufreq/cpuinfo_max_freq", "4800000"), with(cpus+"/cpu0/cpufreq/cpuinfo_max_freq", "3000000"), []string{"warning cpu-slower cpus"}},
		{"memory lost", "full61", with("/proc/meminfo", "MemTotal: 65800000 kB"), with("/proc/meminfo", "MemTotal: 49300000 kB"), []string{"warning memory-shrank total"}},
		{"memory within what kernels differ by", "full61", with("/proc/meminfo", "MemTotal: 65800000 kB"), with("/proc/meminfo", "MemTotal: 65750000 kB"), nil},
		{"errors that were not corrected", "full61", with(edac+"/ue_count", "0", edac+"/ce_count", "0"), with(edac+"/ue_count", "1", edac+"/ce_count", "5"), []string{"critical edac-uncorrected mc0"}},
		{"corrected errors, more than tenfold", "full61", with(edac+"/ue_count", "0", edac+"/ce_count", "3"), with(edac+"/ue_count", "0", edac+"/ce_count", "40"), []string{"warning edac-corrected mc0"}},
		{"nobody tells of errors", "full61", with(edac+"/ue_count", "0"), with(), []string{"warning edac-blind mc0"}},
		{"a memory module is gone", "full61", with("/sys/firmware/dmi/entries/17-9/raw", string(module("A2", "8C3F21D0", 16<<10))), with(), []string{"warning dimm-missing NODE_0/A2"}},
		{"the link is lost", "full61", with(nic+"/carrier", "1", nic+"/operstate", "up"), with(nic+"/carrier", "0"), []string{"warning nic-link-lost at:pci0000:00/05.0/00.0"}},
		{"the link is slower and half duplex", "full61", with(nic+"/operstate", "up", nic+"/speed", "10000", nic+"/duplex", "full"),
			with(nic+"/operstate", "up", nic+"/speed", "100", nic+"/duplex", "half"), []string{"warning nic-slower at:pci0000:00/05.0/00.0", "warning nic-half-duplex at:pci0000:00/05.0/00.0"}},
		{"an interface that was used is gone", "full61", with(nic+"/carrier", "1"), &sysfstest.FS{Removed: []string{"/sys/class/net/eth0", nic}},
			[]string{"critical nic-missing at:pci0000:00/05.0/00.0"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			old := take(t.Context(), t, open(t, c.host, c.before))
			new := take(t.Context(), t, open(t, c.host, c.after))
			got, want := brief(judge(t, old, new).Findings), append([]string{}, c.want...)
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
		})
	}
}

// module is an SMBIOS structure of type 17.
func module(locator, serial string, mib int) []byte {
	b := make([]byte, 0x22)
	b[0], b[1] = 17, byte(len(b))
	b[0x0c], b[0x0d] = byte(mib), byte(mib>>8)
	b[0x10], b[0x11], b[0x18] = 1, 2, 3
	b[0x15], b[0x16] = 0x80, 0x0c // 3200 MT/s
	b[0x20], b[0x21] = 0x75, 0x0b // 2933
	return append(b, []byte(locator+"\x00NODE 0\x00"+serial+"\x00\x00")...)
}

func subject(t *testing.T, snap *snapshot.Snapshot, kind, id string) *snapshot.Subject {
	t.Helper()
	s := snap.Subject(snapshot.Key{Kind: kind, ID: id})
	if s == nil {
		t.Fatalf("no %s/%s", kind, id)
	}
	return s
}

// A faulty sensor has no value, and the reason says what it reads.
func TestFaultFirst(t *testing.T) {
	snap := take(t.Context(), t, open(t, "hwmon61", &sysfstest.FS{}))
	s := subject(t, snap, "hw.sensor", "002f/max6639/temp1")
	if !s.Attrs["value_celsius"].IsZero() || !strings.Contains(s.Errs["value_celsius"], "faulty (it reads 255 °C)") || s.Text("reading") != "faulty" {
		t.Errorf("attributes %v, errors %v", s.Attrs, s.Errs)
	}
	fan := subject(t, snap, "hw.sensor", "002f/max6639/fan1")
	if fan.Text("turning") != "no" || !fan.Attrs["rpm"].IsZero() {
		t.Errorf("fan: %v", fan.Attrs)
	}
}

// The zone of a processor package and its chip's sensor are one subject.
func TestDuplicatesAreFolded(t *testing.T) {
	const pkg = "/sys/devices/virtual/thermal/thermal_zone1"
	f := &sysfstest.FS{
		Files: map[string]string{
			coreDir + "/name": "coretemp\n", coreDir + "/temp1_label": "Package id 0\n", coreDir + "/temp1_input": "51000\n", coreDir + "/temp1_max": "80000\n", coreDir + "/temp1_crit": "100000\n",
			pkg + "/type": "x86_pkg_temp\n", pkg + "/temp": "51000\n",
		},
		Links: map[string]string{"/sys/class/hwmon/hwmon3": "../.." + strings.TrimPrefix(coreDir, "/sys"), "/sys/class/thermal/thermal_zone1": "../.." + strings.TrimPrefix(pkg, "/sys")},
	}
	snap := take(t.Context(), t, sysfs.New(f))
	var ids []string
	for i := range snap.Subjects {
		if snap.Subjects[i].Kind == "hw.sensor" {
			ids = append(ids, snap.Subjects[i].ID)
		}
	}
	if d := cmp.Diff([]string{"platform/coretemp.0/coretemp/Package_id_0"}, ids); d != "" {
		t.Errorf("sensors (-want +got):\n%s", d)
	}
	delete(f.Files, coreDir+"/name")
	snap = take(t.Context(), t, sysfs.New(f))
	subject(t, snap, "hw.sensor", "thermal/x86_pkg_temp")
}

func TestProcessors(t *testing.T) {
	f := with(cpus+"/online", "0-2", cpus+"/possible", "0-7", cpus+"/present", "0-3", cpus+"/offline", "3", cpus+"/smt/control", "off",
		cpus+"/cpu0/thermal_throttle/core_throttle_count", "7", cpus+"/cpu0/thermal_throttle/package_throttle_count", "9",
		cpus+"/cpu1/thermal_throttle/core_throttle_count", "1", cpus+"/cpu1/thermal_throttle/package_throttle_count", "9",
		cpus+"/cpu2/thermal_throttle/core_throttle_count", "0", cpus+"/cpu2/thermal_throttle/package_throttle_count", "4")
	for n, at := range map[string][2]string{"0": {"0", "0"}, "1": {"0", "1"}, "2": {"1", "0"}} {
		f.Files[cpus+"/cpu"+n+"/topology/physical_package_id"] = at[0]
		f.Files[cpus+"/cpu"+n+"/topology/core_id"] = at[1]
	}
	s := subject(t, take(t.Context(), t, sysfs.New(f)), "hw.cpu", "cpus")
	want := snapshot.Attrs{"online": snapshot.Int(3), "possible": snapshot.Int(8), "present": snapshot.Int(4), "offline": snapshot.Text("3"), "smt": snapshot.Text("off"),
		"sockets": snapshot.Int(2), "cores": snapshot.Int(3), "throttled_core": snapshot.Int(8), "throttled_package": snapshot.Int(9)}
	if d := cmp.Diff(want, s.Attrs); d != "" || len(s.Errs) > 0 {
		t.Errorf("attributes (-want +got):\n%s\nerrors %v", d, s.Errs)
	}
}

// Each file of these readers, with each thing that can be wrong with a file: nobody
// panics, no other subject is lost, and no number comes of rubbish.
func TestSickThermalFiles(t *testing.T) {
	t.Parallel() // beside the guests, which wait much
	base := func() *sysfstest.FS {
		return with(cpus+"/online", "0-1", "/proc/meminfo", "MemTotal: 65800000 kB", edac+"/ue_count", "0", edac+"/dimm0/dimm_ce_count", "4",
			cpus+"/cpu0/thermal_throttle/core_throttle_count", "7")
	}
	probe := base()
	take(t.Context(), t, open(t, "hwmon61", probe))
	for _, p := range probe.Asked() {
		if !strings.Contains(p, "/hwmon") && !strings.Contains(p, "/thermal") && !strings.HasPrefix(p, cpus) && !strings.Contains(p, "edac") && !strings.Contains(p, "memory") {
			continue
		}
		for _, text := range []string{"", "\x00\xff\xfe", strings.Repeat("9", 5000), "-9223372036854775808", "NaN"} {
			f := base()
			if _, isFile := f.Files[p]; !isFile && !strings.Contains(p, "_") {
				continue // a folder or a link
			}
			f.Files[p] = text
			snap := take(t.Context(), t, open(t, "hwmon61", f))
			for i := range snap.Subjects {
				if v, ok := snap.Subjects[i].Attrs["value_celsius"].Number(); ok && (v < -40 || v > 150) {
					t.Errorf("%s = %.20q: %s reads %g °C", p, text, snap.Subjects[i].ID, v)
				}
			}
		}
		f := base()
		f.Errs = map[string]error{p: unix.EIO}
		take(t.Context(), t, open(t, "hwmon61", f))
	}
}

func TestSensorsAlone(t *testing.T) {
	all, err := hw.Sensors(t.Context(), hostOf(open(t, "hwmon61", &sysfstest.FS{})))
	if err != nil || len(all) != 5 {
		t.Fatalf("%d sensors, %v", len(all), err)
	}
}

// A chip, a zone and the processors that give no answer cost nobody else anything.
func TestHangingThermalFiles(t *testing.T) {
	sick := &sysfstest.FS{Hang: []string{max6639 + "/temp1_input", cpus + "/online"}}
	t.Cleanup(sick.Release)
	old := take(t.Context(), t, open(t, "hwmon61", &sysfstest.FS{}))
	new := take(t.Context(), t, open(t, "hwmon61", sick))
	s := subject(t, new, "hw.sensor", "002f/max6639/temp1") // the next ones of its chip are not tried
	if !s.Attrs["value_celsius"].IsZero() || !strings.Contains(s.Errs["value_celsius"], "no answer") {
		t.Errorf("%v, %v", s.Attrs, s.Errs)
	}
	if v, ok := subject(t, new, "hw.sensor", "0018/jc42/temp1").Attrs["value_celsius"].Number(); !ok || v != 46 {
		t.Errorf("its neighbour reads %g", v)
	}
	j := judge(t, old, new)
	if len(j.Findings) > 0 || j.Verdict != snapshot.Incomplete { // how many CPUs there are is a critical rule's
		t.Errorf("verdict %s, findings %v", j.Verdict, brief(j.Findings))
	}
}
