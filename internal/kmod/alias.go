package kmod

import (
	"slices"
	"strings"
)

// aliasIndex finds the modules whose patterns match a device's modalias. Patterns are
// kept by what stands before the first wildcard, as far as the bus: there are some
// twenty thousand, and a host has a hundred devices.
type aliasIndex map[string][]alias

type alias struct{ pattern, module string }

func busOf(s string) string {
	bus, _, _ := strings.Cut(s, ":")
	return bus
}

func (x aliasIndex) add(pattern, module string) {
	bus := busOf(pattern)
	x[bus] = append(x[bus], alias{pattern, module})
}

// modules lists, each once, those whose patterns match.
func (x aliasIndex) modules(modalias string) []string {
	var out []string
	for _, a := range x[busOf(modalias)] {
		if !slices.Contains(out, a.module) && match(a.pattern, modalias) {
			out = append(out, a.module)
		}
	}
	slices.Sort(out)
	return out
}

// match is fnmatch(3) without flags, as modprobe uses it: * any text, ? any character,
// [] a set. It takes time in proportion to the product of the lengths at worst.
func match(pattern, s string) bool {
	star, back := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, back = p, i
			p++
			continue
		}
		if n := matchOne(pattern[p:], s[i]); n > 0 {
			p, i = p+n, i+1
			continue
		}
		if star < 0 {
			return false
		}
		back++
		p, i = star+1, back
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne is the length of the pattern's first element where it matches c, or 0.
func matchOne(pattern string, c byte) int {
	if pattern == "" {
		return 0
	}
	switch pattern[0] {
	case '?':
		return 1
	case '[':
		if end := strings.IndexByte(pattern[1:], ']'); end > 0 {
			if inSet(pattern[1:1+end], c) {
				return end + 2
			}
			return 0
		}
	case '\\':
		if len(pattern) > 1 {
			if pattern[1] == c {
				return 2
			}
			return 0
		}
	}
	if pattern[0] == c {
		return 1
	}
	return 0
}

func inSet(set string, c byte) bool {
	not := set[0] == '!' || set[0] == '^'
	if not {
		set = set[1:]
	}
	in := false
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			in = in || set[i] <= c && c <= set[i+2]
			i += 2
			continue
		}
		in = in || set[i] == c
	}
	return in != not
}
