package probes

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	btfPtr  = 2
	btfKind = 24      // where the kind stands in a type's info word
	btfFlag = 1 << 31 // the kind_flag bit
)

// btfKinds is the kinds of type information that came one by one, each in the
// smallest blob that has it. A loader that hands the kernel a kind it does not
// know must strip it, or its objects do not load.
var btfKinds = []struct {
	name, label string
	types       []uint32 // after type 1, an int
	names       string   // from offset 3 on, "x" standing at 1
}{
	{"base", "integers, pointers and structures", []uint32{
		0, btfPtr << btfKind, 1,
		1, btfStruct<<btfKind | 1, 4, 1, 1, 0}, ""},
	{"func", "functions", []uint32{
		0, btfFuncProto << btfKind, 0,
		1, btfFunc << btfKind, 2}, ""},
	{"func_global", "functions with a linkage", []uint32{
		0, btfFuncProto << btfKind, 0,
		1, btfFunc<<btfKind | 1, 2}, ""},
	{"datasec", "variables and data sections", []uint32{
		1, btfVar << btfKind, 1, 0,
		3, btfDatasec<<btfKind | 1, 4, 2, 0, 4}, ".data"},
	{"qmark_datasec", "optional data sections", []uint32{
		1, btfVar << btfKind, 1, 0,
		3, btfDatasec<<btfKind | 1, 4, 2, 0, 4}, "?.data"},
	{"float", "floating point numbers", []uint32{1, btfFloat << btfKind, 4}, ""},
	{"decl_tag", "declaration tags", []uint32{
		1, btfVar << btfKind, 1, 0,
		1, btfDeclTag << btfKind, 2, ^uint32(0)}, ""},
	{"type_tag", "type tags", []uint32{
		1, btfTypeTag << btfKind, 1,
		0, btfPtr << btfKind, 2}, ""},
	{"type_attribute", "type tags that are attributes", []uint32{
		1, btfTypeTag<<btfKind | btfFlag, 1,
		0, btfPtr << btfKind, 2}, ""},
	{"enum64", "64 bit enumerations", []uint32{1, btfEnum64<<btfKind | 1, 8, 1, 0, 1}, ""},
}

func btfFeatures() []feature {
	var out []feature
	for _, k := range btfKinds {
		out = append(out, feature{"btf/" + k.name, "type information: " + k.label, func(*censor) told {
			fd, errno, log := loadBTF(btfBlob(k.names, k.types...))
			if errno == 0 {
				unix.Close(fd)
			}
			return answerProgram(errno, log)
		}})
	}
	return out
}

// intBTF is type information with one type in it, an int.
func intBTF() []byte { return btfBlob("") }

// btfBlob makes type information of an int "x" (type 1) and further types.
func btfBlob(names string, types ...uint32) []byte {
	const intSigned = 1 << 24
	words := append([]uint32{1, btfInt << btfKind, 4, intSigned | 32}, types...)
	strings := "\x00x\x00" + names + "\x00"
	order := binary.NativeEndian
	b := order.AppendUint16(nil, btfMagic)
	b = append(b, 1, 0) // version, flags
	for _, w := range []uint32{btfHeader, 0, uint32(4 * len(words)), uint32(4 * len(words)), uint32(len(strings))} {
		b = order.AppendUint32(b, w)
	}
	for _, w := range words {
		b = order.AppendUint32(b, w)
	}
	return append(b, strings...)
}
