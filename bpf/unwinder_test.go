package bpf

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

// The structures of unwinder.bpf.c.
type (
	mapping struct {
		Begin, End, Bias uint64
		Table, Rows      uint32
	}
	process struct {
		Mappings, _ uint32
		At          [32]mapping
	}
	unwindRow struct {
		PC                  uint32
		CFA, BP             uint8
		CFAOffset, BPOffset int16
		_                   uint16
	}
	rowKey struct{ Table, Index uint32 }
	frame  struct {
		PC         uint64
		Table, Row uint32
	}
	stack struct {
		PidTgid         uint64
		Frames, Outcome uint32
		LastCFA         uint64
		At              [32]frame
	}
)

const (
	cfaEnd = iota
	cfaSP
	cfaBP
	cfaDerefSP
)

const bpAtCFA = 1

const (
	complete = iota
	noProcess
	noMapping
	noRow
	badRow
	badRead
	notUpwards
	tooDeep
)

// unwinding is an unwinder with a process of two mappings: a library whose function
// at 0x100 has a frame of two words above sp, one at 0x200 that keeps bp, and one at
// 0x300 that finds its frame behind a word of the stack; and a program that ends.
type unwinding struct {
	t     *testing.T
	coll  *ebpf.Collection
	regs  *kernelMemory
	stack []byte
	sp    uint64
}

func newUnwinding(t *testing.T, coll *ebpf.Collection) *unwinding {
	u := &unwinding{t: t, coll: coll, regs: newKernelMemory(t, 256)}
	u.stack, u.sp = userMemory(t, 4096)
	p := process{Mappings: 2}
	p.At[0] = mapping{Begin: 0x400000, End: 0x401000, Bias: 0x400000, Table: 1, Rows: 1}
	p.At[1] = mapping{Begin: 0x7f0000, End: 0x7f1000, Bias: 0x7f0000, Table: 2, Rows: 4}
	putMap(t, coll, "processes", uint32(os.Getpid()), &p)
	putMap(t, coll, "rows", rowKey{1, 0}, unwindRow{PC: 0, CFA: cfaEnd})
	for i, r := range []unwindRow{
		{PC: 0x100, CFA: cfaSP, CFAOffset: 2},
		{PC: 0x200, CFA: cfaBP, CFAOffset: 2, BP: bpAtCFA, BPOffset: -2},
		{PC: 0x300, CFA: cfaDerefSP, CFAOffset: 8},
		{PC: 0x400, CFA: 99},
	} {
		putMap(t, coll, "rows", rowKey{2, uint32(i)}, r)
	}
	return u
}

func (u *unwinding) put(word int, value uint64) {
	binary.LittleEndian.PutUint64(u.stack[8*word:], value)
}

func (u *unwinding) run(ip, sp, bp uint64) (uint32, stack) {
	u.t.Helper()
	at := u.regs.put(0, savedRegs(map[string]uint64{"ip": ip, "sp": sp, "bp": bp})...)
	u.regs.flush()
	outcome := runRaw(u.t, u.coll.Programs["unwind_user"], at)
	var s stack
	if err := u.coll.Maps["stacks"].Lookup(uint32(0), &s); err != nil {
		u.t.Fatal(err)
	}
	if s.Outcome != outcome || s.PidTgid>>32 != uint64(os.Getpid()) {
		u.t.Errorf("returned %d, kept %+v", outcome, s)
	}
	return outcome, s
}

func TestUnwind(t *testing.T) {
	eachObject(t, Unwinders(), func(t *testing.T, size string, coll *ebpf.Collection) {
		u := newUnwinding(t, coll)
		u.put(1, 0x400080) // above sp: returns to the program
		outcome, s := u.run(0x7f0110, u.sp, 0)
		if outcome != complete || s.Frames != 2 || s.At[0] != (frame{0x110, 2, 0}) || s.At[1] != (frame{0x7f, 1, 0}) || s.LastCFA != u.sp+16 {
			t.Errorf("outcome %d, %+v", outcome, s)
		}
		// The frame lies behind the word that the stack has one above sp.
		u.put(1, u.sp+64)
		u.put(7, 0x400080)
		if outcome, s = u.run(0x7f0300, u.sp, 0); outcome != complete || s.Frames != 2 || s.At[0].Row != 2 || s.LastCFA != u.sp+64 {
			t.Errorf("behind a word: outcome %d, %+v", outcome, s)
		}
		if size == "small" { // walks no more frames than these
			return
		}
		// sp + 2 words, then bp + 2 words with bp kept in its frame.
		u.put(1, 0x7f0220)
		u.put(10, 0xb0)
		u.put(11, 0x400080)
		outcome, s = u.run(0x7f0110, u.sp, u.sp+80)
		if outcome != complete || s.Frames != 3 || s.At[1] != (frame{0x21f, 2, 1}) || s.LastCFA != u.sp+96 {
			t.Errorf("through bp: outcome %d, %+v", outcome, s)
		}
	})
}

func TestUnwindGivesUp(t *testing.T) {
	eachObject(t, Unwinders(), func(t *testing.T, _ string, coll *ebpf.Collection) {
		u := newUnwinding(t, coll)
		for i := range len(u.stack) / 8 {
			u.put(i, 0x7f0110) // a function that calls itself for ever
		}
		for _, test := range []struct {
			name       string
			ip, sp, bp uint64
			want       uint32
		}{
			{"no mapping", 0x500000, u.sp, 0, noMapping},
			{"above all mappings", 0x7f1000, u.sp, 0, noMapping},
			{"before the first row", 0x7f0080, u.sp, 0, noRow},
			{"unknown rule", 0x7f0400, u.sp, 0, badRow},
			{"stack that cannot be read", 0x7f0110, 8, 0, badRead},
			{"frame below the one before", 0x7f0210, u.sp, 0x10, notUpwards},
			{"deeper than it walks", 0x7f0110, u.sp, 0, tooDeep},
		} {
			if got, _ := u.run(test.ip, test.sp, test.bp); got != test.want {
				t.Errorf("%s: outcome %d, want %d", test.name, got, test.want)
			}
		}
	})
}
