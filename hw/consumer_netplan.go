package hw

import (
	"context"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

func readNetplan(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFolder(ctx, root, netplanUses, ".yaml", "/etc/netplan")
}

// leaf is a value of a YAML document and the keys that lead to it.
type leaf struct {
	keys  []string
	value string
	line  int
}

// under reports whether the leaf lies beneath keys; "*" is any.
func (l *leaf) under(keys ...string) bool {
	if len(l.keys) < len(keys) {
		return false
	}
	for i, k := range keys {
		if k != "*" && l.keys[i] != k {
			return false
		}
	}
	return true
}

// netplanUses reads netplan's YAML: an interface is known by the name that it stands under, or
// else by its match. One that matches a MAC address is named by what goes with it.
func netplanUses(_, text string) []mention {
	leaves := parseYAML(text)
	var out []mention
	for _, l := range leaves {
		if len(l.keys) < 3 || !(l.under("network", "ethernets", "*") || l.under("network", "wifis", "*")) {
			continue
		}
		id := l.keys[2]
		name, matched := netplanMatch(leaves, l.keys[1], id)
		if matched && name == "" || slices.ContainsFunc(out, func(m mention) bool { return m.name == name }) {
			continue
		}
		out = append(out, mention{line: l.line, name: name, purpose: netplanPurpose(leaves, id), need: needBoot, now: netplanNow(leaves, l.keys[1], id)})
	}
	return out
}

// netplanMatch is the name that a definition matches; "" where it matches something else.
func netplanMatch(leaves []leaf, section, id string) (name string, matched bool) {
	name = port(id)
	for _, l := range leaves {
		if len(l.keys) < 4 || !l.under("network", section, id, "match") {
			continue
		}
		if !matched {
			name, matched = "", true
		}
		switch l.keys[len(l.keys)-1] {
		case "macaddress":
			return "", true
		case "name":
			if !strings.ContainsAny(l.value, "*?[") {
				name = port(l.value)
			}
		}
	}
	return name, matched
}

func netplanNow(leaves []leaf, section, id string) string {
	for _, l := range leaves {
		if len(l.keys) == 4 && l.under("network", section, id, "set-name") {
			return l.value
		}
	}
	return ""
}

func netplanPurpose(leaves []leaf, id string) string {
	for _, l := range leaves {
		for section, what := range map[string]string{"bridges": "port of bridge ", "bonds": "port of bond "} {
			if len(l.keys) == 4 && l.under("network", section, "*", "interfaces") && slices.Contains(flowItems(l.value), id) {
				return what + l.keys[2]
			}
		}
	}
	return "set up by netplan"
}

// maxDepth bounds how deep a YAML document may nest.
const maxDepth = 16

// parseYAML reads the part of YAML that netplan's files are written in: block mappings and
// sequences, flow ones on one line, scalars. What it does not know it passes over.
func parseYAML(text string) []leaf {
	type level struct {
		indent int
		key    string
	}
	var out []leaf
	var at []level
	keys := func() []string {
		var k []string
		for _, l := range at {
			k = append(k, l.key)
		}
		return k
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		body := strings.TrimSpace(stripComment(line))
		if body == "" || body == "---" {
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " "))
		item, isItem := strings.CutPrefix(body, "- ")
		for len(at) > 0 && (at[len(at)-1].indent > indent || at[len(at)-1].indent == indent && !isItem) {
			at = at[:len(at)-1]
		}
		if isItem {
			out = append(out, leaf{keys(), unquote(item), n})
			continue
		}
		key, value, found := cutKey(body)
		if !found || len(at) >= maxDepth {
			continue
		}
		at = append(at, level{indent, key})
		if value != "" {
			out = append(out, flow(keys(), value, n)...)
		} else {
			out = append(out, leaf{keys(), "", n})
		}
	}
	return out
}

// stripComment takes off what follows a # that stands after a blank or at the beginning.
func stripComment(line string) string {
	var quote byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// cutKey splits "key: value".
func cutKey(s string) (key, value string, found bool) {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		if end := strings.IndexByte(s[1:], s[0]); end >= 0 && strings.HasPrefix(s[end+2:], ":") {
			return s[1 : end+1], strings.TrimSpace(s[end+3:]), true
		}
		return "", "", false
	}
	if key, found = strings.CutSuffix(s, ":"); found && !strings.Contains(key, ": ") {
		return key, "", true
	}
	key, value, found = strings.Cut(s, ": ")
	return strings.TrimSpace(key), strings.TrimSpace(value), found
}

// flow gives the leaves of a value, a mapping {a: b, c: {…}} among them.
func flow(keys []string, value string, line int) []leaf {
	if !strings.HasPrefix(value, "{") || len(keys) >= maxDepth {
		return []leaf{{keys, unquote(value), line}}
	}
	out := []leaf{{keys, "", line}}
	for _, part := range topLevel(strings.TrimSuffix(value[1:], "}")) {
		if key, v, found := cutKey(part); found {
			out = append(out, flow(append(slices.Clone(keys), key), v, line)...)
		}
	}
	return out
}

// topLevel splits at the commas that stand in no brackets.
func topLevel(s string) []string {
	var out []string
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				out, from = append(out, strings.TrimSpace(s[from:i])), i+1
			}
		}
	}
	return append(out, strings.TrimSpace(s[from:]))
}

// flowItems are the members of a sequence [a, b], or the one item of a block sequence.
func flowItems(value string) []string {
	inner, found := strings.CutPrefix(value, "[")
	if !found {
		return []string{value}
	}
	items := topLevel(strings.TrimSuffix(inner, "]"))
	for i := range items {
		items[i] = unquote(items[i])
	}
	return items
}

func unquote(s string) string {
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
