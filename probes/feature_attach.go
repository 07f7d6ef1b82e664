package probes

import (
	"github.com/cilium/ebpf"
)

// attachKind is an expected_attach_type that the kernel checks when a program is
// loaded (bpf_prog_load_check_attach in kernel/bpf/syscall.c, or the verifier for
// types with a target). Types that it checks on attaching alone, as XDP's, cannot
// be asked for without attaching.
type attachKind struct {
	prog, name string
	typ        ebpf.ProgramType
	attach     ebpf.AttachType
	target     []targetName
	isFeature  bool // the target exists only where the feature does
}

var attachKinds = []attachKind{
	{prog: "cgroup_skb", name: "cgroup_inet_ingress", typ: ebpf.CGroupSKB, attach: ebpf.AttachCGroupInetIngress},
	{prog: "cgroup_skb", name: "cgroup_inet_egress", typ: ebpf.CGroupSKB, attach: ebpf.AttachCGroupInetEgress},
	{prog: "cgroup_sock", name: "cgroup_inet_sock_create", typ: ebpf.CGroupSock, attach: ebpf.AttachCGroupInetSockCreate},
	{prog: "cgroup_sock", name: "cgroup_inet_sock_release", typ: ebpf.CGroupSock, attach: ebpf.AttachCgroupInetSockRelease},
	{prog: "cgroup_sock", name: "cgroup_inet4_post_bind", typ: ebpf.CGroupSock, attach: ebpf.AttachCGroupInet4PostBind},
	{prog: "cgroup_sock", name: "cgroup_inet6_post_bind", typ: ebpf.CGroupSock, attach: ebpf.AttachCGroupInet6PostBind},
	{prog: "cgroup_sock_addr", name: "cgroup_inet4_bind", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupInet4Bind},
	{prog: "cgroup_sock_addr", name: "cgroup_inet6_bind", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupInet6Bind},
	{prog: "cgroup_sock_addr", name: "cgroup_inet4_connect", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupInet4Connect},
	{prog: "cgroup_sock_addr", name: "cgroup_inet6_connect", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupInet6Connect},
	{prog: "cgroup_sock_addr", name: "cgroup_unix_connect", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupUnixConnect},
	{prog: "cgroup_sock_addr", name: "cgroup_udp4_sendmsg", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupUDP4Sendmsg},
	{prog: "cgroup_sock_addr", name: "cgroup_udp6_sendmsg", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupUDP6Sendmsg},
	{prog: "cgroup_sock_addr", name: "cgroup_unix_sendmsg", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupUnixSendmsg},
	{prog: "cgroup_sock_addr", name: "cgroup_udp4_recvmsg", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupUDP4Recvmsg},
	{prog: "cgroup_sock_addr", name: "cgroup_udp6_recvmsg", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCGroupUDP6Recvmsg},
	{prog: "cgroup_sock_addr", name: "cgroup_unix_recvmsg", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupUnixRecvmsg},
	{prog: "cgroup_sock_addr", name: "cgroup_inet4_getpeername", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupInet4GetPeername},
	{prog: "cgroup_sock_addr", name: "cgroup_inet6_getpeername", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupInet6GetPeername},
	{prog: "cgroup_sock_addr", name: "cgroup_unix_getpeername", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupUnixGetpeername},
	{prog: "cgroup_sock_addr", name: "cgroup_inet4_getsockname", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupInet4GetSockname},
	{prog: "cgroup_sock_addr", name: "cgroup_inet6_getsockname", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupInet6GetSockname},
	{prog: "cgroup_sock_addr", name: "cgroup_unix_getsockname", typ: ebpf.CGroupSockAddr, attach: ebpf.AttachCgroupUnixGetsockname},
	{prog: "cgroup_sockopt", name: "cgroup_getsockopt", typ: ebpf.CGroupSockopt, attach: ebpf.AttachCGroupGetsockopt},
	{prog: "cgroup_sockopt", name: "cgroup_setsockopt", typ: ebpf.CGroupSockopt, attach: ebpf.AttachCGroupSetsockopt},
	{prog: "sk_lookup", name: "sk_lookup", typ: ebpf.SkLookup, attach: ebpf.AttachSkLookup},
	{prog: "sk_reuseport", name: "sk_reuseport_select", typ: ebpf.SkReuseport, attach: ebpf.AttachSkReuseportSelect},
	{prog: "sk_reuseport", name: "sk_reuseport_select_or_migrate", typ: ebpf.SkReuseport, attach: ebpf.AttachSkReuseportSelectOrMigrate},
	{prog: "netfilter", name: "netfilter", typ: ebpf.Netfilter, attach: ebpf.AttachNetfilter},
	{prog: "tracing", name: "trace_fentry", typ: ebpf.Tracing, attach: ebpf.AttachTraceFEntry, target: fentryTarget},
	{prog: "tracing", name: "trace_fexit", typ: ebpf.Tracing, attach: ebpf.AttachTraceFExit, target: fentryTarget},
	{prog: "tracing", name: "modify_return", typ: ebpf.Tracing, attach: ebpf.AttachModifyReturn, target: fmodTarget},
	{prog: "tracing", name: "trace_raw_tp", typ: ebpf.Tracing, attach: ebpf.AttachTraceRawTp, target: rawTPTarget},
	{prog: "tracing", name: "trace_iter", typ: ebpf.Tracing, attach: ebpf.AttachTraceIter, target: iterTarget, isFeature: true},
	{prog: "lsm", name: "lsm_mac", typ: ebpf.LSM, attach: ebpf.AttachLSMMac, target: lsmTarget, isFeature: true},
	{prog: "lsm", name: "lsm_cgroup", typ: ebpf.LSM, attach: ebpf.AttachLSMCgroup, target: lsmTarget, isFeature: true},
}

func attachFeatures() []feature {
	var out []feature
	for i := range attachKinds {
		k := &attachKinds[i]
		out = append(out, feature{"attach/" + k.prog + "/" + k.name, "attach type " + k.name + " of " + k.prog + " programs", k.ask})
	}
	return out
}

// noSuchAttach is an attach type that no kernel has.
const noSuchAttach = ebpf.AttachType(0x7fff)

func (k *attachKind) ask(c *censor) told {
	p := progType{name: k.prog, typ: k.typ, attach: k.attach, target: k.target, targetIsFeature: k.isFeature}
	try, t := p.prepare(c)
	if t.line != "" {
		return t
	}
	if k.target == nil {
		try.Insns = c.returnOne
	}
	if t = c.program(try); t.answer != yes {
		return t
	}
	// A kernel that takes anything has not said yes to this one.
	try.Attach = noSuchAttach
	if c.program(try).answer == yes {
		return told{unclear, "this kernel does not check the attach type of " + k.prog + " programs when it loads them"}
	}
	return t
}
