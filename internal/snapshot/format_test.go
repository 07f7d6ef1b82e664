package snapshot

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		unit Unit
		v    Value
		want string
	}{
		{Insns, Int(0), "0 insns"},
		{Insns, Int(999), "999 insns"},
		{Insns, Int(1000), "1,000 insns"},
		{Insns, Int(312700), "312,700 insns"},
		{States, Int(-1234567), "-1,234,567 states"},
		{Count, Int(int64(-1 << 63)), "-9,223,372,036,854,775,808"},
		{Count, Int(uint64(1 << 63)), "9.22337e+18"},
		{Count, Float(1234567), "1,234,567"},
		{Count, Float(-1234.5), "-1,234.5"},
		{NoUnit, Float(0.0625), "0.0625"},
		{NoUnit, Float(1.5e-7), "1.5e-07"},
		{NoUnit, Float(0), "0"},
		{Bytes, Int(0), "0 bytes"},
		{Bytes, Int(1023), "1,023 bytes"},
		{Bytes, Int(1024), "1 KiB (1,024 bytes)"},
		{Bytes, Int(1536 << 20), "1.5 GiB (1,610,612,736 bytes)"},
		{Bytes, Int(1<<20 - 1), "1 MiB (1,048,575 bytes)"},
		{Bytes, Int(-2048), "-2 KiB (-2,048 bytes)"},
		{Bytes, Float(1e300), "8.88178e+284 PiB (1e+300 bytes)"},
		{Seconds, Float(0), "0 s"},
		{Seconds, Int(0), "0 s"},
		{Seconds, Float(25e-9), "25 ns"},
		{Seconds, Float(744e-6), "744 µs"},
		{Seconds, Float(999.7e-6), "1 ms"},
		{Seconds, Float(0.0123), "12.3 ms"},
		{Seconds, Float(0.99996), "1 s"},
		{Seconds, Float(1.25), "1.25 s"},
		{Seconds, Float(179.6), "3 min 0 s"},
		{Seconds, Int(3723), "62 min 3 s"},
		{Seconds, Float(-190), "-3 min 10 s"},
		{Celsius, Float(41.5), "41.5 °C"},
		{Celsius, Float(-0.01), "0 °C"},
		{Bits, Int(25_000_000_000), "25 Gbit/s"},
		{Bits, Int(999_999), "1 Mbit/s"},
		{RPM, Int(12000), "12,000 rpm"},
		{RPM, Float(12000), "12,000 rpm"},
		{Volts, Float(12.096), "12.096 V"},
		{Insns, Value{}, "-"},
		{Bytes, Text("unknown"), "unknown"},
		{Count, Bool(true), "yes"},
		{Celsius, List("b", "a"), "a, b"},
	} {
		if got := test.unit.Format(test.v); got != test.want {
			t.Errorf("%s of %v: got %q, want %q", test.unit, test.v, got, test.want)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(0.0, int64(0))
	f.Add(-1e300, int64(-1<<63))
	f.Add(179.6, int64(1048575))
	f.Fuzz(func(t *testing.T, real float64, whole int64) {
		for _, u := range []Unit{NoUnit, Insns, States, Bytes, Seconds, Celsius, Count, Bits, RPM, Volts} {
			for _, v := range []Value{Float(real), Int(whole)} {
				got := u.Format(v)
				if got == "" || !utf8.ValidString(got) || strings.Contains(got, "60 s") && strings.Contains(got, "min") {
					t.Errorf("%s of %v is written as %q", u, v, got)
				}
				if n, ok := v.Number(); ok && n > 0 && strings.HasPrefix(got, "-") {
					t.Errorf("%s of %v changed its sign: %q", u, v, got)
				}
			}
		}
	})
}

func TestTimes(t *testing.T) {
	for ratio, want := range map[float64]string{3: "×3", 3.6267: "×3.63", 1.5: "×1.5", 26.64: "×26.6", 999.4: "×999", 999.6: "×1000", 12345.6: "×12346", 0.0722: "×0.0722"} {
		if have := Times(ratio); have != want {
			t.Errorf("%v: %s, want %s", ratio, have, want)
		}
	}
}
