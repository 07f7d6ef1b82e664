package contract

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/fstab"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const swapKind = "service.swap"

var _ = catalogue.Add(source.Source{
	Name:  "swap",
	Doc:   "swap in use, by /proc/swaps",
	Kinds: []snapshot.Kind{swapDeclared},
	Tier:  source.Native,
	Read:  readSwaps,
})

var swapDeclared = snapshot.Kind{
	Name: swapKind,
	Doc:  "a swap area in use, known by its UUID, or its path where udev knows none.",
	Attrs: []snapshot.Attr{
		{Name: "type", Doc: "partition (any block device) or file"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "its size"},
		{Name: "priority", Doc: "its priority"},
		{Name: "path", Noise: snapshot.Evidence, Doc: "its path today"},
	},
	Rules: []snapshot.Rule{
		{Code: "swap-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassService, Message: "swap on {attr:path} is not in use, was", Hint: "swapon --show; swapon -a; look at its line in /etc/fstab"},
		{Code: "swap-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Share: 0.1, Severity: snapshot.Info, Class: snapshot.ClassService, Message: "swap on {attr:path} has {new}, had {old}"},
		{Code: "swap-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassService, Message: "swap on {attr:path} is new"},
	},
}

type swapArea struct {
	name, kind string
	bytes      int64
	priority   string
}

// parseSwaps reads /proc/swaps (mm/swapfile.c, swap_show): name, type, size in KiB, used, priority.
func parseSwaps(text string) []swapArea {
	var out []swapArea
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.HasPrefix(f[0], "/") {
			continue
		}
		kib, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil || kib < 0 || kib > 1<<52 {
			continue
		}
		out = append(out, swapArea{fstab.Unescape(f[0]), f[1], kib << 10, f[4]})
	}
	return out
}

// swaps are those in use: none where the kernel has no swap.
func swaps(ctx context.Context, root *sysfs.Root) []swapArea {
	text, _, err := readText(ctx, root, maxFile, "/proc/swaps")
	if err != nil {
		return nil
	}
	return parseSwaps(text)
}

func readSwaps(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	text, _, err := readText(ctx, h.Root, maxFile, "/proc/swaps")
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	for _, a := range parseSwaps(text) {
		s := snapshot.Subject{Kind: swapKind, ID: a.name, Label: a.name, Outcome: snapshot.Measured}
		node := nodeName(ctx, h.Root, a.name)
		if uuid := udevOf(ctx, h.Root, node)["ID_FS_UUID"]; uuid != "" {
			s.ID = "uuid:" + uuid
		} else if name, err := h.Root.Attr(ctx, "/sys/class/block", node, "dm/name"); node != "" && err == nil {
			s.ID = "dm:" + name
		}
		s.Set("type", snapshot.Text(a.kind))
		if !strings.HasPrefix(path.Base(a.name), "zram") { // its size follows the memory's, which the kernel may count anew
			s.Set("size_bytes", snapshot.Int(a.bytes))
		}
		s.Set("priority", snapshot.Text(a.priority))
		s.Set("path", snapshot.Text(a.name))
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b snapshot.Subject) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func itoa[T ~uint32 | ~uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }
func octal(n uint32) string                { return "0" + strconv.FormatUint(uint64(n), 8) }
