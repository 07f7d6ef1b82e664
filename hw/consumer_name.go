package hw

import (
	"regexp"
	"strings"
)

// Names that the kernel hands out in the order in which it finds devices, whole and
// with a partition's number; device-mapper minors among them.
const (
	lettered = `(?:sd|hd|vd|xvd|dasd)[a-z]+`
	counted  = `nvme[0-9]+n[0-9]+|mmcblk[0-9]+|md[0-9]+|pmem[0-9]+|cciss/c[0-9]+d[0-9]+`
	byPath   = `/dev/disk/by-path/`
)

var (
	blockNames = regexp.MustCompile(`^/dev/(?:(` + lettered + `)[0-9]*|(` + counted + `)(?:p[0-9]+)?|(dm-[0-9]+))$`)
	// inText finds such names, and udev's links by place, in a longer text.
	inText = regexp.MustCompile(`/dev/(?:disk/by-path/[A-Za-z0-9:._+@-]+|[A-Za-z0-9/_-]+)`)
	// nicNames are the kernel's own and those that udev makes of slots and ports
	// (systemd.net-naming-scheme(7)); one made of the MAC address, enx…, goes with it.
	nicNames = regexp.MustCompile(`^(?:eth|wlan|usb|ib|wwan)[0-9]+$|^(?:en|wl|ww|ib|sl)(?:P[0-9]+)?(?:o[0-9]+|s[0-9]+|p[0-9]+s[0-9]+)[0-9a-z]*$`)
	partLink = regexp.MustCompile(`-part[0-9]+$`)
	nvmeCtrl = regexp.MustCompile(`^/dev/(nvme[0-9]+)$`)
)

// baseOf is the name of the whole device that a name depends on; ok is false where it
// is no name that may move. pinned are interfaces' names that .link files give.
func baseOf(name string, pinned map[string]bool) (base string, ok bool) {
	switch {
	case strings.HasPrefix(name, byPath):
		return partLink.ReplaceAllString(strings.TrimPrefix(name, byPath), ""), len(name) > len(byPath)
	case strings.HasPrefix(name, "/dev/"):
		if m := nvmeCtrl.FindStringSubmatch(name); m != nil {
			return m[1], true
		}
		m := blockNames.FindStringSubmatch(name)
		if m == nil {
			return "", false
		}
		return m[1] + m[2] + m[3], true
	case strings.HasPrefix(name, "pci-"):
		return name, true
	}
	return name, nicNames.MatchString(name) || pinned[name]
}

// movable are the block devices' names in a text that may move.
func movable(text string) []string {
	var out []string
	for _, name := range inText.FindAllString(text, -1) {
		if _, ok := baseOf(name, nil); ok {
			out = append(out, name)
		}
	}
	return out
}

// port is the interface that a name of configuration stands for: that of a VLAN or an
// alias is the one beneath it.
func port(name string) string {
	name = strings.Trim(name, `"'`)
	if i := strings.IndexAny(name, ".:@"); i >= 0 {
		name = name[:i]
	}
	return name
}
