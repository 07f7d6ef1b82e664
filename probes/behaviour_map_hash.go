package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// No map here takes its memory entry by entry: a kernel that is short of it at that
// moment may say ENOMEM, and is right.
var _ = behave(Behaviour{
	Name: "map_hash",
	Doc: `Hash maps.
What lookups, updates with each flag and deletions give, with keys of several sizes, and what a full map says. Connection tables and caches rely on every one of these answers.`,
	Rests: "Documentation/bpf/map_hash.rst: BPF_NOEXIST gives EEXIST, BPF_EXIST gives ENOENT, a full map E2BIG",
	Cases: []BehaviourCase{
		hashCase("key4", "keys of 4 bytes", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 4}, asm.Word),
		hashCase("key8", "keys of 8 bytes", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 4}, asm.DWord),
		hashCase("key64", "keys of 64 bytes and values of as many", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 64, ValueSize: 64, MaxEntries: 4}, asm.DWord),
		hashCase("key13", "keys of 13 bytes", ebpf.MapSpec{Type: ebpf.Hash, KeySize: 13, ValueSize: 8, MaxEntries: 4}, asm.DWord),
		hashCase("per_cpu", "values of each CPU's own", ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 8, ValueSize: 8, MaxEntries: 4}, asm.DWord),
	},
})

func hashCase(name, doc string, m ebpf.MapSpec, key asm.Size) BehaviourCase {
	return BehaviourCase{Name: name, Doc: doc, Cost: time.Millisecond, Build: func() (Trial, error) { return hashLife(m, key) }}
}

// hashLife takes a map of four entries from empty to full and back.
func hashLife(m ebpf.MapSpec, key asm.Size) (Trial, error) {
	s := &sheet{maps: oneMap(m)}
	s.wipeKey()
	s.setKey(0, key)
	s.setValue(1)
	s.lookup("lookup in an empty map", always(missing))
	s.remove("deletion from an empty map", unix.ENOENT)
	s.update("BPF_EXIST on an empty map", updateExist, unix.ENOENT)
	s.update("BPF_NOEXIST on an empty map", updateNoExist, 0)
	s.lookup("lookup of what was made", plusB(1))
	s.setValue(2)
	s.update("BPF_NOEXIST on an entry", updateNoExist, unix.EEXIST)
	s.lookup("lookup of what was not overwritten", plusB(1))
	s.update("BPF_EXIST on an entry", updateExist, 0)
	s.lookup("lookup of what was overwritten", plusB(2))
	s.setValue(3)
	s.update("BPF_ANY on an entry", updateAny, 0)
	s.lookup("lookup of what was overwritten twice", plusB(3))
	for i := int32(1); i < 4; i++ {
		s.setKey(i, key)
		s.setValue(10 * i)
		s.update("update until full", updateAny, 0)
	}
	s.setKey(4, key)
	s.update("update of a full map", updateAny, unix.E2BIG)
	s.setKey(0, key)
	s.setValue(5)
	s.update("update of an entry of a full map", updateAny, 0)
	for i := int32(1); i < 4; i++ {
		s.setKey(i, key)
		s.lookup("lookup in a full map", plusB(10*i))
	}
	s.setKey(2, key)
	s.remove("deletion", 0)
	s.lookup("lookup of what was deleted", always(missing))
	s.remove("deletion of what was deleted", unix.ENOENT)
	s.setKey(3, key)
	s.lookup("lookup of what was not deleted", plusB(30))
	return s.trial([][2]uint64{{0xdeadbeefcafe, 7 << 40}})
}
