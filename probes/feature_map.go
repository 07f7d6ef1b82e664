package probes

import (
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"lastgood/loader"
)

// mapKind is one map type with the smallest map of it that the kernel makes.
type mapKind struct {
	name string
	typ  ebpf.MapType
	// How the map differs from one of a 4-byte key, a 4-byte value and one entry.
	key, value, entries uint32
	plain               bool // no key: queues, buffers
	flags               uint32
	nested, storage     bool // needs an inner map; needs types of key and value
	structOps           bool
}

// insnArray is BPF_MAP_TYPE_INSN_ARRAY (6.19).
const insnArray = ebpf.MapType(34)

// mapKinds is enum bpf_map_type. Sizes are those that each type's map_alloc_check
// in kernel/bpf and net/core demands.
var mapKinds = []mapKind{
	{name: "hash", typ: ebpf.Hash},
	{name: "array", typ: ebpf.Array},
	{name: "prog_array", typ: ebpf.ProgramArray},
	{name: "perf_event_array", typ: ebpf.PerfEventArray},
	{name: "percpu_hash", typ: ebpf.PerCPUHash},
	{name: "percpu_array", typ: ebpf.PerCPUArray},
	{name: "stack_trace", typ: ebpf.StackTrace, value: 8},
	{name: "cgroup_array", typ: ebpf.CGroupArray},
	{name: "lru_hash", typ: ebpf.LRUHash},
	{name: "lru_percpu_hash", typ: ebpf.LRUCPUHash},
	{name: "lpm_trie", typ: ebpf.LPMTrie, key: 8, value: 8, flags: unix.BPF_F_NO_PREALLOC},
	{name: "array_of_maps", typ: ebpf.ArrayOfMaps, nested: true},
	{name: "hash_of_maps", typ: ebpf.HashOfMaps, nested: true},
	{name: "devmap", typ: ebpf.DevMap},
	{name: "sockmap", typ: ebpf.SockMap},
	{name: "cpumap", typ: ebpf.CPUMap},
	{name: "xskmap", typ: ebpf.XSKMap},
	{name: "sockhash", typ: ebpf.SockHash},
	{name: "cgroup_storage", typ: ebpf.CGroupStorage, key: 16, entries: nothing},
	{name: "reuseport_sockarray", typ: ebpf.ReusePortSockArray},
	{name: "percpu_cgroup_storage", typ: ebpf.PerCPUCGroupStorage, key: 16, entries: nothing},
	{name: "queue", typ: ebpf.Queue, plain: true},
	{name: "stack", typ: ebpf.Stack, plain: true},
	{name: "sk_storage", typ: ebpf.SkStorage, storage: true},
	{name: "devmap_hash", typ: ebpf.DevMapHash},
	{name: "struct_ops", typ: ebpf.StructOpsMap, structOps: true},
	{name: "ringbuf", typ: ebpf.RingBuf, plain: true, value: nothing, entries: onePage},
	{name: "inode_storage", typ: ebpf.InodeStorage, storage: true},
	{name: "task_storage", typ: ebpf.TaskStorage, storage: true},
	{name: "bloom_filter", typ: ebpf.BloomFilter, plain: true},
	{name: "user_ringbuf", typ: ebpf.UserRingbuf, plain: true, value: nothing, entries: onePage},
	{name: "cgrp_storage", typ: ebpf.CgroupStorage, storage: true},
	{name: "arena", typ: ebpf.Arena, plain: true, value: nothing, flags: unix.BPF_F_MMAPABLE},
	{name: "insn_array", typ: insnArray, value: 16},
}

// Sizes of a mapKind that mean something other than the number.
const (
	nothing = ^uint32(0)
	onePage = ^uint32(1)
)

func mapFeatures() []feature {
	var out []feature
	for i := range mapKinds {
		k := &mapKinds[i]
		out = append(out, feature{"map/" + k.name, "map type " + k.name, k.ask})
	}
	return append(out, mapFlags()...)
}

func mapSize(n, usual uint32) uint32 {
	switch n {
	case 0:
		return usual
	case onePage:
		return uint32(os.Getpagesize())
	case nothing:
		return 0
	}
	return n
}

func (k *mapKind) ask(c *censor) told {
	m := loader.TryMap{Type: k.typ, ValueSize: mapSize(k.value, 4), MaxEntries: mapSize(k.entries, 1), Flags: k.flags}
	if !k.plain {
		m.KeySize = mapSize(k.key, 4)
	}
	if k.structOps {
		// Type 1 is an integer and not an ops structure, which a kernel that knows the
		// map type says with ENOTSUPP.
		m.VmlinuxValTypeID = 1
		t := answerErrno(c.trier().Map(m))
		if t.line == errnoText(enotsupp) {
			t.answer = yes
		}
		return t
	}
	if k.nested {
		inner, errno := newMap(ebpf.Array, 4, 4, 1, 0, 0)
		if errno != 0 {
			return told{unclear, "create inner map: " + errnoText(errno)}
		}
		defer unix.Close(inner)
		m.InnerFD = uint32(inner)
	}
	if k.storage {
		types, errno, log := loadBTF(intBTF())
		if errno != 0 {
			return told{unclear, "load type of value: " + complaint(errno, log)}
		}
		defer unix.Close(types)
		m.Flags |= unix.BPF_F_NO_PREALLOC
		m.MaxEntries = 0
		m.BTFFD, m.BTFKeyTypeID, m.BTFValTypeID = uint32(types), 1, 1
	}
	return answerErrno(c.trier().Map(m))
}

// mapFlags asks for flags by making an array, or a hash where only that has it.
func mapFlags() []feature {
	var out []feature
	for _, f := range []struct {
		name  string
		typ   ebpf.MapType
		flags uint32
	}{
		{"no_prealloc", ebpf.Hash, unix.BPF_F_NO_PREALLOC},
		{"numa_node", ebpf.Hash, unix.BPF_F_NUMA_NODE},
		{"zero_seed", ebpf.Hash, unix.BPF_F_ZERO_SEED},
		{"rdonly_prog", ebpf.Array, unix.BPF_F_RDONLY_PROG},
		{"wronly_prog", ebpf.Array, unix.BPF_F_WRONLY_PROG},
		{"mmapable", ebpf.Array, unix.BPF_F_MMAPABLE},
		{"inner_map", ebpf.Array, unix.BPF_F_INNER_MAP},
	} {
		out = append(out, feature{"map_flag/" + f.name, "map flag " + f.name, func(c *censor) told {
			return answerErrno(c.trier().Map(loader.TryMap{Type: f.typ, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: f.flags}))
		}})
	}
	return out
}
