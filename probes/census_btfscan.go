package probes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// defaultBTF is where the kernel shows the type information of its own image.
const defaultBTF = "/sys/kernel/btf/vmlinux"

var (
	errNoBTF    = errors.New("this kernel has no type information")
	errNoTarget = errors.New("not in the kernel's type information")
)

// BTF kinds that are looked for or walked over (include/uapi/linux/btf.h).
const (
	btfInt       = 1
	btfArray     = 3
	btfStruct    = 4
	btfUnion     = 5
	btfEnum      = 6
	btfTypedef   = 8
	btfFunc      = 12
	btfFuncProto = 13
	btfVar       = 14
	btfDatasec   = 15
	btfFloat     = 16
	btfDeclTag   = 17
	btfTypeTag   = 18
	btfEnum64    = 19
)

// targetName is a type to find: its kind, its name and, for a structure, the
// member whose place is wanted.
type targetName struct {
	kind         uint32
	name, member string
}

func (n targetName) key() string { return n.name + "." + n.member }

// btfTarget is where a type was found.
type btfTarget struct {
	id     uint32
	member uint32 // place among the structure's members
}

const (
	btfMagic  = 0xeb9f
	btfHeader = 24 // struct btf_header
	btfType   = 12 // struct btf_type
	// btfChunk is how much is held at a time. The type information of a
	// distribution's kernel is 5 to 10 MiB, of which a dozen ids are wanted.
	btfChunk = 64 << 10
	// maxBTF bounds either section: far above any kernel's, below what overflows.
	maxBTF = 256 << 20
	// maxName is the kernel's limit of a symbol's name (KSYM_NAME_LEN).
	maxName = 512
)

// scanBTF finds types by name in raw type information without keeping it: one
// pass over the strings for the places of the names, one over the types for
// their ids. Types that are not there are not in the result, which is never nil;
// with an error it holds what was found before. The byte order must be this
// machine's.
func scanBTF(r io.ReaderAt, wanted []targetName) (map[string]btfTarget, error) {
	none := map[string]btfTarget{}
	var h [btfHeader]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		return none, fmt.Errorf("read BTF header: %w", err)
	}
	order := binary.NativeEndian
	if order.Uint16(h[0:]) != btfMagic || h[2] != 1 {
		return none, fmt.Errorf("read BTF header: magic %#x version %d", order.Uint16(h[0:]), h[2])
	}
	word := func(at int) int64 { return int64(order.Uint32(h[at:])) }
	head, typeOff, typeLen, strOff, strLen := word(4), word(8), word(12), word(16), word(20)
	if head < btfHeader || head > maxBTF || typeLen > maxBTF || strLen > maxBTF {
		return none, fmt.Errorf("read BTF header: sections of %d and %d bytes", typeLen, strLen)
	}
	names, err := findStrings(io.NewSectionReader(r, head+strOff, strLen), wanted)
	if err != nil {
		return none, err
	}
	w := btfWalk{names: names, wanted: wanted, found: none}
	return w.found, w.walk(io.NewSectionReader(r, head+typeOff, typeLen))
}

// findStrings returns the offset of each wanted name in a section of
// NUL-terminated strings.
func findStrings(r io.Reader, wanted []targetName) (map[uint32]string, error) {
	want := map[string]bool{}
	var length [maxName + 1]bool // spares most names the look into the map
	for _, n := range wanted {
		for _, s := range []string{n.name, n.member} {
			if s != "" && len(s) <= maxName {
				want[s], length[len(s)] = true, true
			}
		}
	}
	found := map[uint32]string{}
	buf := make([]byte, maxName+btfChunk)
	left := 0       // bytes of a name that is not whole yet
	at := uint32(0) // offset of buf[0]
	for {
		n, err := r.Read(buf[left:])
		rest := buf[:left+n]
		for {
			end := bytes.IndexByte(rest, 0)
			if end < 0 {
				break
			}
			if end <= maxName && length[end] && want[string(rest[:end])] {
				found[at] = string(rest[:end])
			}
			at += uint32(end + 1)
			rest = rest[end+1:]
		}
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read BTF strings: %w", err)
		}
		if len(rest) > maxName {
			return nil, fmt.Errorf("read BTF strings: a name longer than %d bytes at offset %d", maxName, at)
		}
		left = copy(buf, rest)
	}
}
