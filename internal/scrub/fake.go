package scrub

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
)

// longEnough is the length from which an identifier is one wherever it stands.
const longEnough = 8

// fake is what takes a value's place: of the same length, each character of the same sort.
// It depends on the key, the class and the value alone.
func (s *scrubber) fake(class Class, value string) string {
	for n := range 64 {
		out := fakeOf(class, value, s.stream(class, value, n))
		if out == value {
			continue
		}
		if class == Serial && s.o.Junk != nil && s.o.Junk(out) {
			continue // it would tell nothing, where the other told one device from the next
		}
		return out
	}
	return value // nothing in it can be replaced: "---"
}

// stream is a row of numbers without end.
func (s *scrubber) stream(class Class, value string, try int) func() byte {
	var block []byte
	n := 0
	return func() byte {
		if len(block) == 0 {
			h := hmac.New(sha256.New, s.o.Key)
			fmt.Fprintf(h, "%s\x00%s\x00%d\x00%d", class, strings.ToLower(value), try, n)
			block, n = h.Sum(nil), n+1
		}
		b := block[0]
		block = block[1:]
		return b
	}
}

func fakeOf(class Class, value string, next func() byte) string {
	switch class {
	case MAC:
		return fakeHex(value, next, 6) // the maker's part
	case UUID:
		return fakeUUID(value, next)
	case WWN:
		return fakeHex(value, next, makersDigits(value))
	case IP:
		return fakeIP(value, next)
	}
	return fakeText(value, next)
}

// fakeText replaces digits by digits and letters by letters. What consists of hexadecimal
// digits stays so.
func fakeText(value string, next func() byte) string {
	const lower, upper, digits = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	letters := len(lower)
	if isHex(strings.NewReplacer("-", "", ":", "", "_", "").Replace(value)) {
		letters = 6
	}
	out := []byte(value)
	for i, b := range out {
		switch {
		case b >= '0' && b <= '9':
			out[i] = digits[int(next())%10]
		case b >= 'a' && b <= 'z':
			out[i] = lower[int(next())%letters]
		case b >= 'A' && b <= 'Z':
			out[i] = upper[int(next())%letters]
		}
	}
	return string(out)
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == "" }

// fakeHex replaces all hexadecimal digits but the first few. value is in lower case.
func fakeHex(value string, next func() byte, stay int) string {
	out := []byte(value)
	for i := stay; i < len(out); i++ {
		out[i] = "0123456789abcdef"[next()%16]
	}
	return string(out)
}

// makersDigits is how many digits of a world-wide name say who made the thing: the
// name's form and the maker's number where the form is 5 or 6 (T10 SPC-4, 7.8.6.6), the
// form alone in a name that was given locally.
func makersDigits(value string) int {
	switch value[0] {
	case '5', '6':
		return 7
	case '3':
		return 1
	}
	return 6 // an EUI-64 begins with the maker's number
}

// fakeUUID replaces the digits of a UUID (without hyphens) but those of its version and its
// variant (RFC 9562, 4).
func fakeUUID(value string, next func() byte) string {
	if !isHex(value) { // LVM's have letters
		return fakeText(value, next)
	}
	out := []byte(fakeHex(value, next, 0))
	if len(value) == 32 {
		out[12], out[16] = value[12], value[16]
	}
	return string(out)
}

// fakeIP gives an address of the same sort: a private one for a private one and so on.
// Public ones go where tests of networks are done (RFC 2544, RFC 3849).
func fakeIP(value string, next func() byte) string {
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return value
	}
	if addr.Is4() {
		b := addr.As4()
		stay := 1
		switch {
		case b[0] == 10:
		case addr.IsPrivate(), addr.IsLinkLocalUnicast(): // 172.16/12 keeps its second number, too
			stay = 2
		default:
			b[0], b[1], stay = 198, 18+next()%2, 2
		}
		for i := stay; i < 4; i++ {
			b[i] = 1 + next()%254
		}
		return netip.AddrFrom4(b).String()
	}
	b := addr.As16()
	stay := 2
	if !addr.IsLinkLocalUnicast() && !addr.IsPrivate() {
		copy(b[:], []byte{0x20, 0x01, 0x0d, 0xb8})
		stay = 4
	}
	for i := stay; i < 16; i++ {
		if b[i] != 0 {
			b[i] = 1 + next()%255
		}
	}
	return netip.AddrFrom16(b).String()
}
