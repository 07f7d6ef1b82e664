package loader

import (
	"slices"

	"github.com/cilium/ebpf"
)

// progTypeNames are enum bpf_prog_type of include/uapi/linux/bpf.h, from 0, as bpftool
// and veristat write them.
var progTypeNames = []string{
	"unspec", "socket_filter", "kprobe", "sched_cls", "sched_act", "tracepoint", "xdp", "perf_event", "cgroup_skb", "cgroup_sock",
	"lwt_in", "lwt_out", "lwt_xmit", "sock_ops", "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint", "cgroup_sock_addr",
	"lwt_seg6local", "lirc_mode2", "sk_reuseport", "flow_dissector", "cgroup_sysctl", "raw_tracepoint_writable", "cgroup_sockopt",
	"tracing", "struct_ops", "ext", "lsm", "sk_lookup", "syscall", "netfilter",
}

// mapTypeNames are enum bpf_map_type, from 0, likewise.
var mapTypeNames = []string{
	"unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array", "stack_trace", "cgroup_array", "lru_hash",
	"lru_percpu_hash", "lpm_trie", "array_of_maps", "hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap", "sockhash", "cgroup_storage",
	"reuseport_sockarray", "percpu_cgroup_storage", "queue", "stack", "sk_storage", "devmap_hash", "struct_ops", "ringbuf", "inode_storage",
	"task_storage", "bloom_filter", "user_ringbuf", "cgrp_storage", "arena",
}

// ProgTypeName is a program type as bpftool writes it, "" for one that is not known.
func ProgTypeName(t ebpf.ProgramType) string { return nameAt(progTypeNames, int(t)) }

// MapTypeName is a map type as bpftool writes it, "" for one that is not known.
func MapTypeName(t ebpf.MapType) string { return nameAt(mapTypeNames, int(t)) }

func nameAt(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return ""
	}
	return names[i]
}

func progTypeNamed(name string) (ebpf.ProgramType, bool) {
	i := slices.Index(progTypeNames, name)
	return ebpf.ProgramType(max(i, 0)), i > 0
}

func mapTypeNamed(name string) (ebpf.MapType, bool) {
	i := slices.Index(mapTypeNames, name)
	return ebpf.MapType(max(i, 0)), i > 0
}
