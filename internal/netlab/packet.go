package netlab

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Offsets in a frame of Ethernet, IPv4 without options and UDP, in bytes.
const (
	OffSourceMAC   = 6
	OffIPChecksum  = 14 + 10
	OffDestination = 14 + 16
	OffDestPort    = 14 + 20 + 2
	OffUDPChecksum = 14 + 20 + 6
	OffPayload     = 14 + 20 + 8
)

// UDP is a datagram in its frame.
type UDP struct {
	SourceMAC, DestMAC net.HardwareAddr
	Source, Dest       netip.AddrPort // IPv4
	Payload            []byte
}

// Frame is the datagram's bytes with both checksums, made by the rules of RFC 791 and
// RFC 768 and by no program of the kernel's.
func (u *UDP) Frame() []byte {
	b := make([]byte, 0, OffPayload+len(u.Payload))
	b = append(append(b, u.DestMAC...), u.SourceMAC...)
	b = binary.BigEndian.AppendUint16(b, 0x0800)
	src, dst := u.Source.Addr().As4(), u.Dest.Addr().As4()
	length := uint16(8 + len(u.Payload))
	ip := []byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], 20+length)
	ip = append(append(ip, src[:]...), dst[:]...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	udp := binary.BigEndian.AppendUint16(nil, u.Source.Port())
	udp = binary.BigEndian.AppendUint16(udp, u.Dest.Port())
	udp = binary.BigEndian.AppendUint16(udp, length)
	udp = append(append(udp, 0, 0), u.Payload...)
	pseudo := append(append([]byte{}, src[:]...), dst[:]...)
	pseudo = binary.BigEndian.AppendUint16(append(pseudo, 0, 17), length)
	sum := checksum(append(pseudo, udp...))
	if sum == 0 {
		sum = 0xffff // zero stands for "none"
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return append(append(b, ip...), udp...)
}

// checksum is the one's complement of the one's complement sum of 16-bit words.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		sum += word
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func nativeLittle() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }
