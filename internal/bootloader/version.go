package bootloader

import (
	"cmp"
	"strings"
)

// Compare orders two versions as systemd-boot does (the UAPI group's version format): a
// tilde sorts before the end, then hyphen, caret and dot, numbers by value, letters by
// their codes. It answers for any two strings.
func Compare(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, noVersion), strings.TrimLeftFunc(b, noVersion)
		if c, more := compareMark(&a, &b, '~'); !more {
			return c
		}
		if a == "" || b == "" {
			return cmp.Compare(min(len(a), 1), min(len(b), 1))
		}
		for _, mark := range []byte("-^.") {
			if c, more := compareMark(&a, &b, mark); !more {
				return c
			}
		}
		c := 0
		switch {
		case a == "" || b == "":
			continue
		case isDigit(a[0]) || isDigit(b[0]):
			c = compareRun(&a, &b, isDigit, compareNumber)
		default:
			c = compareRun(&a, &b, isLetter, strings.Compare)
		}
		if c != 0 {
			return c
		}
	}
}

func noVersion(r rune) bool {
	return r > 127 || !isDigit(byte(r)) && !isLetter(byte(r)) && !strings.ContainsRune("~-^.", r)
}

// compareMark takes one mark off both; the side that has it alone comes first.
func compareMark(a, b *string, mark byte) (order int, more bool) {
	ma, mb := strings.HasPrefix(*a, string(mark)), strings.HasPrefix(*b, string(mark))
	switch {
	case ma && mb:
		*a, *b = (*a)[1:], (*b)[1:]
	case ma:
		return -1, false
	case mb:
		return 1, false
	}
	return 0, true
}

// compareRun takes a run of one class of characters off both and compares the two.
func compareRun(a, b *string, in func(byte) bool, order func(a, b string) int) int {
	ra, rb := run(*a, in), run(*b, in)
	*a, *b = (*a)[len(ra):], (*b)[len(rb):]
	return order(ra, rb)
}

func run(s string, in func(byte) bool) string {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return s[:n]
}

// compareNumber orders decimal numbers of any length; none comes before zero.
func compareNumber(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(a), len(b))
	}
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// compareBLS orders the names of entry files as the blscfg command of Fedora's GRUB does:
// as if each were a package's NAME-VERSION-RELEASE, part by part.
func compareBLS(a, b string) int {
	pa, pb := splitNVR(a), splitNVR(b)
	for i := range pa {
		if c := compareRPM(pa[i], pb[i]); c != 0 {
			return c
		}
	}
	return 0
}

// splitNVR takes release and version from the end. What there is moves to the front
// where there are fewer than three parts.
func splitNVR(s string) [3]string {
	var parts []string
	for range 2 {
		i := strings.LastIndexByte(s, '-')
		if i < 0 {
			break
		}
		parts = append([]string{s[i+1:]}, parts...)
		s = s[:i]
	}
	var out [3]string
	copy(out[:], append([]string{s}, parts...))
	return out
}

// compareRPM is rpm's own order: runs of digits or letters, all else only separates, a
// tilde before the end, digits beat letters, what is left over wins.
func compareRPM(a, b string) int {
	separator := func(r rune) bool {
		return r > 127 || !isDigit(byte(r)) && !isLetter(byte(r)) && r != '~'
	}
	for {
		a, b = strings.TrimLeftFunc(a, separator), strings.TrimLeftFunc(b, separator)
		if c, more := compareMark(&a, &b, '~'); !more {
			return c
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b))
		}
		if a[0] == '~' || b[0] == '~' {
			continue
		}
		if isDigit(a[0]) != isDigit(b[0]) {
			if isDigit(a[0]) {
				return 1
			}
			return -1
		}
		c := 0
		if isDigit(a[0]) {
			c = compareRun(&a, &b, isDigit, compareNumber)
		} else {
			c = compareRun(&a, &b, isLetter, strings.Compare)
		}
		if c != 0 {
			return c
		}
	}
}
