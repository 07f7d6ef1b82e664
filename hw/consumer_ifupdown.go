package hw

import (
	"context"
	"errors"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

func readIfupdown(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	main, err := inFiles(ctx, root, ifupdownUses, "/etc/network/interfaces")
	more, err2 := inFolder(ctx, root, ifupdownUses, "", "/etc/network/interfaces.d")
	return append(main, more...), errors.Join(err, err2)
}

// portKeys are the options of an interface that name others.
var portKeys = map[string]string{
	"bridge_ports": "port of bridge ", "bond_slaves": "port of bond ", "slaves": "port of bond ", "bond_primary": "primary port of bond ",
	"vlan_raw_device": "beneath VLAN ", "ovs_ports": "port of ", "ovs_bonds": "port of ",
}

// ifupdownUses reads interfaces(5): one mention for each interface, the first of what binds it
// to others before what merely sets it up: an interface without an address of its own is
// named twice on a host of bridges, and is one use.
func ifupdownUses(_, text string) []mention {
	var ports, plain []mention
	auto := map[string]bool{}
	iface := ""
	eachLine(text, func(n int, line string) {
		f := strings.Fields(line)
		key := strings.ReplaceAll(f[0], "-", "_")
		switch {
		case (key == "auto" || strings.HasPrefix(key, "allow_")):
			for _, name := range f[1:] {
				auto[name] = true
			}
		case key == "iface" && len(f) > 1:
			iface = f[1]
			plain = append(plain, mention{line: n, name: port(iface), purpose: "set up by ifupdown", need: iface})
		case portKeys[key] != "":
			for _, name := range f[1:] {
				ports = append(ports, mention{line: n, name: port(name), purpose: portKeys[key] + iface, need: iface})
			}
		}
	})
	var out []mention
	for _, m := range slices.Concat(ports, plain) {
		if slices.ContainsFunc(out, func(o mention) bool { return o.name == m.name }) {
			continue
		}
		if auto[m.need] || m.need == "" {
			m.need = needBoot
		} else {
			m.need = needLater
		}
		out = append(out, m)
	}
	return out
}
