package probes

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"lastgood/loader"
)

// attachNames are the values of enum bpf_attach_type (include/uapi/linux/bpf.h) without
// their prefix, up to 6.18. They are spelt out because they go into baselines.
var attachNames = strings.Fields(`
	cgroup_inet_ingress cgroup_inet_egress cgroup_inet_sock_create cgroup_sock_ops sk_skb_stream_parser sk_skb_stream_verdict
	cgroup_device sk_msg_verdict cgroup_inet4_bind cgroup_inet6_bind cgroup_inet4_connect cgroup_inet6_connect
	cgroup_inet4_post_bind cgroup_inet6_post_bind cgroup_udp4_sendmsg cgroup_udp6_sendmsg lirc_mode2 flow_dissector
	cgroup_sysctl cgroup_udp4_recvmsg cgroup_udp6_recvmsg cgroup_getsockopt cgroup_setsockopt trace_raw_tp trace_fentry
	trace_fexit modify_return lsm_mac trace_iter cgroup_inet4_getpeername cgroup_inet6_getpeername
	cgroup_inet4_getsockname cgroup_inet6_getsockname xdp_devmap cgroup_inet_sock_release xdp_cpumap sk_lookup xdp
	sk_skb_verdict sk_reuseport_select sk_reuseport_select_or_migrate perf_event trace_kprobe_multi lsm_cgroup struct_ops
	netfilter tcx_ingress tcx_egress trace_uprobe_multi cgroup_unix_connect cgroup_unix_sendmsg cgroup_unix_recvmsg
	cgroup_unix_getpeername cgroup_unix_getsockname netkit_primary netkit_peer trace_kprobe_session trace_uprobe_session`)

// linkNames are the values of enum bpf_link_type, likewise.
var linkNames = strings.Fields(`
	unspecified raw_tracepoint tracing cgroup iter netns xdp perf_event kprobe_multi struct_ops netfilter tcx uprobe_multi
	netkit sockmap`)

func attachName(t ebpf.AttachType) string { return nameOf(attachNames, uint32(t), "attach_type") }
func linkName(t loader.LinkType) string   { return nameOf(linkNames, uint32(t), "link_type") }
func nameOf(all []string, n uint32, what string) string {
	if int64(n) < int64(len(all)) {
		return all[n]
	}
	return fmt.Sprintf("%s_%d", what, n)
}

// progTypeName is a program type as the census of features names it.
func progTypeName(t ebpf.ProgramType) string {
	i := slices.IndexFunc(progTypes, func(p progType) bool { return p.typ == t })
	if i < 0 {
		return fmt.Sprintf("prog_type_%d", uint32(t))
	}
	return progTypes[i].name
}

// cgroupAttachKinds are the types that programs are attached to cgroups by, with the
// program type of each.
var cgroupAttachKinds = func() []cgroupAttach {
	out := []cgroupAttach{{ebpf.SockOps, ebpf.AttachCGroupSockOps}, {ebpf.CGroupDevice, ebpf.AttachCGroupDevice}, {ebpf.CGroupSysctl, ebpf.AttachCGroupSysctl}}
	for _, k := range attachKinds {
		if strings.HasPrefix(k.name, "cgroup_") {
			out = append(out, cgroupAttach{k.typ, k.attach})
		}
	}
	return out
}()

type cgroupAttach struct {
	prog ebpf.ProgramType
	at   ebpf.AttachType
}

// nameTypes fills in the names of types by their ids, in one pass over raw type
// information, of which nothing is kept. Ids that are not there stay "".
func nameTypes(r io.ReaderAt, wanted map[uint32]string) error {
	var h [btfHeader]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		return fmt.Errorf("read BTF header: %w", err)
	}
	order := binary.NativeEndian
	if order.Uint16(h[:]) != btfMagic || h[2] != 1 {
		return fmt.Errorf("read BTF header: magic %#x version %d", order.Uint16(h[:]), h[2])
	}
	word := func(at int) int64 { return int64(order.Uint32(h[at:])) }
	head, typeOff, typeLen, strOff, strLen := word(4), word(8), word(12), word(16), word(20)
	if typeLen > maxBTF || strLen > maxBTF {
		return fmt.Errorf("read BTF header: sections of %d and %d bytes", typeLen, strLen)
	}
	at, err := typeNames(io.NewSectionReader(r, head+typeOff, typeLen), wanted)
	if err != nil {
		return err
	}
	strs := io.NewSectionReader(r, head+strOff, strLen)
	for id, off := range at {
		buf := make([]byte, maxName+1)
		n, err := strs.ReadAt(buf, int64(off))
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read BTF name at %d: %w", off, err)
		}
		wanted[id], _, _ = strings.Cut(string(buf[:n]), "\x00")
	}
	return nil
}

// typeNames is where the names of the wanted types stand in the section of strings.
func typeNames(r io.Reader, wanted map[uint32]string) (map[uint32]uint32, error) {
	in := bufio.NewReaderSize(r, btfChunk)
	at := map[uint32]uint32{}
	for id := uint32(1); len(at) < len(wanted); id++ {
		h, err := in.Peek(btfType)
		if errors.Is(err, io.EOF) && len(h) == 0 {
			return at, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read BTF type %d: %w", id, whole(err))
		}
		info := binary.NativeEndian.Uint32(h[4:])
		if _, ok := wanted[id]; ok {
			at[id] = binary.NativeEndian.Uint32(h)
		}
		size, err := trailer(info>>24&0x1f, info&0xffff)
		if err == nil {
			_, err = in.Discard(btfType + size)
		}
		if err != nil {
			return nil, fmt.Errorf("read BTF type %d: %w", id, whole(err))
		}
	}
	return at, nil
}
