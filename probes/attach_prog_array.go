package probes

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
)

// A table of programs belongs to the kind of the first program that is put into it:
// others must agree with that one in what bpf_prog_map_compatible() compares
// (kernel/bpf/core.c), and that grew: the type, whether it is compiled, XDP fragments
// (5.18, f45d5b6ce2e8), the prototype that it is attached to (6.12, 28ead3eaabc1), the
// attach type (6.18, 4540aed51b12, and backports: Debian's 6.12 has it between 6.12.43 and
// 6.12.57). What a kernel answers is kept, and a change is told: that programs which are
// alike do not go together any more breaks every table there is; that unlike ones do not
// is what these changes are for.
var _ = attaching("prog_array",
	progArray("same_type", "two classifiers", classifier(), classifier()),
	progArray("other_type", "an XDP program beside a classifier", classifier(), xdpProgram(0, ebpf.AttachXDP)),
	progArray("other_attach_type", "a program for connect() of IPv6 beside one of IPv4",
		sockAddrProgram(ebpf.AttachCGroupInet4Connect), sockAddrProgram(ebpf.AttachCGroupInet6Connect)),
	progArray("xdp_devmap", "an XDP program of a device map beside one of an interface", xdpProgram(0, ebpf.AttachXDP), xdpProgram(0, ebpf.AttachXDPDevMap)),
	progArray("tcx", "a classifier for tcx beside one for tc", classifier(), &ebpf.ProgramSpec{Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXIngress}),
	progArray("xdp_fragments", "an XDP program that knows fragments beside one that does not", xdpProgram(0, ebpf.AttachXDP), xdpProgram(unix.BPF_F_XDP_HAS_FRAGS, ebpf.AttachXDP)),
	progArray("same_prototype", "two programs on the entry of one function", fentryProgram(testFunction), fentryProgram(testFunction)),
	progArray("other_prototype", "a program on the entry of a function with other parameters", fentryProgram(testFunction), fentryProgram("bpf_fentry_test2")),
)

func classifier() *ebpf.ProgramSpec { return &ebpf.ProgramSpec{Type: ebpf.SchedCLS} }

func xdpProgram(flags uint32, at ebpf.AttachType) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Type: ebpf.XDP, AttachType: at, Flags: flags}
}

func sockAddrProgram(at ebpf.AttachType) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Type: ebpf.CGroupSockAddr, AttachType: at}
}

func fentryProgram(function string) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, AttachTo: function}
}

// progArray is a case: a table, a first program and a second one.
func progArray(name, what string, first, second *ebpf.ProgramSpec) attachCase {
	return attachCase{
		ID: "prog_array/" + name, Cost: 5 * time.Millisecond,
		Doc: fmt.Sprintf("whether a table of programs takes %s", what),
		Run: func(t *trial) error {
			alike := "no"
			if strings.HasPrefix(name, "same_") {
				alike = "yes"
			}
			t.s.Set("alike", snapshot.Text(alike))
			return t.progArray(first, second)
		},
	}
}

func (t *trial) progArray(first, second *ebpf.ProgramSpec) error {
	table := map[string]*ebpf.MapSpec{"table": {Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2}}
	owner, maps, err := t.load(Program{Spec: quiet(first), Maps: table}, t.rig.types)
	if err != nil {
		return notLoaded(err)
	}
	guest, err := loadQuiet(t, quiet(second))
	if err != nil {
		return notLoaded(err)
	}
	if err := maps["table"].Put(uint32(0), owner); err != nil {
		return kernelSays("put first program into table", err)
	}
	err = maps["table"].Put(uint32(1), guest)
	var errno unix.Errno
	switch {
	case err == nil:
		t.s.Set("answer", snapshot.Text("accepted"))
	case errors.As(err, &errno) && errno == unix.EINVAL:
		t.s.Set("answer", snapshot.Text("refused"))
		setText(t.s, "cause", errnoText(errno))
	default:
		return cannotTell("put second program into table: %v", err)
	}
	return nil
}

// notLoaded makes a program that the verifier refuses no answer of the table's.
func notLoaded(err error) error {
	var refusal *refusalError
	if errors.As(err, &refusal) {
		return &unclearError{err.Error()}
	}
	return err
}

// quiet gives a program of that kind that does nothing.
func quiet(spec *ebpf.ProgramSpec) *ebpf.ProgramSpec {
	spec = spec.Copy()
	answer := int32(0)
	if spec.Type == ebpf.CGroupSockAddr {
		answer = 1
	}
	spec.License = "GPL"
	spec.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, answer), asm.Return()}
	return spec
}
