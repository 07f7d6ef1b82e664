// Package fstab reads the table of file systems, fstab(5).
package fstab

import (
	"regexp"
	"slices"
	"strings"
)

// Line is a line of the table.
type Line struct {
	Spec, Point, Type string
	Options           []string
	Number            int  // of the line, the first is 1
	Commented         bool // the line would be one, and is commented out
}

// Has reports whether the line has an option.
func (l *Line) Has(option string) bool { return slices.Contains(l.Options, option) }

// specLike is how the first field of a line looks, to tell a line that is commented out from prose.
var specLike = regexp.MustCompile(`^(UUID=|LABEL=|PARTUUID=|PARTLABEL=|ID=|/dev/|//|[\w.-]+:/)`)

// Parse reads the lines, and those that are commented out and would be lines.
func Parse(text string) []Line {
	var out []Line
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		body := strings.TrimSpace(strings.TrimLeft(line, "#"))
		commented := strings.HasPrefix(line, "#")
		f := strings.Fields(body)
		if len(f) < 3 || commented && (len(f) < 4 || len(f) > 6 || !specLike.MatchString(f[0]) || !strings.HasPrefix(f[1], "/")) {
			continue
		}
		l := Line{Spec: Unescape(f[0]), Point: Unescape(f[1]), Type: f[2], Number: n, Commented: commented}
		if len(f) > 3 {
			l.Options = strings.Split(f[3], ",")
		}
		out = append(out, l)
	}
	return out
}

// Unescape takes back what the kernel and fstab(5) write for blanks: \040.
func Unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3' && isOctal(s[i+2]) && isOctal(s[i+3]) {
			out.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }
