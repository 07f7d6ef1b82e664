package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

const (
	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17
	protoICMP6 = 58

	fin = 1
	syn = 2
	rst = 4
	ack = 16
)

var be = binary.BigEndian

// ether puts an Ethernet header and VLAN tags (outermost first) before payload.
func ether(kind uint16, payload []byte, tags ...uint16) []byte {
	f := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	for _, id := range tags {
		f = be.AppendUint16(f, 0x8100)
		f = be.AppendUint16(f, id)
	}
	return append(be.AppendUint16(f, kind), payload...)
}

func pad(b []byte, to int) []byte { return append(b, make([]byte, (to-len(b)%to)%to)...) }

// ip4 is an IPv4 packet to be.
type ip4 struct {
	src, dst string
	proto    uint8
	options  []byte
	id, frag uint16
	payload  []byte
}

func (p ip4) bytes() []byte {
	opts := pad(bytes.Clone(p.options), 4)
	h := make([]byte, 20, 20+len(opts)+len(p.payload))
	h[0] = 0x40 | byte(5+len(opts)/4)
	be.PutUint16(h[2:], uint16(20+len(opts)+len(p.payload)))
	be.PutUint16(h[4:], p.id)
	be.PutUint16(h[6:], p.frag)
	h[8], h[9] = 64, p.proto
	copy(h[12:], netip.MustParseAddr(p.src).AsSlice())
	copy(h[16:], netip.MustParseAddr(p.dst).AsSlice())
	h = append(h, opts...)
	be.PutUint16(h[10:], ^sum(h, 0))
	return append(h, p.payload...)
}

func (p ip4) frame(tags ...uint16) []byte {
	seal(p.payload, p.proto, p.src, p.dst)
	return ether(0x0800, p.bytes(), tags...)
}

// ext is one extension header without its first byte; the rest is padded.
type ext struct {
	kind uint8
	body []byte // from the length byte on
}

// ip6 is an IPv6 packet to be.
type ip6 struct {
	src, dst string
	proto    uint8
	chain    []ext
	payload  []byte
}

func (p ip6) bytes() []byte {
	h := make([]byte, 40)
	h[0], h[7] = 0x60, 64
	copy(h[8:], netip.MustParseAddr(p.src).AsSlice())
	copy(h[24:], netip.MustParseAddr(p.dst).AsSlice())
	at := 6 // where the next protocol is to be named
	for _, e := range p.chain {
		h[at] = e.kind
		at = len(h)
		h = append(h, append([]byte{0}, e.body...)...)
	}
	h[at] = p.proto
	h = append(h, p.payload...)
	be.PutUint16(h[4:], uint16(len(h)-40))
	return h
}

func (p ip6) frame(tags ...uint16) []byte {
	seal(p.payload, p.proto, p.src, p.dst)
	return ether(0x86dd, p.bytes(), tags...)
}

func tcp(sport, dport uint16, flags byte, options ...byte) []byte {
	options = pad(options, 4)
	h := make([]byte, 20)
	be.PutUint16(h, sport)
	be.PutUint16(h[2:], dport)
	h[12], h[13] = byte(5+len(options)/4)<<4, flags
	return append(append(h, options...), "hello"...)
}

func udp(sport, dport uint16, data string) []byte {
	h := make([]byte, 8)
	be.PutUint16(h, sport)
	be.PutUint16(h[2:], dport)
	be.PutUint16(h[4:], uint16(8+len(data)))
	return append(h, data...)
}

func icmp(kind uint8, id uint16, data []byte) []byte {
	h := make([]byte, 8)
	h[0] = kind
	be.PutUint16(h[4:], id)
	return append(h, data...)
}

// sum is the ones' complement sum of RFC 1071, begun at start.
func sum(b []byte, start uint32) uint16 {
	s := uint64(start)
	for i, c := range b {
		s += uint64(c) << (8 * (1 - i%2))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// l4Sum is the sum over a transport segment and its pseudo header.
func l4Sum(segment []byte, proto uint8, src, dst []byte) uint16 {
	if proto == protoICMP {
		return sum(segment, 0)
	}
	return sum(segment, uint32(sum(src, 0))+uint32(sum(dst, 0))+uint32(proto)+uint32(len(segment)))
}

// checkAt is the offset of the checksum in a transport header, -1 for none.
func checkAt(proto uint8) int {
	at, ok := map[uint8]int{protoTCP: 16, protoUDP: 6, protoICMP: 2, protoICMP6: 2}[proto]
	if !ok {
		return -1
	}
	return at
}

// seal fills in the checksum of a whole segment.
func seal(segment []byte, proto uint8, src, dst string) {
	at := checkAt(proto)
	if at < 0 || len(segment) < at+2 {
		return
	}
	be.PutUint16(segment[at:], 0)
	be.PutUint16(segment[at:], ^l4Sum(segment, proto, netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()))
}

// parsed is an untagged frame without extension headers, taken apart.
type parsed struct {
	src, dst     string
	sport, dport uint16
	ttl          uint8
	l4           []byte
}

// parse takes frame apart and checks each checksum in it.
func parse(t *testing.T, frame []byte) (p parsed) {
	t.Helper()
	l3 := frame[14:]
	var src, dst []byte
	var proto uint8
	if l3[0]>>4 == 4 {
		words := int(l3[0]&0xf) * 4
		if got := sum(l3[:words], 0); got != 0xffff {
			t.Errorf("IPv4 header checksum: sum %#04x, want 0xffff", got)
		}
		p.ttl, proto, src, dst, p.l4 = l3[8], l3[9], l3[12:16], l3[16:20], l3[words:]
	} else {
		p.ttl, proto, src, dst, p.l4 = l3[7], l3[6], l3[8:24], l3[24:40], l3[40:]
	}
	if got := l4Sum(p.l4, proto, src, dst); got != 0xffff {
		t.Errorf("checksum of protocol %d: sum %#04x, want 0xffff", proto, got)
	}
	s, _ := netip.AddrFromSlice(src)
	d, _ := netip.AddrFromSlice(dst)
	p.src, p.dst = s.String(), d.String()
	p.sport, p.dport = be.Uint16(p.l4), be.Uint16(p.l4[2:])
	return p
}
