package kernels

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// CompareDebian orders two package versions as dpkg does (deb-version(7)):
// epoch, upstream version, revision. It answers for any two strings.
func CompareDebian(a, b string) int {
	ea, ua, ra := splitDebian(a)
	eb, ub, rb := splitDebian(b)
	if c := compareNumber(ea, eb); c != 0 {
		return c
	}
	if c := compareDebianPart(ua, ub); c != 0 {
		return c
	}
	return compareDebianPart(ra, rb)
}

func splitDebian(v string) (epoch, upstream, revision string) {
	v = strings.TrimSpace(v)
	epoch, rest, found := strings.Cut(v, ":")
	if !found {
		epoch, rest = "0", v
	}
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		return epoch, rest[:i], rest[i+1:]
	}
	return epoch, rest, ""
}

// compareDebianPart takes runs of other characters and runs of digits in turn.
// A tilde sorts before the end, the end before letters, letters before the rest.
func compareDebianPart(a, b string) int {
	for a != "" || b != "" {
		for (a != "" && !digit(a[0])) || (b != "" && !digit(b[0])) {
			if c := cmp.Compare(weight(a), weight(b)); c != 0 {
				return c
			}
			a, b = a[min(1, len(a)):], b[min(1, len(b)):]
		}
		na, nb := leadingDigits(a), leadingDigits(b)
		if c := compareNumber(a[:na], b[:nb]); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
	}
	return 0
}

func weight(s string) int {
	switch {
	case s == "" || digit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case letter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	return n
}

// compareNumber orders decimal numbers of any length.
func compareNumber(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// CompareRPM orders two [epoch:]version-release strings as rpm does. A missing
// release matches any, as it does in rpm's own dependencies.
func CompareRPM(a, b string) int {
	ea, va, ra := splitRPM(a)
	eb, vb, rb := splitRPM(b)
	if c := compareNumber(ea, eb); c != 0 {
		return c
	}
	if c := rpmvercmp(va, vb); c != 0 || ra == "" || rb == "" {
		return c
	}
	return rpmvercmp(ra, rb)
}

func splitRPM(v string) (epoch, version, release string) {
	epoch, rest, found := strings.Cut(v, ":")
	if !found || !digits(epoch) {
		epoch, rest = "0", v
	}
	version = rest
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		version, release = rest[:i], rest[i+1:]
	}
	return epoch, version, release
}

// rpmvercmp orders two segments: runs of digits or of letters, all else only
// separates; a tilde sorts before the end, a caret after it and before anything
// else; digits beat letters; what is left over wins.
func rpmvercmp(a, b string) int {
	separator := func(c rune) bool {
		return c > 127 || !letter(byte(c)) && !digit(byte(c)) && c != '~' && c != '^'
	}
	for {
		a, b = strings.TrimLeftFunc(a, separator), strings.TrimLeftFunc(b, separator)
		if c, more := compareMark(&a, &b); c != 0 {
			return c
		} else if more {
			continue
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b))
		}
		if digit(a[0]) != digit(b[0]) {
			if digit(a[0]) {
				return 1
			}
			return -1
		}
		c := 0
		if digit(a[0]) {
			na, nb := leadingDigits(a), leadingDigits(b)
			c, a, b = compareNumber(a[:na], b[:nb]), a[na:], b[nb:]
		} else {
			na, nb := leadingLetters(a), leadingLetters(b)
			c, a, b = strings.Compare(a[:na], b[:nb]), a[na:], b[nb:]
		}
		if c != 0 {
			return c
		}
	}
}

// compareMark settles a tilde or a caret at the head of either side; more says
// that both had the same one, which is now behind them.
func compareMark(a, b *string) (c int, more bool) {
	head := func(s string, m byte) bool { return s != "" && s[0] == m }
	rank := func(s string) int {
		switch {
		case head(s, '~'):
			return 0
		case s == "":
			return 1
		case head(s, '^'):
			return 2
		}
		return 3
	}
	ra, rb := rank(*a), rank(*b)
	if ra != rb && (min(ra, rb) == 0 || ra == 2 || rb == 2) {
		return cmp.Compare(ra, rb), false
	}
	if ra == rb && (ra == 0 || ra == 2) {
		*a, *b = (*a)[1:], (*b)[1:]
		return 0, true
	}
	return 0, false
}

func leadingLetters(s string) int {
	n := 0
	for n < len(s) && letter(s[n]) {
		n++
	}
	return n
}

// Compare orders two kernels of one flavour, architecture and family: by the
// packages' versions, or by their releases where a version is not known. It
// returns ErrMixed for kernels of different kinds, which have no order.
func Compare(a, b Kernel) (int, error) {
	for _, f := range []struct{ what, a, b string }{
		{"flavour", a.Flavour, b.Flavour}, {"architecture", a.Arch, b.Arch}, {"package format", a.Family, b.Family},
	} {
		if f.a != f.b {
			return 0, fmt.Errorf("compare %s with %s: %s %q is not %q: %w", a.Release, b.Release, f.what, f.a, f.b, ErrMixed)
		}
	}
	return compareSame(a, b), nil
}

func compareSame(a, b Kernel) int {
	order := CompareDebian
	if a.Family == FamilyRPM {
		order = CompareRPM
	}
	if a.Version != "" && b.Version != "" {
		if c := order(a.Version, b.Version); c != 0 {
			return c
		}
	}
	// A release candidate comes before the release; in uname -r it is appended.
	early := strings.NewReplacer("-rc", "~rc", ".rc", "~rc")
	return order(early.Replace(a.Release), early.Replace(b.Release))
}

// Sort groups kernels by architecture, family and flavour, and orders them by
// version within each, oldest first.
func Sort(all []Kernel) {
	slices.SortStableFunc(all, func(a, b Kernel) int {
		if c := cmp.Or(strings.Compare(a.Arch, b.Arch), strings.Compare(a.Family, b.Family), strings.Compare(a.Flavour, b.Flavour)); c != 0 {
			return c
		}
		return compareSame(a, b)
	})
}
