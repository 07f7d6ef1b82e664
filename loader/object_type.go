package loader

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// settle gives a program the type that its agent loads it as, and marks what cannot be
// loaded by itself.
func (o *Object) settle(p *ebpf.ProgramSpec, given map[string]string) error {
	about := o.mark(p.Name)
	if typ, ok, err := typeGiven(p, given); err != nil {
		return err
	} else if ok {
		if typ != p.Type {
			p.Type, p.AttachType, p.AttachTo, p.Flags = typ, ebpf.AttachNone, "", 0
		}
	} else if p.Type == ebpf.UnspecifiedProgram {
		p.Type = sectionType(p.SectionName)
	}
	p.AttachType = usualAttachment(p)
	switch p.Type {
	case ebpf.UnspecifiedProgram:
		about.skip = fmt.Sprintf("its section %s does not tell its type: give it under types", p.SectionName)
	case ebpf.Extension:
		o.standIn(p, about)
	case ebpf.StructOps:
		if !strings.Contains(p.AttachTo, ":") {
			about.skip = "the object does not tell which member of which struct_ops it is"
		}
	}
	if p.Ifindex != 0 {
		about.skip = "it is for one network interface"
	}
	return nil
}

// typeGiven looks a program up in the administrator's table, by its section or its name.
func typeGiven(p *ebpf.ProgramSpec, given map[string]string) (ebpf.ProgramType, bool, error) {
	for _, pattern := range slices.Sorted(maps.Keys(given)) {
		section, err := path.Match(pattern, p.SectionName)
		if err != nil {
			return 0, false, fmt.Errorf("types: pattern %q: %w", pattern, err)
		}
		name, _ := path.Match(pattern, p.Name)
		if !section && !name {
			continue
		}
		typ, ok := progTypeNamed(given[pattern])
		if !ok {
			return 0, false, fmt.Errorf("types: %s: no program type %q; they are %s", pattern, given[pattern], strings.Join(progTypeNames[1:], " "))
		}
		return typ, true, nil
	}
	return 0, false, nil
}

// sectionTypes are names of sections that only agents and iproute2 know. The library
// knows those of libbpf.
var sectionTypes = []struct {
	form *regexp.Regexp
	typ  ebpf.ProgramType
}{
	{regexp.MustCompile(`^[0-9]+/(0x)?[0-9a-fA-F]+$`), ebpf.SchedCLS}, // iproute2: MAP/KEY of a tail call
	{regexp.MustCompile(`^xdp([-_/.].*|[0-9]*)$`), ebpf.XDP},
	{regexp.MustCompile(`^(tc|classifier|cls|from|to|ingress|egress|tail)([-_/.].*)?$`), ebpf.SchedCLS},
	{regexp.MustCompile(`^act([-_/.].*)?$`), ebpf.SchedACT},
	{regexp.MustCompile(`^(socket|sockfilter|filter)([-_/.].*)?$`), ebpf.SocketFilter},
	{regexp.MustCompile(`^(kprobe|kretprobe|uprobe|uretprobe)([-_/.].*)?$`), ebpf.Kprobe},
	{regexp.MustCompile(`^(tracepoint|tp)([-_/.].*)?$`), ebpf.TracePoint},
	{regexp.MustCompile(`^(raw_tracepoint|raw_tp)([-_/.].*)?$`), ebpf.RawTracepoint},
	{regexp.MustCompile(`^sockops([-_/.].*)?$`), ebpf.SockOps},
	{regexp.MustCompile(`^cgroup[-_/]?(skb|ingress|egress)([-_/.].*)?$`), ebpf.CGroupSKB},
}

func sectionType(section string) ebpf.ProgramType {
	section = strings.TrimPrefix(section, "?") // libbpf: not loaded unless it is asked for
	for _, s := range sectionTypes {
		if s.form.MatchString(section) {
			return s.typ
		}
	}
	return ebpf.UnspecifiedProgram
}

// usualAttachment fills in the attach type where the type alone is refused.
func usualAttachment(p *ebpf.ProgramSpec) ebpf.AttachType {
	if p.AttachType != ebpf.AttachNone {
		return p.AttachType
	}
	switch p.Type {
	case ebpf.CGroupSockAddr:
		return ebpf.AttachCGroupInet4Connect
	case ebpf.CGroupSockopt:
		return ebpf.AttachCGroupGetsockopt
	case ebpf.SkLookup:
		return ebpf.AttachSkLookup
	case ebpf.Netfilter:
		return ebpf.AttachNetfilter
	}
	return p.AttachType
}

// contexts are the types of a program's only argument.
var contexts = map[string]ebpf.ProgramType{
	"__sk_buff": ebpf.SchedCLS, "xdp_md": ebpf.XDP, "pt_regs": ebpf.Kprobe, "user_pt_regs": ebpf.Kprobe, "bpf_perf_event_data": ebpf.PerfEvent,
	"bpf_sock": ebpf.CGroupSock, "bpf_sock_addr": ebpf.CGroupSockAddr, "bpf_sock_ops": ebpf.SockOps, "sk_msg_md": ebpf.SkMsg,
	"bpf_cgroup_dev_ctx": ebpf.CGroupDevice, "bpf_raw_tracepoint_args": ebpf.RawTracepoint, "sk_reuseport_md": ebpf.SkReuseport,
	"bpf_sysctl": ebpf.CGroupSysctl, "bpf_sockopt": ebpf.CGroupSockopt, "bpf_sk_lookup": ebpf.SkLookup, "bpf_nf_ctx": ebpf.Netfilter,
}

// standIn has a program that replaces a function of another one measured as a program
// of the type that it is called in, for the other one is not at hand.
func (o *Object) standIn(p *ebpf.ProgramSpec, about *aboutProgram) {
	about.skip = "the program whose function it replaces is not at hand"
	fn := btf.FuncMetadata(&p.Instructions[0])
	if fn == nil {
		return
	}
	proto, ok := fn.Type.(*btf.FuncProto)
	if !ok || len(proto.Params) == 0 {
		return
	}
	ptr, ok := btf.UnderlyingType(proto.Params[0].Type).(*btf.Pointer)
	if !ok {
		return
	}
	ctx, ok := btf.UnderlyingType(ptr.Target).(*btf.Struct)
	if !ok {
		return
	}
	typ, known := contexts[ctx.Name]
	if !known || len(proto.Params) != 1 {
		return
	}
	about.skip = ""
	about.approximate = fmt.Sprintf("it replaces a function of another program, and was measured as a %s program by itself", ProgTypeName(typ))
	p.Type, p.AttachTo, p.AttachType, p.Flags = typ, "", ebpf.AttachNone, 0
	p.AttachType = usualAttachment(p)
}
