package scrub

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"strings"
)

// Shapes of identifiers that are one wherever they stand.
var (
	macShape  = regexp.MustCompile(`(?i)(?:[0-9a-f]{2}[:-]){5,19}[0-9a-f]{2}`)
	uuidShape = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	mdShape   = regexp.MustCompile(`(?i)[0-9a-f]{8}:[0-9a-f]{8}:[0-9a-f]{8}:[0-9a-f]{8}`)
	lvmShape  = regexp.MustCompile(`[0-9A-Za-z]{6}(?:-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}`)
	lvmPair   = regexp.MustCompile(`LVM-([0-9A-Za-z]{32})([0-9A-Za-z]{32})?`)
	luksShape = regexp.MustCompile(`(?i)CRYPT-[A-Z0-9]+-([0-9a-f]{32})`)
	wwnShape  = regexp.MustCompile(`(?i)(?:naa\.|eui\.|wwn-0x|scsi-3|mpath-3|0x(?:5))([0-9a-f]{15,32})`)
	enxShape  = regexp.MustCompile(`(?:enx|wlx)([0-9a-f]{12})`)
	shortUUID = regexp.MustCompile(`(?i)UUID=["']?([0-9a-f]{4}-[0-9a-f]{4}|[0-9a-f]{8})\b`) // vfat, and a DOS table's signature
	nvmeWWID  = regexp.MustCompile(`nvme\.[0-9a-f]{4}-([0-9a-f]{2,})-[0-9a-f]+-[0-9a-f]{8}`)
	ipShape   = regexp.MustCompile(`[0-9a-fA-F:.]*[:.][0-9a-fA-F:.]+`)
	// wordShape is what stands around a match: part of a longer word is no match.
	partOfWord = "0123456789abcdefABCDEF:"
)

// shapes finds identifiers by their shape in any text.
func (s *scrubber) shapes(text string) {
	each := func(re *regexp.Regexp, f func(string)) {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			if !cutOut(text, m[0], m[1]) {
				f(text[m[len(m)-2]:m[len(m)-1]])
			}
		}
	}
	each(macShape, s.mac)
	each(uuidShape, s.uuid)
	each(mdShape, s.uuid)
	each(lvmShape, s.uuid)
	each(wwnShape, func(v string) { s.wwn(v) })
	each(enxShape, s.mac)
	each(luksShape, s.uuid)
	for _, m := range lvmPair.FindAllStringSubmatch(text, -1) {
		s.uuid(m[1])
		s.uuid(m[2])
	}
	each(shortUUID, func(v string) { s.add(UUID, v, asWord) })
	for _, m := range nvmeWWID.FindAllStringSubmatch(text, -1) {
		if b, err := hex.DecodeString(m[1]); err == nil {
			s.serial(string(b))
		}
	}
}

// cutOut reports whether a match is but a part of a longer row of digits.
func cutOut(text string, from, to int) bool {
	return from > 0 && strings.IndexByte(partOfWord, text[from-1]) >= 0 && text[from-1] != ':' ||
		to < len(text) && strings.IndexByte(partOfWord, text[to]) >= 0 && text[to] != ':'
}

func (s *scrubber) mac(v string) {
	digits := strings.ToLower(strings.NewReplacer(":", "", "-", "").Replace(v))
	group := strings.HasPrefix(digits, "0180c2") || strings.HasPrefix(digits, "3333") || strings.HasPrefix(digits, "01005e")
	if len(digits) < 12 || group || strings.Trim(digits, "0") == "" || strings.Trim(digits, "f") == "" {
		return
	}
	s.add(MAC, digits, anywhere)
}

// wellKnown are UUIDs that are names of things, not of this thing: EFI's variables
// (UEFI 2.10, 3.3), and those of partitions' types (udev says which, see find.go).
var wellKnown = []string{"8be4df6193ca11d2aa0d00e098032b8c", "d719b2cb3d3a4596a3bcdad00e67656f", "605dab50e0464300abb63dd810dd8b23", "4a67b0820a4c41cfb6c7440b29bb8c4f"}

func (s *scrubber) uuid(v string) {
	digits := strings.NewReplacer(":", "", "-", "").Replace(v)
	if isHex(digits) {
		digits = strings.ToLower(digits)
	}
	if len(digits) != 32 || strings.Trim(digits, "0") == "" || strings.Trim(digits, "f") == "" {
		return
	}
	for _, k := range wellKnown {
		s.keep[k] = true
	}
	s.add(UUID, digits, anywhere)
}

func (s *scrubber) wwn(v string) {
	v = strings.ToLower(v)
	if len(v) == 15 { // the 5 stands before it
		v = "5" + v
	}
	if (len(v) == 16 || len(v) == 32) && strings.Trim(v, v[:1]) != "" {
		s.add(WWN, v, anywhere)
	}
}

// placeholders are what makers leave where a serial number belongs.
var placeholders = []string{"none", "n/a", "na", "unknown", "default string", "not specified", "not available", "not provided", "system serial number",
	"base board serial number", "chassis serial number", "to be filled by o.e.m.", "o.e.m.", "asset tag", "no asset tag", "no asset information", "invalid", "empty"}

func (s *scrubber) serial(v string) {
	v = strings.Trim(v, " \t\r\n\x00")
	low := strings.ToLower(v)
	for _, p := range placeholders {
		if low == p {
			return
		}
	}
	if v == "" || s.places[v] || s.o.Junk != nil && s.o.Junk(v) {
		return
	}
	if isHex(v) && (len(v) == 16 || len(v) == 32) && strings.Contains("56", v[:1]) { // a world-wide name in its place
		s.wwn(v)
		return
	}
	where := anywhere
	digit, letter := strings.ContainsAny(v, "0123456789"), strings.Trim(v, "0123456789") != ""
	switch {
	case !digit || len(v) < longEnough && !letter:
		where = inContext // a word, or a small number
	case len(v) < longEnough:
		where = asWord
	}
	s.add(Serial, v, where)
}

// addresses finds IP addresses. It is not for every text: versions look like them.
func (s *scrubber) addresses(text string) {
	for _, m := range ipShape.FindAllStringIndex(text, -1) {
		word := strings.TrimRight(text[m[0]:m[1]], ".:")
		if m[0] > 0 && alnum(text[m[0]-1]) || m[1] < len(text) && alnum(text[m[1]]) || ofVersion(text[:m[0]]) {
			continue
		}
		if strings.Count(word, ".") == 0 && strings.Count(word, ":") < 2 {
			continue
		}
		if host, _, ok := strings.Cut(word, ":"); ok && strings.Contains(host, ".") { // with a port
			word = host
		}
		if a, err := netip.ParseAddr(word); err == nil && names(a) {
			s.add(IP, word, asWord)
		}
	}
}

// names reports whether an address is somebody's: not this host's loop, none, a mask or a group.
func names(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return false
	}
	if a.Is4() {
		b := a.As4()
		return b[0] != 0 && b[0] < 224
	}
	return len(a.String()) >= len("fe80::1")
}

// ofVersion reports whether the word before says that a version follows.
func ofVersion(before string) bool {
	before = strings.ToLower(strings.TrimRight(before[max(0, len(before)-16):], " =:,("))
	for _, w := range []string{"version", "ver", "rev", "fw", "firmware", "release", "revision", "v"} {
		if strings.HasSuffix(before, w) {
			return true
		}
	}
	return false
}
