package hw

import (
	"bytes"
	"testing"

	"lastgood/internal/snapshot"
)

func FuzzCPUList(f *testing.F) {
	for _, s := range []string{"0-3,8", "", "7", "0-65535", "3-1", "0-99999999999", "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cpus, err := parseCPUList(s)
		if err != nil && cpus != nil || len(cpus) > mostCPUs {
			t.Fatalf("%q: %d CPUs, %v", s, len(cpus), err)
		}
		for _, n := range cpus {
			if n < 0 || n >= mostCPUs {
				t.Fatalf("%q: CPU %d", s, n)
			}
		}
	})
}

func FuzzMemTotal(f *testing.F) {
	f.Add([]byte("MemTotal:       65800000 kB\nMemFree: 1 kB\n"))
	f.Add([]byte("Node 1 MemTotal: 4 kB"))
	f.Add([]byte("MemTotal: -1 kB"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseMemTotal(b); n < 0 || (err != nil && n != 0) {
			t.Fatalf("%d, %v", n, err)
		}
	})
}

func FuzzDIMM(f *testing.F) {
	f.Add(append([]byte{17, 0x15, 0, 0, 0, 0, 64, 0, 64, 0, 0, 0, 0, 32, 9, 0, 1, 2, 0, 0, 0}, "A1\x00BANK 0\x00\x00"...))
	f.Add([]byte{17, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, found, err := parseDIMM(b)
		if found && (err != nil || s.ID == "" || s.Label == "") {
			t.Fatalf("%+v, %v", s, err)
		}
		if n, ok := s.Attrs["size_bytes"].Int(); ok && n <= 0 {
			t.Fatalf("a module of %d bytes", n)
		}
		if bytes.ContainsAny([]byte(s.Label), "\x00\n\x1b") {
			t.Fatalf("label %q", s.Label)
		}
	})
}

func FuzzTemperature(f *testing.F) {
	f.Add(int64(255000), true, true)
	f.Add(int64(-273200), false, false)
	f.Add(int64(3892314000), false, true)
	f.Add(int64(48000), false, true)
	f.Fuzz(func(t *testing.T, milli int64, faulty, bare bool) {
		s := reading{snapshot.Subject{}}
		s.temperature(milli, faulty, bare)
		s.limits(milli, milli/2, milli)
		v, has := s.Attrs["value_celsius"].Number()
		if has == (s.Errs["value_celsius"] != "") || (has && (faulty || v < coldest || v > hottest)) {
			t.Fatalf("%d: %v, %v", milli, s.Attrs, s.Errs)
		}
		if s.Text("reading") == "" || tripText("hot", milli) == "" {
			t.Fatalf("%d: %v", milli, s.Attrs)
		}
	})
}
