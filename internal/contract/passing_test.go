package contract

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestPassingPort: the ports that rpc.statd finds free and that a resolver asks from are others at the next boot.
func TestPassingPort(t *testing.T) {
	at := func(proto, addr string) socket { return socket{proto: proto, addr: netip.MustParseAddrPort(addr)} }
	all := []socket{at("tcp", "127.0.0.1:5335"), at("tcp", "0.0.0.0:53")}
	for _, c := range []struct {
		s       socket
		process string
		passing bool
	}{
		{at("udp", "127.0.0.1:852"), "rpc.statd", true},
		{at("udp", "0.0.0.0:768"), "rpcbind", true},
		{at("udp", "0.0.0.0:111"), "rpcbind", false},
		{at("tcp", "0.0.0.0:20048"), "rpc.mountd", false},
		{at("udp", "0.0.0.0:17823"), "unbound", true},
		{at("udp", "0.0.0.0:53"), "unbound", false},
		{at("udp", "127.0.0.1:5335"), "unbound", false}, // it serves there
		{at("tcp", "127.0.0.1:8953"), "unbound", false},
		{at("udp", "0.0.0.0:17289"), "dhclient", true},
		{at("udp", "0.0.0.0:68"), "dhclient", false},
		{at("tcp", "0.0.0.0:631"), "cupsd", false},
		{at("udp", "0.0.0.0:8472"), "", false},
	} {
		if have := passingPort(&c.s, c.process, all); have != c.passing {
			t.Errorf("%s %s of %s: passing %v", c.s.proto, c.s.addr, c.process, have)
		}
	}
}

// TestFloatingAddress: a virtual address beside the host's own may be on another host tomorrow; a cloud's only one is the host's own.
func TestFloatingAddress(t *testing.T) {
	addr := func(link int, cidr string) netlink.Addr {
		ip, n, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		n.IP = ip
		return netlink.Addr{IPNet: n, LinkIndex: link}
	}
	all := []netlink.Addr{addr(2, "192.0.2.5/24"), addr(2, "192.0.2.9/32"), addr(3, "198.51.100.7/32"), addr(4, "fe80::1/64"), addr(4, "2001:db8::9/128"),
		addr(5, "2001:db8:1::5/64"), addr(5, "2001:db8:1::9/128"), addr(5, "203.0.113.1/32"), {LinkIndex: 6}}
	for i, want := range []bool{false, true, false, false, false, false, true, false, false} {
		if have := floats(&all[i], all); have != want {
			t.Errorf("%v floats: %v, want %v", all[i].IPNet, have, want)
		}
	}
}
