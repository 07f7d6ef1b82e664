package hw

import (
	"context"
	"errors"
	"strings"

	"lastgood/internal/sysfs"
)

const networkFolder = "/etc/systemd/network"

func readNetworkd(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	networks, err := inFolder(ctx, root, networkUnit, ".network", networkFolder)
	links, err2 := inFolder(ctx, root, linkUnit, ".link", networkFolder)
	return append(networks, links...), errors.Join(err, err2)
}

// networkUnit reads the names that [Match] of a .network file takes (systemd.network(5)); a
// pattern is no name.
func networkUnit(_, text string) []mention {
	var out []mention
	all := parseINI(text)
	purpose := "set up by systemd-networkd"
	for _, key := range []string{"Bridge", "Bond"} {
		if to := lookup(all, "Network", key); to != "" {
			purpose = "port of " + strings.ToLower(key) + " " + to
		}
	}
	for _, s := range all {
		if s.section != "Match" || s.key != "Name" || strings.HasPrefix(s.value, "!") {
			continue
		}
		for _, name := range strings.Fields(s.value) {
			out = append(out, mention{line: s.line, name: port(name), purpose: purpose, need: needBoot})
		}
	}
	return out
}

// linkUnit reads what a .link file matches an interface by (systemd.link(5)): the name that the
// kernel gave it, or its place. The interface then bears the name that the file gives.
func linkUnit(_, text string) []mention {
	var out []mention
	all := parseINI(text)
	gives := lookup(all, "Link", "Name")
	purpose := "settings of the link"
	if gives != "" {
		purpose = "to be called " + gives
	}
	for _, s := range all {
		if s.section != "Match" {
			continue
		}
		for _, word := range strings.Fields(s.value) {
			switch {
			case strings.HasPrefix(word, "!") || strings.ContainsAny(word, "*?["):
			case s.key == "OriginalName":
				out = append(out, mention{line: s.line, name: port(word), now: gives, purpose: purpose, need: needBoot})
			case s.key == "Path" && strings.HasPrefix(word, "pci-"):
				out = append(out, mention{line: s.line, name: word, purpose: purpose, need: needBoot})
			}
		}
	}
	return out
}

// pinnedNames are the interfaces' names that .link files give.
func pinnedNames(ctx context.Context, root *sysfs.Root) (map[string]bool, error) {
	files, err := listed(ctx, root, networkFolder, ".link")
	names, errs := map[string]bool{}, []error{err}
	for _, f := range files {
		text, err := readConfig(ctx, root, f)
		errs = append(errs, err)
		if n := lookup(parseINI(text), "Link", "Name"); n != "" {
			names[n] = true
		}
	}
	return names, errors.Join(errs...)
}
