package hw

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const dimmKind = "hw.dimm"

var _ = catalogue.Add(source.Source{
	Name:  "dimm",
	Doc:   "the memory modules, as the firmware describes them\n\nReads SMBIOS table 17 in /sys/firmware/dmi/entries, which takes root.",
	Kinds: []snapshot.Kind{dimm},
	Read:  readDIMMs,
})

var dimm = snapshot.Kind{
	Name: dimmKind,
	Doc:  "a memory module, known by its slot; empty slots are left out",
	Attrs: []snapshot.Attr{
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "size"},
		{Name: "speed_mts", Better: snapshot.HigherBetter, Doc: "speed that it is made for, in million transfers a second"},
		{Name: "configured_mts", Better: snapshot.HigherBetter, Doc: "speed that it is run at, in million transfers a second"},
		{Name: "vendor", Doc: "maker"},
		{Name: "part", Doc: "part number"},
		{Name: "serial", Doc: "serial number, unless it is one that nobody gave"},
	},
	Rules: []snapshot.Rule{
		{Code: "dimm-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "the memory module in {name} is gone"},
		{Code: "dimm-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "the memory module in {name} has {new}, had {old}"},
		{Code: "dimm-slower", On: snapshot.OnWorse, Attr: "configured_mts", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the memory module in {name} is run at {new} MT/s, was {old}"},
		{Code: "dimm-replaced", On: snapshot.OnChanged, Attr: "serial", Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "the memory module in {name} is another one: {new}, was {old}"},
	},
}

// maxEntry bounds one SMBIOS structure with its strings.
const maxEntry = 16 << 10

func readDIMMs(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	const folder = "/sys/firmware/dmi/entries"
	names, err := list(ctx, h, folder)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	var errs []error
	for _, name := range names {
		if !strings.HasPrefix(name, "17-") {
			continue
		}
		raw, err := h.Root.Bytes(ctx, maxEntry, folder, name, "raw")
		if sysfs.Absent(err) {
			continue
		}
		var s snapshot.Subject
		found := false
		if err == nil {
			s, found, err = parseDIMM(raw)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read memory module %s: %w", name, err))
		}
		if found {
			out = append(out, s)
		}
	}
	return unlike(out), errors.Join(errs...)
}

// Offsets in an SMBIOS structure of type 17 (DSP0134, 7.18).
const (
	dimmSize       = 0x0c // word: MiB, or KiB with bit 15; 0 empty, 0xffff unknown, 0x7fff see below
	dimmLocator    = 0x10
	dimmBank       = 0x11
	dimmSpeed      = 0x15
	dimmVendor     = 0x17
	dimmSerial     = 0x18
	dimmPart       = 0x1a
	dimmExtended   = 0x1c // double word: MiB
	dimmConfigured = 0x20
	dimmLeast      = 0x15 // length of the shortest, SMBIOS 2.1
)

// parseDIMM reads a structure of type 17; false for an empty slot.
func parseDIMM(raw []byte) (snapshot.Subject, bool, error) {
	if len(raw) < dimmLeast || raw[0] != 17 || int(raw[1]) < dimmLeast || int(raw[1]) > len(raw) {
		return snapshot.Subject{}, false, errors.New("no SMBIOS structure of type 17")
	}
	body, strs := raw[:raw[1]], smbiosStrings(raw[raw[1]:])
	text := func(at int) string {
		if at >= len(body) || body[at] == 0 || int(body[at]) > len(strs) {
			return ""
		}
		return strs[body[at]-1]
	}
	word := func(at int) int64 {
		if at+2 > len(body) {
			return 0
		}
		return int64(binary.LittleEndian.Uint16(body[at:]))
	}
	size := dimmBytes(body, word(dimmSize))
	if size == 0 {
		return snapshot.Subject{}, false, nil
	}
	s := snapshot.Subject{Kind: dimmKind, Outcome: snapshot.Measured}
	s.Label = strings.TrimSpace(text(dimmBank) + " " + text(dimmLocator))
	s.ID = path.Join(joinWords(text(dimmBank)), joinWords(text(dimmLocator)))
	if s.ID == "" {
		s.ID, s.Label = "slot", "a slot without a name"
	}
	if size > 0 {
		s.Set("size_bytes", snapshot.Int(size))
	} else {
		s.Fail("size_bytes", errors.New("the firmware does not know it"))
	}
	for name, at := range map[string]int{"speed_mts": dimmSpeed, "configured_mts": dimmConfigured} {
		if n := word(at); n > 0 && n < 0xffff {
			s.Set(name, snapshot.Int(n))
		}
	}
	for name, at := range map[string]int{"vendor": dimmVendor, "part": dimmPart, "serial": dimmSerial} {
		if v := text(at); v != "" && (name != "serial" || !junk(v)) {
			s.Set(name, snapshot.Text(v))
		}
	}
	return s, true, nil
}

// dimmBytes is a module's size: 0 of an empty slot, -1 where it is not known.
func dimmBytes(body []byte, size int64) int64 {
	switch {
	case size == 0xffff:
		return -1
	case size == 0x7fff && dimmExtended+4 <= len(body):
		return int64(binary.LittleEndian.Uint32(body[dimmExtended:])&^(1<<31)) << 20
	case size&(1<<15) != 0:
		return size &^ (1 << 15) << 10
	}
	return size << 20
}

// smbiosStrings are the strings after a structure: each ends with a zero byte, the set
// with another. They count from 1.
func smbiosStrings(b []byte) []string {
	var out []string
	for len(b) > 0 && b[0] != 0 {
		s, rest, _ := bytes.Cut(b, []byte{0})
		clean := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == utf8.RuneError {
				return -1
			}
			return r
		}, string(s))
		out, b = append(out, strings.TrimSpace(clean)), rest
	}
	return out
}
