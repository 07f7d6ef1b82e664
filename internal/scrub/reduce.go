package scrub

import (
	"bytes"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"lastgood/internal/sysfs"
)

// binary is a kind of file that is no text and of which it is known what it holds.
type binary struct{ serials func([]byte) []string }

var binaries = map[string]binary{
	"dmi": {smbiosSerials},
	"vpd_pg80": {func(b []byte) []string {
		if len(b) < 4 || b[1] != 0x80 { // SPC-4, 7.8.15
			return nil
		}
		n := int(b[2])<<8 | int(b[3])
		return []string{string(b[4:min(4+n, len(b))])}
	}},
	"plain": {func([]byte) []string { return nil }},
}

// kindOf is the binary that a path holds, "" for a text or what nobody knows.
func kindOf(p string) string {
	base := path.Base(p)
	switch {
	case base == "vpd_pg80":
		return base
	case strings.HasPrefix(p, "/sys/firmware/dmi/entries/") && base == "raw":
		return "dmi"
	// The build-id, types, EFI's word on Secure Boot and the kernel's configuration name no host.
	case strings.HasPrefix(p, "/sys/kernel/btf/"), p == "/sys/kernel/notes", p == "/proc/config.gz", strings.HasPrefix(base, "SecureBoot-"), strings.HasPrefix(base, "SetupMode-"):
		return "plain"
	}
	return ""
}

// smbiosIDs are the places in an SMBIOS structure, by its type, of the numbers of
// strings that name one machine: serial numbers and asset tags (DSP0134, 7.2 to 7.5 and 7.18).
var smbiosIDs = map[byte][]int{1: {0x07}, 2: {0x07, 0x08}, 3: {0x07, 0x08}, 4: {0x20, 0x21}, 17: {0x18, 0x19}, 38: {}}

func smbiosSerials(raw []byte) []string {
	if len(raw) < 4 || int(raw[1]) > len(raw) {
		return nil
	}
	strs := bytes.Split(raw[raw[1]:], []byte{0})
	var out []string
	for _, at := range smbiosIDs[raw[0]] {
		if at < int(raw[1]) && raw[at] > 0 && int(raw[at]) <= len(strs) {
			out = append(out, string(strs[raw[at]-1]))
		}
	}
	return out
}

// reduce cuts an entry down to what readers need and nobody has to hide. It gives false for
// what must be left out: what is no text and of which it is not known what it holds.
func (s *scrubber) reduce(p string, e *sysfs.Entry) bool {
	switch kind := kindOf(p); {
	case kind == "dmi": // type 1 has the machine's UUID; no reader asks for it here
		_, known := smbiosIDs[e.Data[0]]
		return known && e.Data[0] != 1
	case kind != "":
		return true
	case strings.HasSuffix(p, "/environ"):
		e.Data = onlyContainer(e.Data)
		return true
	case strings.HasPrefix(p, "/sys/firmware/devicetree/"):
		return true // texts that end in zero bytes
	case !isText(e.Data):
		return false
	}
	if p == "/var/lib/dpkg/status" {
		e.Data = onlyVersions(e.Data)
	}
	if freeText(p) {
		e.Data = s.hide(secretSetting, e.Data)
	}
	if strings.HasPrefix(p, "/etc/") {
		e.Data = s.hide(secretLine, e.Data)
	}
	return true
}

// hide takes secrets out, and counts them.
func (s *scrubber) hide(secret *regexp.Regexp, text []byte) []byte {
	s.secrets += len(secret.FindAllIndex(text, -1))
	return secret.ReplaceAll(text, []byte("${1}scrubbed"))
}

func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(bytes.TrimRight(b, "\x00"), 0) < 0
}

// onlyContainer keeps the one variable that is asked for of the first process's environment.
func onlyContainer(env []byte) []byte {
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.HasPrefix(v, []byte("container=")) {
			return append(bytes.Clone(v), 0)
		}
	}
	return nil
}

// onlyVersions keeps the lines of dpkg's status file that say what is installed.
func onlyVersions(status []byte) []byte {
	var out []byte
	for line := range bytes.Lines(status) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "Package", "Status", "Version", "\n":
			out = append(out, line...)
		}
	}
	return out
}

// What nobody gives away: a password, a key, a token; as NAME=VALUE or "NAME: VALUE", and
// under /etc as a line of a name and a value too.
const secretNames = `(?:password|passwd|passphrase|psk|secret|private[_-]?key|preshared[_-]?key|api[_-]?key|auth[_-]?key|token|credential)s?`

var (
	secretSetting = regexp.MustCompile(`(?im)(\b(?:[a-z0-9_.-]*` + secretNames + `|username)["']?\s*[:=]\s*)("[^"\n]*"|'[^'\n]*'|[^\s,;#]+)`)
	secretLine    = regexp.MustCompile(`(?im)^(\s*[a-z0-9_.-]*` + secretNames + `[ \t]+)([^\s=:#].*)$`)
)
