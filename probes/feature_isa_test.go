package probes

import (
	"encoding/binary"
	"testing"
)

// TestInstructionSetIsEncoded looks at the bytes: an instruction that lost its
// offset or immediate on the way is another one, which every kernel takes.
func TestInstructionSetIsEncoded(t *testing.T) {
	code := map[string][]byte{}
	for _, f := range instructionSet {
		code[f.name] = mustEncode(f.insns...)
	}
	code["addr_space_cast"] = addrSpaceCast()
	for _, tt := range []struct {
		name   string
		op     byte
		offset int16
		imm    int32
	}{
		{"v2_jlt", 0xa5, 1, 1}, {"v2_jle", 0xb5, 1, 1}, {"v2_jslt", 0xc5, 1, 1}, {"v2_jsle", 0xd5, 1, 1},
		{"v3_alu32", 0x04, 0, -7}, {"v3_jmp32", 0xa6, 1, 1},
		{"v4_sdiv", 0x37, 1, -3}, {"v4_smod", 0x97, 1, -3}, {"v4_bswap", 0xd7, 0, 32},
		{"v4_movsx", 0xbf, 8, 0}, {"v4_ldsx", 0x81, -8, 0}, {"v4_gotol", 0x06, 0, 0},
		{"atomic_add", 0xdb, -8, 0x00}, {"atomic_fetch_add", 0xdb, -8, 0x01}, {"atomic_and", 0xdb, -8, 0x50},
		{"atomic_xchg", 0xdb, -8, 0xe1}, {"atomic_cmpxchg", 0xdb, -8, 0xf1},
		{"load_acquire", 0xdb, -8, 0x100}, {"store_release", 0xdb, -8, 0x110},
		{"may_goto", 0xe5, 1, 0}, {"addr_space_cast", 0xbf, 1, 1},
	} {
		found := false
		for at := 0; at < len(code[tt.name]); at += 8 {
			insn := code[tt.name][at:]
			found = found || insn[0] == tt.op &&
				int16(binary.NativeEndian.Uint16(insn[2:])) == tt.offset && int32(binary.NativeEndian.Uint32(insn[4:])) == tt.imm
		}
		if !found {
			t.Errorf("%s: no instruction with opcode %#x, offset %d, immediate %#x in % x", tt.name, tt.op, tt.offset, tt.imm, code[tt.name])
		}
	}
}
