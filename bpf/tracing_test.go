package bpf

import (
	"encoding/binary"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// kernelMemory is memory of the kernel's that a test fills: the value of an array,
// whose address a small program tells.
type kernelMemory struct {
	t     *testing.T
	array *ebpf.Map
	base  uint64
	bytes []byte
}

func newKernelMemory(t *testing.T, size int) *kernelMemory {
	t.Helper()
	array, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { array.Close() })
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.RawTracepoint, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.LoadMapValue(asm.R1, array.FD(), 0),
			asm.StoreMem(asm.R1, 0, asm.R1, asm.DWord), // its own address into its first word
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	runRaw(t, prog)
	m := &kernelMemory{t: t, array: array, bytes: make([]byte, size)}
	if err := array.Lookup(uint32(0), m.bytes); err != nil {
		t.Fatal(err)
	}
	m.base = binary.LittleEndian.Uint64(m.bytes)
	if m.base == 0 {
		t.Fatal("the map's address is not known")
	}
	clear(m.bytes)
	return m
}

// put writes words at off and returns their address.
func (m *kernelMemory) put(off int, words ...uint64) uint64 {
	for i, w := range words {
		binary.LittleEndian.PutUint64(m.bytes[off+8*i:], w)
	}
	return m.base + uint64(off)
}

// flush makes what was put visible to programs.
func (m *kernelMemory) flush() {
	m.t.Helper()
	if err := m.array.Put(uint32(0), m.bytes); err != nil {
		m.t.Fatal(err)
	}
}

// runRaw runs a raw tracepoint program with these arguments.
func runRaw(t *testing.T, prog *ebpf.Program, args ...uint64) uint32 {
	t.Helper()
	ctx := make([]uint64, 6)
	copy(ctx, args)
	ret, err := prog.Run(&ebpf.RunOptions{Context: ctx})
	if err != nil {
		t.Fatalf("test run: %v", err)
	}
	return ret
}

// userMemory is memory of this process that stays where it is.
func userMemory(t *testing.T, size int) ([]byte, uint64) {
	t.Helper()
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	return b, uint64(uintptr(unsafe.Pointer(&b[0])))
}

// savedRegs is struct saved_regs of headers/tracing.h.
func savedRegs(set map[string]uint64) []uint64 {
	order := []string{"r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip", "cs", "flags", "sp", "ss"}
	out := make([]uint64, len(order))
	for i, name := range order {
		out[i] = set[name]
	}
	return out
}

func putMap(t *testing.T, coll *ebpf.Collection, name string, key, value any) {
	t.Helper()
	if err := coll.Maps[name].Put(key, value); err != nil {
		t.Fatalf("put into %s: %v", name, err)
	}
}

// eachObject runs f for every size of a program.
func eachObject(t *testing.T, objects []Object, f func(t *testing.T, size string, coll *ebpf.Collection)) {
	needBPF(t)
	for _, o := range objects {
		t.Run(o.Name, func(t *testing.T) { f(t, o.Name, loadObject(t, o)) })
	}
}

// standalone are the programs that stand on their own.
var standalone = []struct {
	program string
	objects []Object
}{
	{"l7_parse", L7Parsers()},
	{"unwind_user", Unwinders()},
	{"walk_path", PathWalkers()},
	{"filter_args", ArgFilters()},
}

// TestStandaloneLoads: counters are the same on every load, and grow with the size.
func TestStandaloneLoads(t *testing.T) {
	needBPF(t)
	total := 0
	for _, s := range standalone {
		before := 0
		for _, o := range s.objects {
			spec, err := o.Load()
			if err != nil {
				t.Fatal(err)
			}
			p := spec.Programs[s.program]
			if p == nil || len(spec.Programs) != 1 || p.License != "Dual BSD/GPL" || len(s.program) > 15 {
				t.Fatalf("%s/%s: programs %v", s.program, o.Name, spec.Programs)
			}
			for name, m := range spec.Maps {
				if m.MaxEntries > 1024 || m.Pinning != ebpf.PinNone {
					t.Errorf("%s/%s: map %s has %d entries, pinning %v", s.program, o.Name, name, m.MaxEntries, m.Pinning)
				}
			}
			usec, insns, states := loadOne(t, spec, s.program, nil)
			again, sameInsns, sameStates := loadOne(t, spec, s.program, nil)
			if insns != sameInsns || states != sameStates {
				t.Errorf("%s/%s: %d insns and %d states, then %d and %d", s.program, o.Name, insns, states, sameInsns, sameStates)
			}
			if insns <= before || insns > 500_000 {
				t.Errorf("%s/%s: %d insns processed, %d by the size before", s.program, o.Name, insns, before)
			}
			before = insns
			total += min(usec, again)
			t.Logf("%-12s %-7s %7d insns processed %6d states %7d us", s.program, o.Name, insns, states, min(usec, again))
		}
	}
	t.Logf("all together %d us", total)
}

// These objects must not tell where they were built either.
func TestStandaloneObjectsNameNoFolder(t *testing.T) {
	absolute := regexp.MustCompile(`\x00/[[:alnum:]]+/[[:print:]]+`)
	for name, object := range map[string][]byte{
		"l7_parser": _L7ParserLargeBytes, "unwinder": _UnwinderLargeBytes, "path_walker": _PathWalkerLargeBytes, "arg_filter": _ArgFilterLargeBytes,
	} {
		if found := absolute.FindAll(object, -1); found != nil {
			t.Errorf("%s holds absolute paths: %q", name, found)
		}
		if !strings.Contains(string(object), name+".bpf.c") {
			t.Errorf("%s does not name its sources", name)
		}
	}
}
