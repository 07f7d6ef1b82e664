package probes

import (
	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// progType is one program type, or one way of it that has helpers of its own.
type progType struct {
	name   string
	typ    ebpf.ProgramType
	attach ebpf.AttachType // expected_attach_type, where the type must have one
	flags  uint32
	// target lists what to attach to, the first that the kernel has being taken;
	// nil where the type needs none.
	target []targetName
	// targetIsFeature: the target exists only where the feature does.
	targetIsFeature bool
	// understood is what the verifier says of a trivial program of the type when it
	// does know the type.
	understood string
	// noHelpers: its helpers are another type's.
	noHelpers bool
	// seldom: hardly any program in use is of this type. What it may no longer call is
	// worth a remark, not an alarm on every host.
	seldom bool
}

func (p *progType) id() string { return "prog/" + p.name }

// Types of the kernel's own that programs are attached to. bpf_fentry_test1 and
// bpf_modify_return_test are there for tests with bpf_prog_test_run and nothing
// else calls them; nothing is attached here anyway.
var (
	fentryTarget    = []targetName{{kind: btfFunc, name: "bpf_fentry_test1"}, {kind: btfFunc, name: "vfs_read"}}
	fmodTarget      = []targetName{{kind: btfFunc, name: "bpf_modify_return_test"}, {kind: btfFunc, name: "security_file_open"}}
	rawTPTarget     = []targetName{{kind: btfTypedef, name: "btf_trace_sys_enter"}, {kind: btfTypedef, name: "btf_trace_sched_switch"}}
	iterTarget      = []targetName{{kind: btfFunc, name: "bpf_iter_task"}}
	lsmTarget       = []targetName{{kind: btfFunc, name: "bpf_lsm_file_open"}}
	structOpsTarget = []targetName{{kind: btfStruct, name: "tcp_congestion_ops", member: "ssthresh"}}
	kfuncTarget     = []targetName{{kind: btfFunc, name: "bpf_rcu_read_lock"}}
	kfuncEndTarget  = []targetName{{kind: btfFunc, name: "bpf_rcu_read_unlock"}}
)

func allTargets() []targetName {
	var all []targetName
	for _, t := range [][]targetName{fentryTarget, fmodTarget, rawTPTarget, iterTarget, lsmTarget, structOpsTarget, kfuncTarget, kfuncEndTarget} {
		all = append(all, t...)
	}
	return all
}

// progTypes is enum bpf_prog_type. A tracing program's helpers differ by what it
// is attached to, so functions and iterators are asked for apart. Raw tracepoints
// are not: looking such a target up walks all of the kernel's type information,
// 0.1 ms a load on 6.18. An extension has the helpers of what it replaces,
// and sched_act and raw_tracepoint_writable have the very function that looks up
// the helpers of sched_cls and raw_tracepoint.
var progTypes = []progType{
	{name: "socket_filter", typ: ebpf.SocketFilter},
	{name: "kprobe", typ: ebpf.Kprobe},
	{name: "sched_cls", typ: ebpf.SchedCLS},
	{name: "sched_act", typ: ebpf.SchedACT, noHelpers: true},
	{name: "tracepoint", typ: ebpf.TracePoint},
	{name: "xdp", typ: ebpf.XDP},
	{name: "perf_event", typ: ebpf.PerfEvent},
	{name: "cgroup_skb", typ: ebpf.CGroupSKB},
	{name: "cgroup_sock", typ: ebpf.CGroupSock},
	{name: "lwt_in", typ: ebpf.LWTIn, seldom: true},
	{name: "lwt_out", typ: ebpf.LWTOut, seldom: true},
	{name: "lwt_xmit", typ: ebpf.LWTXmit, seldom: true},
	{name: "sock_ops", typ: ebpf.SockOps},
	{name: "sk_skb", typ: ebpf.SkSKB},
	{name: "cgroup_device", typ: ebpf.CGroupDevice},
	{name: "sk_msg", typ: ebpf.SkMsg},
	{name: "raw_tracepoint", typ: ebpf.RawTracepoint},
	{name: "cgroup_sock_addr", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupInet4Connect},
	{name: "lwt_seg6local", typ: ebpf.LWTSeg6Local, seldom: true},
	{name: "lirc_mode2", typ: ebpf.LircMode2, seldom: true},
	{name: "sk_reuseport", typ: ebpf.SkReuseport},
	{name: "flow_dissector", typ: ebpf.FlowDissector, seldom: true},
	{name: "cgroup_sysctl", typ: ebpf.CGroupSysctl},
	{name: "raw_tracepoint_writable", typ: ebpf.RawTracepointWritable, noHelpers: true},
	{name: "cgroup_sockopt", typ: ebpf.CGroupSockopt, attach: ebpf.AttachCGroupGetsockopt},
	{name: "tracing", typ: ebpf.Tracing, attach: ebpf.AttachTraceFEntry, target: fentryTarget},
	{name: "tracing_iter", typ: ebpf.Tracing, attach: ebpf.AttachTraceIter, target: iterTarget, targetIsFeature: true},
	{name: "struct_ops", typ: ebpf.StructOps, target: structOpsTarget},
	{name: "ext", typ: ebpf.Extension, understood: "must provide btf_id", noHelpers: true},
	{name: "lsm", typ: ebpf.LSM, attach: ebpf.AttachLSMMac, target: lsmTarget, targetIsFeature: true},
	{name: "sk_lookup", typ: ebpf.SkLookup, attach: ebpf.AttachSkLookup},
	{name: "syscall", typ: ebpf.Syscall, flags: unix.BPF_F_SLEEPABLE},
	{name: "netfilter", typ: ebpf.Netfilter, attach: ebpf.AttachNetfilter},
}
