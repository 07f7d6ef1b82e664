// Package fstab reads the table of file systems, fstab(5).
package fstab

import (
	"path"
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

// Auto reports whether a boot mounts it by itself. What systemd mounts on demand (systemd.mount(5)) it does not: nothing is there
// until somebody looks.
func (l *Line) Auto() bool {
	return !l.Has("noauto") && !l.Has("x-systemd.automount") && !l.Has("comment=systemd.automount")
}

// Swap reports whether it is of a swap area, which has no mount point.
func (l *Line) Swap() bool { return l.Type == "swap" }

// enumerated are kernel names that follow the order in which disks are found.
var enumerated = regexp.MustCompile(`^/dev/(sd[a-z]+|hd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|sr\d+|mmcblk\d+)(p?\d+)?$`)

// Enumerated reports whether the line names its device by the order in which disks are found, as /dev/sda1.
func (l *Line) Enumerated() bool { return enumerated.MatchString(l.Spec) }

// tagFolders are where udev links devices by what they bear.
var tagFolders = map[string]string{"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "ID": "by-id"}

// Device is the path of the device that the line names: "" for what is no device.
func (l *Line) Device() string {
	if tag, value, found := strings.Cut(l.Spec, "="); found && tagFolders[tag] != "" {
		return path.Join("/dev/disk", tagFolders[tag], udevName(strings.Trim(value, `"`)))
	}
	if strings.HasPrefix(l.Spec, "/dev/") {
		return path.Clean(l.Spec)
	}
	return ""
}

// udevName writes a label as udev names its link: other characters as \x20
// (encode_devnode_name of systemd's src/shared/device-nodes.c).
func udevName(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > 127 || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("#+-.:=@_", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.WriteString(`\x`)
		out.WriteByte("0123456789abcdef"[c>>4])
		out.WriteByte("0123456789abcdef"[c&15])
	}
	return out.String()
}

// specLike is how the first field of a line looks, to tell a line that is commented out from prose.
var specLike = regexp.MustCompile(`^(UUID=|LABEL=|PARTUUID=|PARTLABEL=|ID=|/dev/|//|[\w.-]+:/)`)

// Parse reads the lines, and those that are commented out and would be lines.
func Parse(text string) []Line {
	var out []Line
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		commented := strings.HasPrefix(line, "#")
		f := strings.Fields(strings.TrimLeft(line, "# \t"))
		if len(f) < 3 || commented && !lineLike(f) {
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

// lineLike tells the fields of a line that is commented out from prose. Swap has no mount point, and may be a file.
func lineLike(f []string) bool {
	if len(f) < 4 || len(f) > 6 {
		return false
	}
	if f[2] == "swap" {
		return specLike.MatchString(f[0]) || strings.HasPrefix(f[0], "/")
	}
	return specLike.MatchString(f[0]) && strings.HasPrefix(f[1], "/")
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
