package bpf

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// family is what a service test needs to be run over IPv4 and IPv6.
type family struct {
	version                    uint8
	client, vip, backend, node string
	frame                      func(src, dst string, proto uint8, payload []byte) []byte
}

var families = []family{
	{4, "192.0.2.7", "198.51.100.1", "10.1.0.5", "203.0.113.9", func(src, dst string, proto uint8, payload []byte) []byte {
		return ip4{src: src, dst: dst, proto: proto, payload: payload}.frame()
	}},
	{6, "2001:db8:1::7", "2001:db8:ff::1", "fd00::5", "2001:db8:9::9", func(src, dst string, proto uint8, payload []byte) []byte {
		return ip6{src: src, dst: dst, proto: proto, payload: payload}.frame()
	}},
}

// eachFamily runs f for every size from least on, over IPv4 and over IPv6.
func eachFamily(t *testing.T, least string, f func(t *testing.T, d *datapath, fam family)) {
	for _, fam := range families {
		t.Run(fmt.Sprintf("v%d", fam.version), func(t *testing.T) {
			eachSize(t, least, func(t *testing.T, d *datapath) { f(t, d, fam) })
		})
	}
}

func (fam family) service(proto uint8, p uint16) serviceKey {
	return serviceKey{Addr: ip(fam.vip), Port: port(p), Proto: proto, Family: fam.version}
}

func (fam family) tuple(src, dst string, sport, dport uint16, proto uint8) tuple {
	return tuple{Src: ip(src), Dst: ip(dst), Sport: port(sport), Dport: port(dport), Proto: proto, Family: fam.version}
}

func expectEnds(t *testing.T, p parsed, src string, sport uint16, dst string, dport uint16) {
	t.Helper()
	got := fmt.Sprintf("%s %d > %s %d", p.src, p.sport, p.dst, p.dport)
	if want := fmt.Sprintf("%s %d > %s %d", src, sport, dst, dport); got != want {
		t.Errorf("packet came out as %s, want %s", got, want)
	}
}

// A connection to a service goes to a backend, its replies come from the service.
func TestService(t *testing.T) {
	eachFamily(t, "small", func(t *testing.T, d *datapath, fam family) {
		d.addService(fam.service(protoTCP, 80), service{ID: 7}, backend{Addr: ip(fam.backend), Port: port(8080), State: active})

		out := parse(t, d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(40000, 80, syn)), passed))
		expectEnds(t, out, fam.client, 40000, fam.backend, 8080)
		if out.ttl != 63 {
			t.Errorf("ttl %d, want 63", out.ttl)
		}
		if string(out.l4[20:]) != "hello" {
			t.Errorf("payload %q changed", out.l4[20:])
		}

		e := d.lastEvent()
		if e.CT != ctNew || e.Service != 7 || e.Reason != uint32(passed) || e.TCPFlags != syn || e.Nat != natDst {
			t.Errorf("event %+v", e)
		}
		forward := fam.tuple(fam.client, fam.vip, 40000, 80, protoTCP)
		if diff := cmp.Diff(forward, e.Tuple, cmp.AllowUnexported(tuple{})); diff != "" {
			t.Errorf("tuple of the event (-want +got):\n%s", diff)
		}
		c, ok := d.conn(forward)
		if !ok || c.NatAddr != ip(fam.backend) || c.NatPort != port(8080) || c.Service != 7 || c.Nat != natDst || c.Seen != syn {
			t.Errorf("connection %+v, found %v", c, ok)
		}
		r, ok := d.conn(fam.tuple(fam.backend, fam.client, 8080, 40000, protoTCP))
		if !ok || r.Reply != 1 || r.NatAddr != ip(fam.vip) || r.NatPort != port(80) || r.Nat != natSrc {
			t.Errorf("reply entry %+v, found %v", r, ok)
		}

		out = parse(t, d.expect(fam.frame(fam.backend, fam.client, protoTCP, tcp(8080, 40000, syn|ack)), passed))
		expectEnds(t, out, fam.vip, 80, fam.client, 40000)
	})
}

// A draining backend keeps the connections it has and gets no new ones.
func TestDrainingBackend(t *testing.T) {
	eachFamily(t, "small", func(t *testing.T, d *datapath, fam family) {
		key := fam.service(protoUDP, 53)
		d.addService(key, service{ID: 3}, backend{Addr: ip(fam.backend), State: active})
		d.expect(fam.frame(fam.client, fam.vip, protoUDP, udp(5000, 53, "query")), passed)

		d.addService(key, service{ID: 3}, backend{Addr: ip(fam.backend), State: draining})
		out := parse(t, d.expect(fam.frame(fam.client, fam.vip, protoUDP, udp(5000, 53, "again")), passed))
		expectEnds(t, out, fam.client, 5000, fam.backend, 53)
		d.expect(fam.frame(fam.client, fam.vip, protoUDP, udp(5001, 53, "query")), dropNoBackend)
		if c, _ := d.conn(fam.tuple(fam.client, fam.vip, 5000, 53, protoUDP)); c.Packets != 2 {
			t.Errorf("%d packets counted, want 2", c.Packets)
		}
	})
}

// Clients hidden behind the node share its address and not its ports.
func TestMasquerade(t *testing.T) {
	eachFamily(t, "small", func(t *testing.T, d *datapath, fam family) {
		c := config{PortMin: 30000, PortSpan: 1000, Snat6: ip("2001:db8:9::9")}
		c.Snat4 = [4]byte{203, 0, 113, 9}
		d.configure(c)
		d.addService(fam.service(protoTCP, 443), service{ID: 9, Flags: serviceMasq}, backend{Addr: ip(fam.backend), Port: port(8443), State: active})

		first := parse(t, d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(40000, 443, syn)), passed))
		expectEnds(t, first, fam.node, first.sport, fam.backend, 8443)
		if first.sport < 30000 || first.sport >= 31000 {
			t.Errorf("source port %d is not one of the node's", first.sport)
		}
		if e := d.lastEvent(); e.Nat != natDst|natMasq {
			t.Errorf("translation %#x in the event, want destination and source", e.Nat)
		}
		second := parse(t, d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(40000, 443, ack)), passed))
		if second.sport != first.sport {
			t.Errorf("source port %d, then %d", first.sport, second.sport)
		}
		reply := parse(t, d.expect(fam.frame(fam.backend, fam.node, protoTCP, tcp(8443, first.sport, syn|ack)), passed))
		expectEnds(t, reply, fam.vip, 443, fam.client, 40000)
	})
}

func TestMasqueradeWithoutFreePort(t *testing.T) {
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		fam := families[0]
		d.configure(config{Snat4: [4]byte{203, 0, 113, 9}, PortMin: 30000, PortSpan: 1})
		d.addService(fam.service(protoTCP, 443), service{ID: 9, Flags: serviceMasq}, backend{Addr: ip(fam.backend), State: active})
		d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(40000, 443, syn)), passed)
		d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(40001, 443, syn)), dropSNATPorts)
	})
}

// A client with affinity stays with its backend when the hash would choose others.
func TestAffinity(t *testing.T) {
	eachFamily(t, "medium", func(t *testing.T, d *datapath, fam family) {
		var slots []backend
		for i := range 16 {
			slots = append(slots, backend{Addr: ip(fam.backend), Port: port(uint16(9000 + i)), State: active})
		}
		d.addService(fam.service(protoTCP, 80), service{ID: 1, Flags: serviceAffinity, AffinityS: uint32(time.Hour.Seconds())}, slots...)
		d.addService(fam.service(protoTCP, 81), service{ID: 2}, slots...)
		sticky, spread := map[uint16]bool{}, map[uint16]bool{}
		for sport := range uint16(32) {
			sticky[parse(t, d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(1000+sport, 80, syn)), passed)).dport] = true
			spread[parse(t, d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(1000+sport, 81, syn)), passed)).dport] = true
		}
		if len(sticky) != 1 || len(spread) < 8 {
			t.Errorf("%d backends with affinity, want 1; %d without, want many", len(sticky), len(spread))
		}
	})
}

// The consistent hash table decides over the slots.
func TestConsistentHash(t *testing.T) {
	eachFamily(t, "small", func(t *testing.T, d *datapath, fam family) {
		lut := d.inner("luts")
		for i := range uint32(64) {
			if err := lut.Put(i, uint32(2)); err != nil {
				t.Fatal(err)
			}
		}
		d.put("luts", uint32(4), lut)
		var slots []backend
		for i := range 4 {
			slots = append(slots, backend{Addr: ip(fam.backend), Port: port(uint16(9000 + i)), State: active})
		}
		d.addService(fam.service(protoTCP, 80), service{ID: 4, Flags: serviceLUT}, slots...)
		for sport := range uint16(16) {
			out := parse(t, d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(1000+sport, 80, syn)), passed))
			expectEnds(t, out, fam.client, 1000+sport, fam.backend, 9002)
		}
	})
}

// More probes find the one backend that is fit.
func TestProbes(t *testing.T) {
	eachSize(t, "large", func(t *testing.T, d *datapath) {
		fam := families[0]
		slots := make([]backend, 8)
		for i := range slots {
			slots[i] = backend{Addr: ip(fam.backend), Port: port(uint16(9000 + i)), State: draining}
		}
		slots[6].State = active
		d.addService(fam.service(protoTCP, 80), service{ID: 4}, slots...)
		for sport := range uint16(16) {
			out := parse(t, d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(1000+sport, 80, syn)), passed))
			expectEnds(t, out, fam.client, 1000+sport, fam.backend, 9006)
		}
	})
}
