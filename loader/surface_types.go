package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// TypeInfo is a kernel's or a module's raw BTF, which is looked at in one pass: to make
// values of 100,000 types for the sake of some names would take ten times as long.
type TypeInfo struct {
	types, names []byte
	at           []uint32 // place of each type in types
	first        uint32   // id of the first one: 1, or what follows the base's
	nameBase     uint32   // where the own names begin: behind the base's
	base         *TypeInfo
}

// Layout of BTF (include/uapi/linux/btf.h): struct btf_header and struct btf_type.
const (
	typeInfoMagic  = 0xeb9f
	typeInfoHeader = 24
	typeInfoType   = 12
	maxTypeInfo    = 256 << 20
)

// Kinds of BTF by number, as the header names them.
var typeKinds = []string{"unknown", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile", "const", "restrict",
	"func", "func_proto", "var", "datasec", "float", "decl_tag", "type_tag", "enum64"}

const (
	rawInt = iota + 1
	rawPtr
	rawArray
	rawStruct
	rawUnion
	rawEnum
	rawForward
	rawTypedef
	rawVolatile
	rawConst
	rawRestrict
	rawFunc
	rawFuncProto
	rawVar
	rawDatasec
	rawFloat
	rawDeclTag
	rawTypeTag
	rawEnum64
)

// ReadTypeInfo reads raw BTF of this machine's byte order and keeps raw. base is the
// kernel's own where raw is of a module (split BTF), else nil.
func ReadTypeInfo(raw []byte, base *TypeInfo) (*TypeInfo, error) {
	if len(raw) < typeInfoHeader || len(raw) > maxTypeInfo {
		return nil, fmt.Errorf("read BTF: %d bytes", len(raw))
	}
	word := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(raw[at:])) }
	if binary.NativeEndian.Uint16(raw) != typeInfoMagic || raw[2] != 1 {
		return nil, fmt.Errorf("read BTF: magic %#x, version %d", binary.NativeEndian.Uint16(raw), raw[2])
	}
	section := func(off, length uint64) ([]byte, error) {
		from := word(4) + off
		if from+length > uint64(len(raw)) {
			return nil, errors.New("read BTF: a section lies outside of it")
		}
		return raw[from : from+length], nil
	}
	t := &TypeInfo{first: 1, base: base}
	var err error
	if t.types, err = section(word(8), word(12)); err != nil {
		return nil, err
	}
	if t.names, err = section(word(16), word(20)); err != nil {
		return nil, err
	}
	if base != nil {
		t.first, t.nameBase = base.first+uint32(len(base.at)), base.nameBase+uint32(len(base.names))
	}
	return t, t.index()
}

// index finds where each type begins.
func (t *TypeInfo) index() error {
	t.at = make([]uint32, 0, len(t.types)/24)
	for at := 0; at < len(t.types); {
		if len(t.types)-at < typeInfoType {
			return fmt.Errorf("read BTF: type %d is cut off", len(t.at)+1)
		}
		h := rawType(t.types[at:])
		size := typeInfoType + h.trailer()
		if size < typeInfoType || size > len(t.types)-at {
			return fmt.Errorf("read BTF: type %d of kind %d is cut off or not known", len(t.at)+1, h.kind())
		}
		t.at = append(t.at, uint32(at))
		at += size
	}
	return nil
}

// rawType is struct btf_type with what follows it.
type rawType []byte

func (r rawType) word(at int) uint32 { return binary.NativeEndian.Uint32(r[4*at:]) }
func (r rawType) name() uint32       { return r.word(0) }
func (r rawType) kind() uint32       { return r.word(1) >> 24 & 0x1f }
func (r rawType) vlen() int          { return int(r.word(1) & 0xffff) }
func (r rawType) ref() uint32        { return r.word(2) } // or the size

// trailer is how many bytes follow the header; negative where that is not known.
func (r rawType) trailer() int {
	switch r.kind() {
	case rawInt, rawVar, rawDeclTag:
		return 4
	case rawArray:
		return 12
	case rawStruct, rawUnion, rawDatasec, rawEnum64:
		return 12 * r.vlen()
	case rawEnum, rawFuncProto:
		return 8 * r.vlen()
	case rawPtr, rawForward, rawTypedef, rawVolatile, rawConst, rawRestrict, rawFunc, rawFloat, rawTypeTag:
		return 0
	}
	return -1
}

// typ is the type of that id, nil for void and what is not there.
func (t *TypeInfo) typ(id uint32) rawType {
	if id < t.first {
		if t.base == nil {
			return nil
		}
		return t.base.typ(id)
	}
	if i := id - t.first; i < uint32(len(t.at)) {
		return rawType(t.types[t.at[i]:])
	}
	return nil
}

// text is the name at that place, which may be of the base.
func (t *TypeInfo) text(at uint32) []byte {
	if at < t.nameBase {
		if t.base == nil {
			return nil
		}
		return t.base.text(at)
	}
	if at -= t.nameBase; at >= uint32(len(t.names)) {
		return nil
	}
	name := t.names[at:]
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	return name
}

// Function is a function of the kernel's, or a tracepoint as its prototype.
type Function struct {
	Prototype string
	// Tagged is set where the kernel's build marked it as one that programs may call.
	Tagged bool
}

// Functions finds functions, and tracepoints by the typedef btf_trace_NAME, by name. A
// name that is not there is not in the result.
func (t *TypeInfo) Functions(wanted map[string]bool) map[string]Function {
	found, tagged := map[string]Function{}, map[string]bool{}
	for i := range t.at {
		r := rawType(t.types[t.at[i]:])
		switch r.kind() {
		case rawFunc, rawTypedef:
			if n := t.text(r.name()); wanted[string(n)] {
				if _, twice := found[string(n)]; !twice {
					found[string(n)] = Function{Prototype: t.prototype(r)}
				}
			}
		case rawDeclTag: // before or behind what it is of: newer kernels' types are sorted
			if f := t.typ(r.ref()); f != nil && f.kind() == rawFunc && string(t.text(r.name())) == kfuncTag {
				tagged[string(t.text(f.name()))] = true
			}
		}
	}
	for n, f := range found {
		f.Tagged = tagged[n]
		found[n] = f
	}
	return found
}
