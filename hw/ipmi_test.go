package hw

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

func requireBPF() bool { return strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") }

// fakeBMC answers from a log: records by number. Any command may be refused.
type fakeBMC struct {
	records []uint16 // numbers, the oldest first
	refuse  map[ipmiCommand]uint8
	sdr     []byte
	parts   bool // records are given in parts only
	asked   int
}

func (f *fakeBMC) send(_ context.Context, c ipmiCommand, data ...byte) ([]byte, error) {
	f.asked++
	if code := f.refuse[c]; code != 0 {
		return nil, &ipmiError{c, code}
	}
	switch c {
	case ipmiChassisStatus:
		return []byte{0x61, 0x10, 0x05}, nil
	case ipmiSELInfo:
		b := make([]byte, 14)
		b[0], b[1], b[13] = 0x51, byte(len(f.records)), 0x80
		return b, nil
	case ipmiSELEntry:
		return f.entry(uint16(data[2]) | uint16(data[3])<<8)
	case ipmiSDRRepoInfo:
		return []byte{0x51, 1, 0}, nil
	case ipmiSDRReserve:
		return []byte{7, 0}, nil
	case ipmiSDR:
		return f.sensorRecord(data)
	case ipmiSensorReading:
		return []byte{200, 0xc0, 0x18}, nil // scanned, above warning and critical
	}
	return []byte{0}, nil
}

func (f *fakeBMC) entry(id uint16) ([]byte, error) {
	for i, r := range f.records {
		last := i == len(f.records)-1
		if r == id || (id == 0 && i == 0) || (id == 0xffff && last) {
			next := uint16(0xffff)
			if !last {
				next = f.records[i+1]
			}
			return put(18, map[int]any{0: next, 2: r, 4: uint8(2), 5: uint32(0x65000000), 12: uint8(1), 13: uint8(0x30), 14: uint8(1), 15: uint8(9)}), nil
		}
	}
	return nil, &ipmiError{ipmiSELEntry, ipmiNotPresent}
}

func (f *fakeBMC) sensorRecord(data []byte) ([]byte, error) {
	if data[5] == 0xff {
		if f.parts {
			return nil, &ipmiError{ipmiSDR, ipmiCannotGive}
		}
		return append([]byte{0xff, 0xff}, f.sdr...), nil
	}
	if data[0] != 7 {
		return nil, &ipmiError{ipmiSDR, 0xc5} // reservation cancelled
	}
	return append([]byte{0xff, 0xff}, f.sdr[data[4]:data[4]+data[5]]...), nil
}

func TestSEL(t *testing.T) {
	long := make([]uint16, 200)
	for i := range long {
		long[i] = uint16(i + 1)
	}
	gaps := []uint16{1, 2, 100, 200, 300}
	cases := []struct {
		name    string
		bmc     *fakeBMC
		newest  int64
		n       int
		outcome snapshot.Outcome
		fails   bool
	}{
		{"empty", &fakeBMC{}, 0, 0, snapshot.Measured, false},
		{"short", &fakeBMC{records: []uint16{1, 2, 3}}, 3, 3, snapshot.Measured, false},
		{"long", &fakeBMC{records: long}, 200, selTail, snapshot.Measured, false},
		{"numbers with small gaps", &fakeBMC{records: []uint16{1, 4, 9}}, 9, 3, snapshot.Measured, false},
		{"numbers with large gaps", &fakeBMC{records: gaps}, 300, 5, snapshot.Measured, false},
		{"no information", &fakeBMC{refuse: map[ipmiCommand]uint8{ipmiSELInfo: 0xc1}}, 0, 0, snapshot.Inconclusive, false},
		{"no entry", &fakeBMC{records: long, refuse: map[ipmiCommand]uint8{ipmiSELEntry: 0xc0}}, 0, 0, snapshot.Measured, true},
		{"empty whatever it says", &fakeBMC{records: long, refuse: map[ipmiCommand]uint8{ipmiSELEntry: ipmiNotPresent}}, 0, 0, snapshot.Measured, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, err := gatherLog(t.Context(), c.bmc)
			if err != nil {
				t.Fatal(err)
			}
			var log, box snapshot.Subject
			log.Outcome, box.Outcome = snapshot.Measured, snapshot.Measured
			a.fill(&log, &box)
			items, _ := log.Attrs["critical"].Items()
			newest, _ := log.Attrs["newest_id"].Int()
			if log.Outcome != c.outcome || len(items) != c.n || newest != c.newest || (log.Errs["critical"] != "") != c.fails {
				t.Errorf("%s, %d critical, newest %d, errors %v", log.Outcome, len(items), newest, log.Errs)
			}
			if c.bmc.asked > 2*selTail {
				t.Errorf("%d commands", c.bmc.asked)
			}
			want := snapshot.Attrs{"power_restore": snapshot.Text("unknown"), "power_fault": snapshot.Text("no"), "power_overload": snapshot.Text("no"), "intrusion": snapshot.Text("yes"),
				"drive_fault": snapshot.Text("yes"), "fan_fault": snapshot.Text("no"), "last_power_down": snapshot.Text("none")}
			if d := cmp.Diff(want, box.Attrs); d != "" {
				t.Errorf("chassis (-want +got):\n%s", d)
			}
		})
	}
}

func TestSELEvents(t *testing.T) {
	cases := []struct {
		kind, sensorType, eventType, data uint8
		severity, text                    string
	}{
		{2, 0x01, 0x01, 0x59, "critical", "temperature (sensor 0x30): above its upper critical limit"},
		{2, 0x01, 0x81, 0x59, "info", "no longer above its upper critical limit"},
		{2, 0x04, 0x01, 0x02, "critical", "fan (sensor 0x30): below its lower critical limit"},
		{2, 0x08, 0x6f, 0x01, "critical", "power supply (sensor 0x30): failed"},
		{2, 0x08, 0x6f, 0x00, "info", "event 0x6f:0"},
		{2, 0x0c, 0x6f, 0x00, "warning", "correctable ECC error"},
		{2, 0x0c, 0x6f, 0xa1, "critical", "uncorrectable ECC error"},
		{2, 0x0d, 0x6f, 0x01, "critical", "drive slot (sensor 0x30): fault"},
		{2, 0x23, 0x6f, 0x01, "critical", "watchdog reset the host"},
		{2, 0x10, 0x6f, 0x02, "info", "event logging"},
		{2, 0xc8, 0x6f, 0x01, "info", "sensor of type 0xc8"},
		{0xdf, 1, 1, 9, "info", "maker's own"}, {0xe0, 1, 1, 9, "info", "maker's own"},
	}
	for _, c := range cases {
		e, _, err := parseSELEntry(put(18, map[int]any{2: uint16(1), 4: c.kind, 12: c.sensorType, 13: uint8(0x30), 14: c.eventType, 15: c.data}))
		if err != nil || e.severity != c.severity || !strings.Contains(e.description, c.text) {
			t.Errorf("%+v: %s %q, %v", c, e.severity, e.description, err)
		}
	}
	for stamp, want := range map[uint32]string{0: "no time", 0xffffffff: "no time", 90: "90s after its start", 0x65000000: "2023-09-12 06:06:56"} {
		if got := selTime(stamp); got != want {
			t.Errorf("0x%x: %q, want %q", stamp, got, want)
		}
	}
}

// Nothing but commands that read is ever sent: not one other gets to the device.
func TestIPMIOnlyReads(t *testing.T) {
	d := &ipmiDevice{fd: -1}
	var tried []string
	for netFn := range 64 {
		for cmd := range 256 {
			_, err := d.send(t.Context(), ipmiCommand{uint8(netFn), uint8(cmd)})
			if err == nil || !strings.Contains(err.Error(), "not a command that only reads") {
				tried = append(tried, fmt.Sprintf("%02x/%02x", netFn, cmd))
			}
		}
	}
	want := []string{"00/01", "04/2d", "06/01", "0a/20", "0a/22", "0a/23", "0a/40", "0a/43"}
	if d := cmp.Diff(want, tried); d != "" {
		t.Errorf("commands (-want +got):\n%s", d)
	}
}

// fullSDR is a temperature: unit 0.5 °C, upper limits 80 and 90 °C.
func fullSDR() []byte {
	b := put(53, map[int]any{0: uint16(1), 2: uint8(0x51), 3: uint8(1), 4: uint8(48), 5: uint8(0x20), 7: uint8(0x30), 12: uint8(1), 13: uint8(1), 18: uint8(0x18), 21: uint8(1),
		24: uint8(5), 29: uint8(0xf0), 37: uint8(180), 38: uint8(160), 47: uint8(0xc5), 48: "Inlet"})
	return b
}

func TestBMCSensors(t *testing.T) {
	for _, parts := range []bool{false, true} {
		out, err := gatherSensors(t.Context(), &fakeBMC{sdr: fullSDR(), parts: parts})
		if err != nil || len(out) != 1 {
			t.Fatalf("parts %t: %d sensors, %v", parts, len(out), err)
		}
		want := snapshot.Attrs{"type": snapshot.Text("temperature"), "state": snapshot.Text("critical"), "value_celsius": snapshot.Float(100), "limit_celsius": snapshot.Float(80), "crit_celsius": snapshot.Float(90)}
		if d := cmp.Diff(want, out[0].Attrs); d != "" || out[0].ID != "0x30/Inlet" {
			t.Errorf("%s (-want +got):\n%s", out[0].ID, d)
		}
	}
	if out, err := gatherSensors(t.Context(), &fakeBMC{refuse: map[ipmiCommand]uint8{ipmiSDR: ipmiNotPresent}}); err != nil || len(out) > 0 {
		t.Errorf("an empty list: %v, %v", out, err)
	}
	if _, err := gatherSensors(t.Context(), &fakeBMC{refuse: map[ipmiCommand]uint8{ipmiSDRRepoInfo: 0xc3}}); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("a timeout: %v", err)
	}
}

func TestParseType38(t *testing.T) {
	cases := []struct {
		in   []byte
		want type38
	}{
		{put(18, map[int]any{0: uint8(38), 1: uint8(18), 4: uint8(1), 8: uint64(0xca3)}), type38{"kcs", "io 0xca2"}},
		{put(18, map[int]any{0: uint8(38), 1: uint8(18), 4: uint8(3), 8: uint64(0xe5), 16: uint8(0x10)}), type38{"bt", "io 0xe5"}},
		{put(18, map[int]any{0: uint8(38), 1: uint8(18), 4: uint8(4), 8: uint64(0x20)}), type38{"ssif", "smbus 0x10"}},
		{put(16, map[int]any{0: uint8(38), 1: uint8(16), 4: uint8(9), 8: uint64(0xfed00000)}), type38{"unknown", "mem 0xfed00000"}},
	}
	for _, c := range cases {
		if got, err := parseType38(c.in); err != nil || got != c.want {
			t.Errorf("% x: %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
	for name, want := range map[string]string{"IPI0001:00": "acpi", "dmi-ipmi-si.0": "smbios", "0000:02:00.3": "pci", "hardcode-ipmi-si.0": "other", "1e789000.bt": "devicetree", "0-0010": "other"} {
		if got := foundBy(name); got != want {
			t.Errorf("%s: found by %s, want %s", name, got, want)
		}
	}
	if got := modelOf("1000:005d", "1028:1f49"); got != "PERC H730 Mini" || modelOf("1000:005d", "1000:1f49") != "" {
		t.Errorf("1000:005d of 1028:1f49 is %q", got)
	}
}

func FuzzIPMI(f *testing.F) {
	f.Add(fullSDR())
	f.Add(put(18, map[int]any{0: uint8(38), 1: uint8(18), 4: uint8(1), 8: uint64(0xca3)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, _, err := parseSELEntry(b); err == nil {
			if e.severity == "" || e.description == "" || strings.ContainsFunc(e.String(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("entry %q of severity %q", e.String(), e.severity)
			}
		}
		if s, ok, err := parseSDR(b); err == nil && ok {
			_, _ = s.value(0x80)
		}
		_, _ = parseSELInfo(b)
		if e, err := parseType38(b); err == nil && e.address == "" {
			t.Error("no address")
		}
	})
}
