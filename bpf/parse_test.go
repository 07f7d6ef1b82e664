package bpf

import (
	"slices"
	"testing"
)

// limits.h, as far as a packet can tell.
var (
	maxVLANs   = map[string]int{"small": 1, "medium": 2, "large": 3}
	maxExtHdrs = map[string]int{"small": 1, "medium": 3, "large": 4}
)

func TestVLAN(t *testing.T) {
	tags := []uint16{0x8000 | 100, 200, 300, 400} // the priority is no part of the number
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		packet := ip4{src: "192.0.2.7", dst: "192.0.2.8", proto: protoTCP, payload: tcp(1, 2, syn)}
		n := maxVLANs[d.size]
		d.expect(packet.frame(tags[:n]...), passed)
		if e := d.lastEvent(); int(e.VLANs) != n || e.VLAN != tags[n-1]&0xfff {
			t.Errorf("%d tags, innermost %d; want %d and %d", e.VLANs, e.VLAN, n, tags[n-1]&0xfff)
		}
		d.expect(packet.frame(tags[:n+1]...), dropVLANDepth)
	})
}

// Hop-by-hop options with a router alert, destination options with padding only,
// a routing header that is used up, an authentication header, an atomic fragment.
var (
	hopByHop    = ext{0, []byte{0, 5, 2, 0, 0, 1, 0}}
	destination = ext{60, []byte{0, 1, 4, 0, 0, 0, 0}}
	routing     = ext{43, []byte{0, 2, 0, 0, 0, 0, 0}}
	authentic   = ext{51, make([]byte, 11)}
	atomic      = ext{44, []byte{0, 0, 0, 0, 0, 0, 9}}
)

func TestExtensionHeaders(t *testing.T) {
	authentic.body[0] = 1 // (1+2) words
	all := []ext{hopByHop, routing, authentic, destination, atomic}
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		n := maxExtHdrs[d.size]
		packet := ip6{src: "2001:db8::1", dst: "2001:db8::2", proto: protoUDP, chain: all[:n], payload: udp(1111, 2222, "data")}
		d.expect(packet.frame(), passed)
		e := d.lastEvent()
		if e.Tuple.Proto != protoUDP || e.Tuple.Sport != port(1111) || e.Tuple.Dport != port(2222) {
			t.Errorf("event of %+v", e.Tuple)
		}
		if e.Flags&8 == 0 {
			t.Errorf("flags %#x without router alert", e.Flags)
		}
		packet.chain = all[:n+1]
		d.expect(packet.frame(), dropIP6Chain)
	})
}

func TestExtensionHeaderOrder(t *testing.T) {
	used := routing
	used.body = slices.Clone(routing.body)
	used.body[2] = 1 // a segment is left
	jumbo := ext{0, []byte{0, 0xc2, 4, 0, 1, 0, 0}}
	tests := []struct {
		name  string
		chain []ext
		want  reason
	}{
		{"in order", []ext{hopByHop, destination, routing}, passed},
		{"destination options twice", []ext{destination, routing, destination}, passed},
		{"destination options thrice", []ext{destination, destination, destination}, dropIP6Chain},
		{"hop-by-hop not first", []ext{destination, hopByHop}, dropIP6Chain},
		{"routing twice", []ext{routing, routing}, dropIP6Chain},
		{"routing with segments left", []ext{used}, dropIP6Chain},
		{"jumbo", []ext{jumbo}, dropIP6Option},
		{"option past its header", []ext{{60, []byte{0, 1, 40, 0, 0, 0, 0}}}, dropIP6Option},
		{"header past the packet", []ext{{60, []byte{200, 1, 4, 0, 0, 0, 0}}}, dropShort},
	}
	eachSize(t, "medium", func(t *testing.T, d *datapath) {
		for _, tt := range tests {
			packet := ip6{src: "2001:db8::1", dst: "2001:db8::2", proto: protoTCP, chain: tt.chain, payload: tcp(1, 2, syn)}
			if _, got := d.run(packet.frame()); got != tt.want {
				t.Errorf("%s: reason %d, want %d", tt.name, got, tt.want)
			}
		}
	})
}

func TestReasons(t *testing.T) {
	v4 := func(edit func(*ip4)) []byte {
		p := ip4{src: "192.0.2.7", dst: "192.0.2.8", proto: protoTCP, payload: tcp(1, 2, syn)}
		edit(&p)
		return p.frame()
	}
	whole := v4(func(*ip4) {})
	broken := func(at int, value byte) []byte {
		f := slices.Clone(whole)
		f[at] = value
		return f
	}
	tests := []struct {
		name  string
		frame []byte
		want  reason
	}{
		{"ARP", ether(0x0806, make([]byte, 28)), passedUntracked},
		{"TCP", whole, passed},
		{"half a VLAN tag", ether(0x8100, []byte{0, 1}), dropShort},
		// Tagged, because the kernel refuses test runs of broken IP packets it can see.
		{"half an IPv4 header", ether(0x0800, whole[14:24], 9), dropShort},
		{"packet shorter than it says", whole[:40], dropShort},
		{"half an IPv6 header", ether(0x86dd, make([]byte, 20), 9), dropShort},
		{"half a TCP header", v4(func(p *ip4) { p.payload = tcp(1, 2, syn)[:12] }), dropShort},
		{"version 5", broken(14, 0x55), dropIP4Header},
		{"header of 16 bytes", broken(14, 0x44), dropIP4Header},
		{"checksum", broken(25, whole[25]^1), dropIP4Checksum},
		{"version of IPv6", ether(0x86dd, make([]byte, 60)), dropIP6Header},
		{"record route", v4(func(p *ip4) { p.options = []byte{7, 7, 4, 0, 0, 0, 0, 0} }), passed},
		{"loose source route", v4(func(p *ip4) { p.options = []byte{131, 7, 4, 1, 2, 3, 4, 0} }), dropIP4Option},
		{"option past the header", v4(func(p *ip4) { p.options = []byte{7, 9, 4, 0} }), dropIP4Option},
		{"router alert", v4(func(p *ip4) { p.options = []byte{148, 4, 0, 0} }), passed},
		{"SYN and FIN", v4(func(p *ip4) { p.payload = tcp(1, 2, syn|fin) }), dropTCPFlags},
		{"no flags", v4(func(p *ip4) { p.payload = tcp(1, 2, 0) }), dropTCPFlags},
		{"middle of nothing", v4(func(p *ip4) { p.payload = tcp(7, 8, ack) }), dropCTInvalid},
		{"UDP longer than the packet", v4(func(p *ip4) { p.proto, p.payload = protoUDP, append(udp(1, 2, "")[:5], 99, 0, 0) }), dropL4Header},
		{"echo", v4(func(p *ip4) { p.proto, p.payload = protoICMP, icmp(8, 77, nil) }), passed},
		{"ICMPv6 over IPv4", v4(func(p *ip4) { p.proto, p.payload = protoICMP6, icmp(128, 77, nil) }), dropL4Header},
		{"router solicitation", ip6{src: "fe80::1", dst: "fe80::2", proto: protoICMP6, payload: icmp(133, 0, nil)}.frame(), passedUntracked},
		{"GRE", v4(func(p *ip4) { p.proto = 47 }), passed},
	}
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		for _, tt := range tests {
			if _, got := d.run(tt.frame); got != tt.want {
				t.Errorf("%s: reason %d, want %d", tt.name, got, tt.want)
			}
			if tt.want > passedUntracked {
				if e := d.lastEvent(); reason(e.Reason) != tt.want || int(e.Len) != len(tt.frame) {
					t.Errorf("%s: event of reason %d over %d bytes", tt.name, e.Reason, e.Len)
				}
			}
		}
	})
}

// A later fragment has no ports; it gets those of the first, if that came by.
func TestFragments(t *testing.T) {
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		first := ip4{src: "192.0.2.7", dst: "192.0.2.8", proto: protoUDP, id: 5, frag: 0x2000, payload: udp(1111, 2222, "first bytes.....")}
		later := ip4{src: "192.0.2.7", dst: "192.0.2.8", proto: protoUDP, id: 5, frag: 3}.bytes()
		later = append(later, "later"...)
		be.PutUint16(later[2:], uint16(len(later)))
		be.PutUint16(later[10:], 0)
		be.PutUint16(later[10:], ^sum(later[:20], 0))

		d.expect(ether(0x0800, later), dropFragment)
		d.expect(first.frame(), passed)
		d.expect(ether(0x0800, later), passed)
		c, ok := d.conn(tuple{Src: ip("192.0.2.7"), Dst: ip("192.0.2.8"), Sport: port(1111), Dport: port(2222), Proto: protoUDP, Family: 4})
		if !ok || c.Packets != 2 {
			t.Errorf("connection %+v, found %v; want both fragments in it", c, ok)
		}
	})
}

func TestFragments6(t *testing.T) {
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		fragment := func(offset uint16, more byte, payload []byte) []byte {
			body := []byte{0, byte(offset * 8 >> 8), byte(offset*8) | more, 0, 0, 0, 42}
			return ip6{src: "2001:db8::1", dst: "2001:db8::2", proto: protoUDP, chain: []ext{{44, body}}, payload: payload}.frame()
		}
		later := fragment(3, 0, []byte("later"))
		d.expect(later, dropFragment)
		d.expect(fragment(0, 1, udp(1111, 2222, "first bytes.....")), passed)
		d.expect(later, passed)
	})
}
