package hw

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"lastgood/internal/sysfs"
)

func readLVMConf(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	filters, err := inFiles(ctx, root, lvmFilters, "/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf")
	devices, err2 := inFolder(ctx, root, lvmDevices, ".devices", "/etc/lvm/devices")
	return append(filters, devices...), errors.Join(err, err2)
}

// lvmDevices reads LVM's devices file (lvmdevices(8)). Only what is known by no better than its
// name (IDTYPE=devname) is named by it; for the rest the name is a hint.
func lvmDevices(_, text string) []mention {
	var out []mention
	eachLine(text, func(n int, line string) {
		f := map[string]string{}
		for _, w := range strings.Fields(line) {
			k, v, _ := strings.Cut(w, "=")
			f[k] = v
		}
		name := f["IDNAME"]
		if _, ok := baseOf(name, nil); !ok || f["IDTYPE"] != "devname" {
			return
		}
		out = append(out, mention{line: n, name: name, purpose: "LVM's physical volume " + f["PVID"], need: needBoot})
	})
	return out
}

var (
	lvmFilter = regexp.MustCompile(`^(?:devices/)?(global_filter|filter)\s*=`)
	// lvmLiteral is a whole device's name at the beginning of a pattern.
	lvmLiteral = regexp.MustCompile(`^\^?(/dev/(?:disk/by-path/[A-Za-z0-9:_.+-]+|` + lettered + `|` + counted + `|dm-[0-9]+)(?:p?[0-9]+)?)(.*)$`)
)

// lvmFilters reads the patterns of filter and global_filter: "a|^/dev/sda[0-9]*$|". A
// pattern that takes in any disk (/dev/sd.*) names none.
func lvmFilters(_, text string) []mention {
	var out []mention
	filter := ""
	eachLine(text, func(n int, line string) {
		if m := lvmFilter.FindStringSubmatch(line); m != nil {
			filter = m[1]
		}
		if filter == "" {
			return
		}
		for i, quoted := range strings.Split(line, `"`) {
			if i%2 == 0 { // between the quotes
				if strings.Contains(quoted, "#") {
					break
				}
				continue
			}
			if name := lvmName(quoted); name != "" {
				out = append(out, mention{line: n, name: name, purpose: "LVM's " + filter + " " + quoted, need: needBoot})
			}
		}
		if strings.Contains(line, "]") || !strings.Contains(line, "[") && lvmFilter.MatchString(line) {
			filter = ""
		}
	})
	return out
}

// lvmName is the device that a pattern such as a|/dev/sda.*| is about, "" where that is
// not one.
func lvmName(pattern string) string {
	if len(pattern) < 3 || (pattern[0] != 'a' && pattern[0] != 'r') {
		return ""
	}
	m := lvmLiteral.FindStringSubmatch(strings.TrimRight(pattern[2:], pattern[1:2]))
	if m == nil {
		return ""
	}
	switch rest := m[2]; {
	case rest == "" || rest == "$" || rest == ".*" || rest == ".*$":
	case strings.HasPrefix(rest, "[0-9]") || strings.HasPrefix(rest, "p[0-9]") || strings.HasPrefix(rest, "p?[0-9]") || strings.HasPrefix(rest, "p.*"):
	default:
		return ""
	}
	if _, ok := baseOf(m[1], nil); !ok {
		return ""
	}
	return m[1]
}
