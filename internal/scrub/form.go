package scrub

import (
	"encoding/hex"
	"strings"
)

// formsOf lists the ways in which kernel, udev and tools write an identifier.
func formsOf(id *identifier) []form {
	var out []form
	add := func(where reach, write func(string) string) {
		out = append(out, form{write(id.value), write(id.fake), where, id})
	}
	same := func(s string) string { return s }
	switch id.class {
	case MAC:
		add(anywhere, grouped(2, ":"))
		add(anywhere, grouped(2, "-"))
		add(asWord, same)
		add(anywhere, func(s string) string { return "enx" + s }) // systemd.net-naming-scheme(7)
		add(anywhere, func(s string) string { return "wlx" + s })
	case UUID:
		add(id.where, same)
		uuidForms(id, add)
	case WWN:
		add(anywhere, same)
		add(anywhere, grouped(2, ":"))
	case Serial:
		serialForms(id, add)
	default:
		add(id.where, same)
		add(id.where, func(s string) string { return strings.ReplaceAll(s, "-", "--") }) // dm doubles hyphens
	}
	return out
}

func serialForms(id *identifier, add func(reach, func(string) string)) {
	for _, blank := range []string{" ", "_", `\x20`, `\040`, ""} {
		add(id.where, func(s string) string { return strings.ReplaceAll(s, " ", blank) })
	}
	add(id.where, func(s string) string { return strings.Join(strings.Fields(s), "_") })
	if len(id.value) >= minHexed {
		add(anywhere, func(s string) string { return hex.EncodeToString([]byte(s)) }) // as in an NVMe's wwid
	}
}

// minHexed is the shortest serial number that is looked for as the codes of its letters.
const minHexed = 5

// uuidForms are the forms with separators: those of RFC 9562, of mdadm and of LVM, and
// the bytes themselves, in either order (SMBIOS and EFI turn the first three fields round).
func uuidForms(id *identifier, add func(reach, func(string) string)) {
	if len(id.value) != 32 {
		return
	}
	if !isHex(id.value) {
		add(anywhere, fields("-", 6, 4, 4, 4, 4, 4, 6))
		return
	}
	add(anywhere, fields("-", 8, 4, 4, 4, 12))
	add(anywhere, grouped(8, ":"))
	add(anywhere, fields("-", 6, 4, 4, 4, 4, 4, 6)) // an LVM id may have no other letters
}

// grouped writes so many characters at a time.
func grouped(n int, sep string) func(string) string {
	return func(s string) string {
		var parts []string
		for ; len(s) > n; s = s[n:] {
			parts = append(parts, s[:n])
		}
		return strings.Join(append(parts, s), sep)
	}
}

// fields writes parts of given lengths.
func fields(sep string, lengths ...int) func(string) string {
	return func(s string) string {
		var parts []string
		for _, n := range lengths {
			n = min(n, len(s))
			parts, s = append(parts, s[:n]), s[n:]
		}
		return strings.Join(parts, sep)
	}
}
