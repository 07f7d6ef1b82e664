package probes

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var _ = clocked(Speed{
	Name: "map",
	Doc: `Lookups and records.
One operation on a map of each kind that datapaths lean on. A kernel on which it is slower forwards fewer packets or
makes each traced system call dearer.`,
	Cases: []SpeedCase{
		lookupCase("array", "lookup in an array", ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 64}),
		lookupCase("per_cpu_array", "lookup in an array with values of each CPU's own", ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 64}),
		lookupCase("hash_4", "lookup by 4 bytes in a hash map", filled(ebpf.Hash, 4)),
		lookupCase("hash_16", "lookup by 16 bytes in a hash map", filled(ebpf.Hash, 16)),
		lookupCase("hash_64", "lookup by 64 bytes in a hash map", filled(ebpf.Hash, 64)),
		lookupCase("lru_hash", "lookup by 16 bytes in a hash map that forgets", filled(ebpf.LRUHash, 16)),
		lookupCase("lpm", "longest match among 12 prefixes", prefixes()),
		{Name: "ring_buffer", Doc: "a record is reserved and discarded", Cost: 4 * time.Millisecond, Each: speedUnroll, Repeat: 150, Build: reserveDiscard},
		{Name: "atomic_add", Doc: "atomic addition to a map's value", Cost: 4 * time.Millisecond, Each: speedUnroll, Repeat: 2000, Build: atomicAdd},
	},
})

// speedUnroll is how many operations stand in one program, so that what the kernel does
// around a run does not count.
const speedUnroll = 16

// filled is a map with 64 entries, the first of them all zeros.
func filled(typ ebpf.MapType, key int) ebpf.MapSpec {
	m := ebpf.MapSpec{Type: typ, KeySize: uint32(key), ValueSize: 8, MaxEntries: 256}
	for i := range 64 {
		k := make([]byte, key)
		binary.NativeEndian.PutUint32(k, uint32(i))
		m.Contents = append(m.Contents, ebpf.MapKV{Key: k, Value: numberBytes(uint64(i))})
	}
	return m
}

func prefixes() ebpf.MapSpec {
	m := ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 32, Flags: unix.BPF_F_NO_PREALLOC}
	for i, text := range lpmPrefixes[1:] {
		p := netip.MustParsePrefix(text)
		m.Contents = append(m.Contents, ebpf.MapKV{Key: lpmKey(p.Addr(), p.Bits()), Value: numberBytes(uint64(i))})
	}
	return m
}

func lookupCase(name, doc string, m ebpf.MapSpec) SpeedCase {
	return SpeedCase{Name: name, Doc: doc, Cost: 6 * time.Millisecond, Each: speedUnroll, Repeat: 2000, Build: func() (Trial, error) {
		s := &sheet{maps: oneMap(m)}
		s.wipeKey()
		if m.Type == ebpf.LPMTrie {
			s.add(asm.StoreImm(asm.R10, stackKey, 32, asm.Word), packet(asm.R1), asm.LoadMem(asm.R2, asm.R1, sheetA, asm.Word),
				asm.StoreMem(asm.R10, stackKey+4, asm.R2, asm.Word))
		}
		for range speedUnroll {
			s.add(arguments("map", stackKey)...)
			s.add(asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, short))
		}
		target := netip.MustParseAddr("10.1.2.3").As4()
		return s.trial([][2]uint64{{number(target[:]), 0}})
	}}
}

// ringSize holds all records of all samples: nobody takes them out.
const ringSize = 256 << 10

func reserveDiscard() (Trial, error) {
	s := &sheet{maps: oneMap(ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: ringSize})}
	for range speedUnroll {
		s.add(asm.LoadMapPtr(asm.R1, 0).WithReference("map"), asm.Mov.Imm(asm.R2, 8), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call(),
			asm.JEq.Imm(asm.R0, 0, short), asm.Mov.Reg(asm.R1, asm.R0), asm.Mov.Imm(asm.R2, 0), asm.FnRingbufDiscard.Call())
	}
	return s.trial([][2]uint64{{0, 0}})
}

func atomicAdd() (Trial, error) {
	s := &sheet{maps: valueMap()}
	s.add(operands()...)
	s.add(memoryPlaces[0].pointer(asm.R1)...)
	for range speedUnroll {
		s.add(asm.AddAtomic.Mem(asm.R1, asm.R6, asm.DWord, 8))
	}
	return s.trial([][2]uint64{{1, 0}})
}
