package hw

import (
	"context"
	"strings"

	"lastgood/internal/sysfs"
)

func readSmartdConf(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFiles(ctx, root, smartdUses, "/etc/smartd.conf", "/etc/smartmontools/smartd.conf")
}

// smartdUses reads smartd.conf(5): a line begins with a device, or with DEVICESCAN.
func smartdUses(_, text string) []mention {
	var out []mention
	eachLine(text, func(n int, line string) {
		name := strings.Fields(line)[0]
		if _, ok := baseOf(name, nil); ok && strings.HasPrefix(name, "/dev/") {
			out = append(out, mention{line: n, name: name, purpose: "watched by smartd", need: needWatch})
		}
	})
	return out
}
