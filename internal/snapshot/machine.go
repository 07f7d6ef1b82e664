package snapshot

import (
	"slices"
	"strings"
)

// OtherMachine says why o is not the machine of id, or "" where nothing known says so.
//
// The product UUID is asked first, for a cloned disk takes its machine-id along and a
// virtual machine that moves to another host takes its UUID along. Where it is the same,
// the board's serial number is not asked: a board that was replaced is given the
// UUID of the old one, and is a change of hardware. Ids that a maker left at a
// default name no machine and are not compared.
func (id *Identity) OtherMachine(o *Identity) string {
	a, b := machineUUID(id.ProductUUID), machineUUID(o.ProductUUID)
	switch {
	case a != "" && b != "" && !sameUUID(a, b):
		why := "product UUID " + a + ", this is " + b
		if id.MachineID != "" && id.MachineID == o.MachineID {
			why += "; the machine-id is the same: was it cloned?"
		}
		return why
	case a == "" || b == "":
		if x, y := boardSerial(id.BoardSerial), boardSerial(o.BoardSerial); x != "" && y != "" && x != y {
			return "board serial " + x + ", this is " + y
		}
	}
	if id.MachineID != "" && o.MachineID != "" && id.MachineID != o.MachineID {
		return "machine-id " + id.MachineID + ", this is " + o.MachineID
	}
	return ""
}

// defaultUUIDs were put into many machines by the makers of firmware.
var defaultUUIDs = []string{
	"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
	"12345678-1234-5678-90ab-cddeefaabbcc", "01234567-8910-1112-1314-151617181920",
}

// machineUUID is a UUID in lower case, "" where it is none or names no machine: one
// digit or one pair of digits all along (SMBIOS 7.2.1 has all zeros and all ones), or a default.
func machineUUID(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	digits := strings.ReplaceAll(s, "-", "")
	if len(s) != 36 || len(digits) != 32 || strings.Trim(digits, "0123456789abcdef") != "" {
		return ""
	}
	if digits == strings.Repeat(digits[:2], 16) || slices.Contains(defaultUUIDs, s) {
		return ""
	}
	return s
}

// sameUUID compares two UUIDs, either of which may have its first three fields in
// the other byte order: SMBIOS 2.6 fixed it, and firmware followed in updates.
func sameUUID(a, b string) bool { return a == b || swapped(a) == b }

func swapped(s string) string {
	pairs := func(s string) string {
		var b strings.Builder
		for i := len(s); i >= 2; i -= 2 {
			b.WriteString(s[i-2 : i])
		}
		return b.String()
	}
	f := strings.Split(s, "-")
	return strings.Join([]string{pairs(f[0]), pairs(f[1]), pairs(f[2]), f[3], f[4]}, "-")
}

// defaultSerials are what makers write where they give no serial number; of each
// the beginning, in lower case.
var defaultSerials = []string{"to be filled", "default", "none", "not ", "system serial", "base board serial", "serial", "unknown", "oem",
	"o.e.m", "invalid", "empty", "123456789", "0123456789", "xxxx", "type2", "mb-1234567890", "bss-0123456789", "chassis serial", "asset", "virtual"}

// boardSerial is a board's serial number, "" where the maker gave none.
func boardSerial(s string) string {
	s = strings.TrimSpace(s)
	low := strings.ToLower(s)
	if len(s) < 4 || strings.Trim(low, low[:1]) == "" || strings.Trim(low, " .-_/") == "" {
		return ""
	}
	if slices.ContainsFunc(defaultSerials, func(d string) bool { return strings.HasPrefix(low, d) }) {
		return ""
	}
	return s
}
