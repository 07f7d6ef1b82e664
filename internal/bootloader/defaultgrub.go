package bootloader

import (
	"context"
	"strings"

	"lastgood/internal/sysfs"
)

// defaultGrub is read by grub-mkconfig alone, never by GRUB.
const defaultGrub = "/etc/default/grub"

// readDefaultGrub reads the settings that the next grub.cfg is to be made from, with those
// of /etc/default/grub.d, which Debian's grub-mkconfig takes after it.
func readDefaultGrub(ctx context.Context, root *sysfs.Root) (map[string]string, error) {
	out := map[string]string{}
	text, err := readText(ctx, root, defaultGrub)
	if err != nil && !sysfs.Absent(err) {
		return nil, err
	}
	parseAssignments(text, out)
	names, err := root.List(ctx, defaultGrub+".d")
	if err != nil && !sysfs.Absent(err) {
		return out, err
	}
	for _, n := range names {
		if !strings.HasSuffix(n, ".cfg") {
			continue
		}
		text, err := readText(ctx, root, defaultGrub+".d/"+n)
		if err != nil {
			return out, err
		}
		parseAssignments(text, out)
	}
	return out, nil
}

// parseAssignments reads a shell file's plain NAME=VALUE lines into out. What a shell would
// have to work out (a variable, a command) is left as it is written.
func parseAssignments(text string, out map[string]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, found := strings.Cut(line, "=")
		if !found || !isName(name) {
			continue
		}
		out[name] = firstWord(value)
	}
}

func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && !isLetter(c) && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}

// firstWord is a shell word without its quotes; a comment or a second word ends it.
func firstWord(s string) string {
	var out strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && (c == ' ' || c == '\t' || c == ';' || c == '\r'):
			return out.String()
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			out.WriteByte(s[i])
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
