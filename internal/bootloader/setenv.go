package bootloader

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// changeGrubenv is an environment block with some variables changed; an empty value
// takes a variable out. What is not changed keeps its place, comments too, as
// grub_envblk_set of GRUB's grub-core/lib/envblk.c does it.
func changeGrubenv(block []byte, changes map[string]string) ([]byte, error) {
	if _, err := parseGrubenv(block); err != nil {
		return nil, err
	}
	left := maps.Clone(changes)
	out := bytes.NewBufferString(envHead)
	for rest := string(block[len(envHead):]); rest != ""; {
		var line string
		whole := rest
		line, rest = cutLine(rest)
		if len(line) == len(whole) {
			break // what no newline ends is the padding
		}
		name, _, isVar := strings.Cut(line, "=")
		if strings.HasPrefix(line, "#") || !isVar {
			fmt.Fprintf(out, "%s\n", line)
			continue
		}
		value, changed := changes[name]
		switch {
		case !changed:
			fmt.Fprintf(out, "%s\n", line)
		case value != "" && left[name] != "": // of two lines of one name the first is kept
			fmt.Fprintf(out, "%s=%s\n", name, escape(value))
		}
		if changed {
			delete(left, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if left[name] == "" {
			continue
		}
		if !isName(name) {
			return nil, fmt.Errorf("change GRUB's environment block: %q is no variable's name", name)
		}
		fmt.Fprintf(out, "%s=%s\n", name, escape(left[name]))
	}
	if out.Len() > envSize {
		return nil, fmt.Errorf("change GRUB's environment block: %d bytes, it has room for %d", out.Len(), envSize)
	}
	out.WriteString(strings.Repeat("#", envSize-out.Len()))
	return out.Bytes(), nil
}

// escape writes a value as GRUB does: a backslash before a backslash and a newline.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", "\\\n").Replace(s)
}
