package hw

import (
	"context"
	"errors"
	"strings"

	"lastgood/internal/sysfs"
)

func readMdadmConf(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	files, err := inFiles(ctx, root, mdadmUses, "/etc/mdadm.conf", "/etc/mdadm/mdadm.conf")
	folder, err2 := inFolder(ctx, root, mdadmUses, ".conf", "/etc/mdadm.conf.d", "/etc/mdadm/mdadm.conf.d")
	return append(files, folder...), errors.Join(err, err2)
}

// mdadmUses reads mdadm.conf(5): the members that DEVICE lines look at and those that
// ARRAY lines name by devices=. What an ARRAY line begins with is the name that it gives. A line
// that begins with a blank goes on with the one before. A pattern is no name.
func mdadmUses(_, text string) []mention {
	var out []mention
	var words []string // of the line that goes on
	n := 0
	for line := range strings.Lines(text) {
		n++
		body, _, _ := strings.Cut(line, "#")
		f := strings.Fields(body)
		if len(f) == 0 {
			continue
		}
		if body[0] == ' ' || body[0] == '\t' {
			f = append(append([]string{}, head(words)...), f...)
		} else {
			words = f
		}
		out = append(out, mdadmLine(n, f)...)
	}
	return out
}

// head are the words that say what a line is about.
func head(words []string) []string { return words[:min(2, len(words))] }

func mdadmLine(n int, f []string) []mention {
	var out []mention
	switch word := strings.ToLower(f[0]); {
	case len(word) >= 3 && strings.HasPrefix("device", word):
		for _, w := range f[1:] {
			if _, ok := baseOf(w, nil); ok {
				out = append(out, mention{line: n, name: w, purpose: "looked at for arrays", need: needBoot})
			}
		}
	case len(word) >= 3 && strings.HasPrefix("array", word) && len(f) > 2:
		for _, w := range f[2:] {
			key, value, _ := strings.Cut(w, "=")
			for _, name := range strings.Split(value, ",") {
				if _, ok := baseOf(name, nil); ok && strings.EqualFold(key, "devices") {
					out = append(out, mention{line: n, name: name, purpose: "member of " + f[1], need: needBoot})
				}
			}
		}
	}
	return out
}
