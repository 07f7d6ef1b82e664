package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes a text from the outside harmless on a terminal: devices name
// themselves, and a name may hold an escape sequence. Line ends and tabs stay.
func clean(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unsafeRune(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// unsafeRune tells what may move the cursor, change the direction of writing or
// break the line: controls (C0, C1), formats (bidi, zero width), U+2028 and U+2029.
func unsafeRune(r rune) bool {
	if r < 0x7f { // nearly all there is
		return r < ' ' && r != '\n' && r != '\t'
	}
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// flat is clean for what must stay on one line: a name in a tree, a cell of a table.
func flat(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

// cut is a text of at most so many runes. What a device or a kernel says can be
// of any length; the whole of it is in the JSON.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
