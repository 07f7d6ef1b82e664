package loader

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func TestTrierProg(t *testing.T) {
	needBPF(t)
	trier := NewTrier()
	accepted := encode(t, returnZero())
	rejected := encode(t, asm.Instructions{asm.Mov.Reg(asm.R0, asm.R3), asm.Return()})

	for _, tt := range []struct {
		name  string
		prog  TryProg
		errno unix.Errno
		log   string
	}{
		{name: "accepted", prog: TryProg{Type: ebpf.SocketFilter, Insns: accepted, Name: "lg_try"}, log: "processed 2 insns"},
		{name: "rejected by the verifier", prog: TryProg{Type: ebpf.SocketFilter, Insns: rejected}, errno: unix.EACCES, log: "R3 !read_ok"},
		{name: "quiet", prog: TryProg{Type: ebpf.SocketFilter, Insns: rejected, Quiet: true}, errno: unix.EACCES},
		// The buffer still holds the log of a run before; an early refusal must not show it.
		{name: "refused early", prog: TryProg{Type: 9999, Insns: accepted}, errno: unix.EINVAL},
		{name: "no instructions", prog: TryProg{Type: ebpf.SocketFilter}, errno: unix.E2BIG},
		{name: "helper for GPL programs only", prog: TryProg{Type: ebpf.Kprobe, License: "Proprietary", Insns: encode(t, asm.Instructions{
			asm.FnGetCurrentTask.Call(), asm.Return()})}, errno: unix.EINVAL, log: "GPL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			errno, log := trier.Prog(tt.prog)
			if errno != tt.errno {
				t.Errorf("errno = %d (%v), want %d (%v)\n%s", errno, errno, tt.errno, tt.errno, log)
			}
			if !strings.Contains(log, tt.log) || tt.log == "" && log != "" {
				t.Errorf("log = %q, want it to contain %q", log, tt.log)
			}
		})
	}
}

func TestTrierMap(t *testing.T) {
	needBPF(t)
	trier := NewTrier()
	if errno := trier.Map(TryMap{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); errno != 0 {
		t.Errorf("array map: %v", errno)
	}
	if errno := trier.Map(TryMap{Type: ebpf.Array, KeySize: 3, ValueSize: 8, MaxEntries: 1}); errno != unix.EINVAL {
		t.Errorf("array map with 3 byte keys: %v, want EINVAL", errno)
	}
}

func TestEncodeInsnsAgreesWithAsm(t *testing.T) {
	insns := asm.Instructions{
		asm.Mov.Imm(asm.R0, -1),
		asm.LoadImm(asm.R1, 0x1122334455667788, asm.DWord),
		asm.LoadMem(asm.R2, asm.R10, -8, asm.Word),
		asm.StoreMem(asm.R10, -8, asm.R2, asm.DWord),
		asm.StoreXAdd(asm.R10, asm.R2, asm.DWord),
		asm.SDiv.Imm(asm.R0, 3),
		asm.MovSX8.Reg(asm.R0, asm.R2),
		asm.HostTo(asm.BE, asm.R0, asm.Word),
		asm.JEq.Imm32(asm.R0, 7, ""),
		asm.JNE.Reg(asm.R0, asm.R2, ""),
		asm.FnGetPrandomU32.Call(),
		asm.Return(),
	}
	sameAsMarshal(t, insns)
	for _, spec := range []*ebpf.ProgramSpec{jumps(300), frames(5), subprograms(20), loop(7)} {
		sameAsMarshal(t, spec.Instructions)
	}
}

func sameAsMarshal(t *testing.T, insns asm.Instructions) {
	t.Helper()
	got := encode(t, insns)
	var want bytes.Buffer
	if err := insns.Marshal(&want, nativeEndian); err != nil { // changes insns
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("EncodeInsns\n got % x\nwant % x", got, want.Bytes())
	}
}

// TestEncodeInsnsAtomics holds the constants of include/uapi/linux/bpf.h: BPF_XCHG,
// BPF_CMPXCHG and BPF_ADD|BPF_FETCH.
func TestEncodeInsnsAtomics(t *testing.T) {
	for op, want := range map[asm.AtomicOp]byte{asm.AddAtomic: 0x00, asm.FetchAdd: 0x01, asm.FetchXor: 0xa1, asm.Xchg: 0xe1, asm.CmpXchg: 0xf1} {
		raw := encode(t, asm.Instructions{op.Mem(asm.R10, asm.R1, asm.DWord, -8)})
		if got := binary.NativeEndian.Uint32(raw[4:]); got != uint32(want) {
			t.Errorf("%s: constant %#x, want %#x", op, got, want)
		}
	}
}

func TestEncodeInsnsResolvesSymbols(t *testing.T) {
	insns := asm.Instructions{
		asm.JEq.Imm(asm.R1, 0, "out"),
		asm.Mov.Imm(asm.R0, 1),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}
	if got := encode(t, insns)[2]; got != 1 {
		t.Errorf("jump offset = %d, want 1", got)
	}
	if insns[0].Offset != -1 {
		t.Errorf("the caller's instructions were changed")
	}
	for name, bad := range map[string]asm.Instructions{
		"jump to a missing symbol": {asm.Ja.Label("nowhere"), asm.Return()},
		"symbol that stands twice": {asm.Return().WithSymbol("a"), asm.Return().WithSymbol("a")},
		"jump too far":             append(append(asm.Instructions{asm.JEq.Imm(asm.R1, 0, "far")}, straight(40_000)...), asm.Return().WithSymbol("far")),
	} {
		if _, err := EncodeInsns(bad); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
}

func BenchmarkTrierProg(b *testing.B) {
	needBPF(b)
	trier := NewTrier()
	insns := encode(b, asm.Instructions{asm.FnMapLookupElem.Call(), asm.Return()})
	for b.Loop() {
		if errno, _ := trier.Prog(TryProg{Type: ebpf.SocketFilter, Insns: insns}); errno == 0 {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkTrierProgAccepted(b *testing.B) {
	needBPF(b)
	trier := NewTrier()
	insns := encode(b, returnZero())
	for b.Loop() {
		if errno, log := trier.Prog(TryProg{Type: ebpf.SocketFilter, Insns: insns}); errno != 0 {
			b.Fatal(errno, log)
		}
	}
}

func BenchmarkEncodeMillion(b *testing.B) {
	insns := straight(1_000_000)
	for b.Loop() {
		encode(b, insns)
	}
}
