package hw

import (
	"context"
	"path"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

func readNetworkManager(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFolder(ctx, root, nmUses, ".nmconnection", "/etc/NetworkManager/system-connections")
}

// nmUses reads interface-name of a connection (nm-settings-keyfile(5)); that of a
// bridge, a bond or a VLAN is the name of what it makes.
func nmUses(_, text string) []mention {
	all := parseINI(text)
	var out []mention
	need := needBoot
	if lookup(all, "connection", "autoconnect") == "false" {
		need = needLater
	}
	real := slices.Contains([]string{"ethernet", "802-3-ethernet", "wifi", "802-11-wireless", "infiniband"}, lookup(all, "connection", "type"))
	for _, s := range all {
		switch {
		case s.section == "connection" && s.key == "interface-name" && real,
			s.section == "vlan" && s.key == "parent":
			out = append(out, mention{line: s.line, name: port(s.value), purpose: "connection " + lookup(all, "connection", "id"), need: need})
		}
	}
	return out
}

func readIfcfg(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFolder(ctx, root, ifcfgUses, "", "/etc/sysconfig/network-scripts")
}

// ifcfgUses reads DEVICE= of the initscripts' ifcfg files.
func ifcfgUses(file, text string) []mention {
	if !strings.HasPrefix(path.Base(file), "ifcfg-") {
		return nil
	}
	all := parseINI(text)
	unquoted := func(key string) string { return strings.Trim(lookup(all, "", key), `"'`) }
	if t := unquoted("TYPE"); t != "" && !strings.EqualFold(t, "ethernet") && !strings.EqualFold(t, "wireless") && !strings.EqualFold(t, "infiniband") {
		return nil
	}
	need := needBoot
	if strings.EqualFold(unquoted("ONBOOT"), "no") {
		need = needLater
	}
	purpose := "set up by ifcfg"
	for key, what := range map[string]string{"BRIDGE": "port of bridge ", "MASTER": "port of bond "} {
		if to := unquoted(key); to != "" {
			purpose = what + to
		}
	}
	var out []mention
	for _, s := range all {
		if s.key == "DEVICE" {
			out = append(out, mention{line: s.line, name: port(s.value), purpose: purpose, need: need})
		}
	}
	return out
}
