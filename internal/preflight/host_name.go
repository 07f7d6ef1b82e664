package preflight

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func nameChecks() []Check {
	return []Check{
		{Code: "hostname-loopback", Title: "the host's name is not loopback only", Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Doc: "Proxmox's cluster file system does not start where the node's name leads to a loopback address, and all that needs it waits for ever.", Run: checkLoopback},
		{Code: "hostname-unresolved", Title: "the host's name stands in /etc/hosts", Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Doc: "Without it the name depends on a name server that may not answer so early.", Run: checkUnresolved},
		{Code: "hostname-foreign", Title: "the host's name leads to an address of this host", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "A name that leads to an address which no interface has sends services to another machine, or nowhere.", Run: checkForeign},
	}
}

// naming is what is known of the host's name.
type naming struct {
	name      string
	addresses []netip.Addr // by /etc/hosts
	proxmox   bool
}

func (n *naming) ref() snapshot.SubjectRef {
	return snapshot.SubjectRef{Kind: "host.name", ID: n.name}
}

func readNaming(ctx context.Context, root *sysfs.Root) (naming, []snapshot.Gap) {
	var n naming
	text, found, err := readText(ctx, root, "/etc/hostname")
	if err == nil && !found {
		text, found, err = readText(ctx, root, "/proc/sys/kernel/hostname")
	}
	if err != nil {
		return n, []snapshot.Gap{unread(err)}
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			n.name = line
			break
		}
	}
	if !found || n.name == "" {
		return n, []snapshot.Gap{gap("the host's name is not set in /etc/hostname")}
	}
	hosts, _, err := readText(ctx, root, "/etc/hosts")
	if err != nil {
		return n, []snapshot.Gap{unread(err)}
	}
	n.addresses = lookup(hosts, n.name)
	for _, mark := range []string{"/etc/pve", "/usr/bin/pvecm"} {
		there, err := root.Exists(ctx, mark)
		if err != nil {
			return n, []snapshot.Gap{unread(err)}
		}
		n.proxmox = n.proxmox || there
	}
	return n, nil
}

// lookup finds the addresses of a host in the text of /etc/hosts, by its whole name and by what is
// before the first dot, which is what Proxmox's daemons ask for.
func lookup(hosts, name string) []netip.Addr {
	short, _, _ := strings.Cut(name, ".")
	var out []netip.Addr
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		if slices.ContainsFunc(f[1:], func(n string) bool { return strings.EqualFold(n, name) || strings.EqualFold(n, short) }) {
			out = append(out, addr.Unmap())
		}
	}
	return out
}

func outside(addresses []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addresses), netip.Addr.IsLoopback)
}

func checkLoopback(ctx context.Context, h source.Host, _ Target) ([]snapshot.Finding, []snapshot.Gap) {
	n, gaps := readNaming(ctx, h.Root)
	if len(gaps) > 0 || len(n.addresses) == 0 || len(outside(n.addresses)) > 0 {
		return nil, gaps
	}
	f := snapshot.Finding{Subject: n.ref(), Evidence: fmt.Sprint(n.addresses), Message: fmt.Sprintf("%s leads to %s only, a loopback address", n.name, n.addresses[0]),
		Hint: "give the host's own address in /etc/hosts; see: getent ahosts " + n.name}
	if n.proxmox {
		f.Severity = snapshot.Critical
		f.Message += ": pve-cluster would not start, and the boot would hang on what waits for it"
	}
	return []snapshot.Finding{f}, nil
}

func checkUnresolved(ctx context.Context, h source.Host, _ Target) ([]snapshot.Finding, []snapshot.Gap) {
	n, gaps := readNaming(ctx, h.Root)
	if len(gaps) > 0 || len(n.addresses) > 0 {
		return nil, nil // checkLoopback reports what could not be read
	}
	f := snapshot.Finding{Subject: n.ref(), Message: n.name + " is not in /etc/hosts: only a name server can resolve it at boot", Hint: "add a line with the host's address and name to /etc/hosts; see: getent ahosts " + n.name}
	if n.proxmox {
		f.Severity = snapshot.Warning
	}
	return []snapshot.Finding{f}, nil
}

func checkForeign(ctx context.Context, h source.Host, _ Target) ([]snapshot.Finding, []snapshot.Gap) {
	n, gaps := readNaming(ctx, h.Root)
	addresses := outside(n.addresses)
	if len(gaps) > 0 || len(addresses) == 0 {
		return nil, nil // the other two checks speak of that
	}
	up, known, err := upAddresses(ctx, h.Root)
	if err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	conf, err := networkConfig(ctx, h.Root)
	if err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	for _, a := range addresses {
		if slices.Contains(up, a) || slices.Contains(conf, a) {
			return nil, nil
		}
	}
	if !known {
		return nil, []snapshot.Gap{gap("which addresses the host has: neither /proc/net/fib_trie nor a configuration tells")}
	}
	f := snapshot.Finding{Subject: n.ref(), Evidence: fmt.Sprintf("/etc/hosts %v, this host %v", addresses, up),
		Message: fmt.Sprintf("%s leads to %s, which no interface has or is configured to have", n.name, addresses[0]), Hint: "put an address of this host into /etc/hosts; see: ip -brief address"}
	if n.proxmox {
		f.Severity = snapshot.Critical
	}
	return []snapshot.Finding{f}, nil
}

// upAddresses are the host's own addresses on interfaces that are up: the local table holds no others
// (fib_disable_ip, net/ipv4/fib_frontend.c). known is false where neither table is there.
func upAddresses(ctx context.Context, root *sysfs.Root) (out []netip.Addr, known bool, err error) {
	v4, found4, err := readText(ctx, root, "/proc/net/fib_trie")
	if err != nil {
		return nil, false, err
	}
	v6, _, err := readText(ctx, root, "/proc/net/if_inet6")
	if err != nil {
		return nil, false, err
	}
	return append(parseFibTrie(v4), parseIfInet6(v6)...), found4, nil
}

// parseFibTrie finds the addresses with a "/32 host LOCAL" leaf.
func parseFibTrie(text string) []netip.Addr {
	var out []netip.Addr
	var last netip.Addr
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if leaf, ok := strings.CutPrefix(line, "|-- "); ok {
			last, _ = netip.ParseAddr(leaf) // the zero Addr is no address
		} else if line == "/32 host LOCAL" && last.IsValid() && !slices.Contains(out, last) {
			out = append(out, last)
		}
	}
	return out
}

// parseIfInet6 reads 32 hexadecimal digits at the start of each line.
func parseIfInet6(text string) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(text) {
		hex, _, _ := strings.Cut(line, " ")
		if len(hex) != 32 {
			continue
		}
		var groups []string
		for i := 0; i < 32; i += 4 {
			groups = append(groups, hex[i:i+4])
		}
		if a, err := netip.ParseAddr(strings.Join(groups, ":")); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// networkFolders hold the configurations of ifupdown, systemd-networkd, netplan and NetworkManager.
var networkFolders = []string{"/etc/network/interfaces.d", "/etc/systemd/network", "/etc/netplan", "/etc/NetworkManager/system-connections", "/etc/sysconfig/network-scripts"}

// networkConfig are all addresses that any network configuration speaks of. That one of them is a
// gateway's does no harm: a host's name does not lead there.
func networkConfig(ctx context.Context, root *sysfs.Root) ([]netip.Addr, error) {
	files := []string{"/etc/network/interfaces"}
	for _, dir := range networkFolders {
		names, err := listDir(ctx, root, dir)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			files = append(files, path.Join(dir, n))
		}
	}
	var out []netip.Addr
	for _, f := range files {
		text, _, err := readText(ctx, root, f)
		if err != nil && !isDir(err) {
			return nil, err
		}
		out = append(out, addressesIn(text)...)
	}
	return out, nil
}

// addressesIn finds addresses, with or without a prefix length, in the text of a configuration.
func addressesIn(text string) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for w := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n=,;[]\"'", r) }) {
			w, _, _ = strings.Cut(w, "/")
			if a, err := netip.ParseAddr(w); err == nil {
				out = append(out, a.Unmap())
			}
		}
	}
	return out
}
