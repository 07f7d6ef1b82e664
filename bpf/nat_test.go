package bpf

import (
	"testing"
)

// A router's error about a packet to a backend reaches the client as one about
// the packet it sent, to the service.
func TestQuotedPacketIsTranslated(t *testing.T) {
	eachFamily(t, "medium", func(t *testing.T, d *datapath, fam family) {
		d.addService(fam.service(protoTCP, 80), service{ID: 7}, backend{Addr: ip(fam.backend), Port: port(8080), State: active})
		sent := d.expect(fam.frame(fam.client, fam.vip, protoTCP, tcp(40000, 80, syn)), passed)

		kind, proto, quoted := uint8(3), uint8(protoICMP), sent[14:14+20+8]
		if fam.version == 6 {
			kind, proto, quoted = 1, protoICMP6, sent[14:14+40+8]
		}
		router := map[uint8]string{4: "10.9.9.9", 6: "fd00:9::9"}[fam.version]
		out := d.expect(fam.frame(router, fam.client, proto, icmp(kind, 0, quoted)), passed)
		outer := parse(t, out)
		if outer.src != router || outer.dst != fam.client {
			t.Errorf("error from %s to %s, want %s to %s", outer.src, outer.dst, router, fam.client)
		}
		in := outer.l4[8:]
		if fam.version == 4 && sum(in[:20], 0) != 0xffff {
			t.Errorf("checksum of the quoted header is wrong")
		}
		dst, l4 := in[16:20], in[20:]
		if fam.version == 6 {
			dst, l4 = in[24:40], in[40:]
		}
		var got addr
		copy(got[:], dst)
		if got != ip(fam.vip) || be.Uint16(l4) != 40000 || be.Uint16(l4[2:]) != 80 {
			t.Errorf("quotes a packet to %v port %d, want %s port 80", dst, be.Uint16(l4[2:]), fam.vip)
		}
		other := fam.frame(fam.client, fam.backend, protoTCP, tcp(1, 2, syn))
		d.expect(fam.frame(router, fam.client, proto, icmp(kind, 0, other[14:14+len(quoted)])), dropCTInvalid)
	})
}

// The segment size of a SYN is lowered, never raised, wherever the option lies.
func TestSegmentSize(t *testing.T) {
	const limit = 1400
	tests := []struct {
		name    string
		options []byte
		at      int // of the value, in the options
		want    uint16
	}{
		{"larger", []byte{2, 4, 0x05, 0xb4, 4, 2}, 2, limit},
		{"smaller", []byte{2, 4, 0x02, 0x18}, 2, 536},
		{"at an odd offset", []byte{1, 2, 4, 0x05, 0xb4}, 3, limit},
		{"after others", []byte{4, 2, 2, 4, 0x05, 0xb4}, 4, limit},
	}
	eachFamily(t, "medium", func(t *testing.T, d *datapath, fam family) {
		d.configure(config{MSS: limit})
		for i, tt := range tests {
			frame := fam.frame(fam.client, fam.backend, protoTCP, tcp(uint16(100+i), 80, syn, tt.options...))
			out := parse(t, d.expect(frame, passed))
			if got := be.Uint16(out.l4[20+tt.at:]); got != tt.want {
				t.Errorf("%s: segment size %d, want %d", tt.name, got, tt.want)
			}
		}
	})
}

// RFC 6296: another prefix, and the checksums hold as they are.
func TestPrefixTranslation(t *testing.T) {
	eachSize(t, "large", func(t *testing.T, d *datapath) {
		d.configure(config{Flags: configPrefixNAT, PrefixIn: ip("fd01:203:405::"), PrefixOut: ip("2001:db8:1::")})
		packet := ip6{src: "fd01:203:405:1::1234", dst: "2001:db8:2::1", proto: protoTCP, payload: tcp(1, 2, syn)}
		frame := packet.frame()
		before := be.Uint16(frame[14+40+16:])
		out := parse(t, d.expect(frame, passed))
		// The example of RFC 6296, section 4.
		if want := "2001:db8:1:d550::1234"; out.src != want {
			t.Errorf("source %s, want %s", out.src, want)
		}
		if got := be.Uint16(out.l4[16:]); got != before {
			t.Errorf("checksum went from %#04x to %#04x", before, got)
		}
		packet.src = "fd01:203:406:1::1234"
		if out := parse(t, d.expect(packet.frame(), passed)); out.src != packet.src {
			t.Errorf("source %s of another prefix became %s", packet.src, out.src)
		}
	})
}

// UDP over IPv4 without a checksum stays without one.
func TestUDPWithoutChecksum(t *testing.T) {
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		fam := families[0]
		d.addService(fam.service(protoUDP, 53), service{ID: 3}, backend{Addr: ip(fam.backend), Port: port(5353), State: active})
		frame := ether(0x0800, ip4{src: fam.client, dst: fam.vip, proto: protoUDP, payload: udp(5000, 53, "query")}.bytes())
		out := d.expect(frame, passed)[14+20:]
		if check := be.Uint16(out[6:]); check != 0 || be.Uint16(out[2:]) != 5353 {
			t.Errorf("port %d, checksum %#04x; want 5353 and none", be.Uint16(out[2:]), check)
		}
	})
}

func TestLastHop(t *testing.T) {
	eachFamily(t, "small", func(t *testing.T, d *datapath, fam family) {
		frame := fam.frame(fam.client, fam.backend, protoTCP, tcp(1, 2, syn))
		want := dropIP6Header
		if fam.version == 4 {
			want = dropIP4Header
			frame[14+8] = 1
			be.PutUint16(frame[14+10:], 0)
			be.PutUint16(frame[14+10:], ^sum(frame[14:34], 0))
		} else {
			frame[14+7] = 1
		}
		d.expect(frame, want)
	})
}
