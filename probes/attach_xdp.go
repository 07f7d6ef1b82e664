package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Modes of linux/if_link.h.
const (
	xdpGeneric = 1 << 1 // XDP_FLAGS_SKB_MODE
	xdpNative  = 1 << 2 // XDP_FLAGS_DRV_MODE
)

var _ = attaching("xdp",
	attachCase{ID: "xdp/generic", Cost: 20 * time.Millisecond, In: inNet, Run: func(t *trial) error { return xdp(t, xdpGeneric) },
		Doc: "XDP on what the driver has made into a socket buffer, which any interface can (4.12, b5cdae3291f7)"},
	attachCase{ID: "xdp/native", Cost: 30 * time.Millisecond, In: inNet, Run: func(t *trial) error { return xdp(t, xdpNative) },
		Doc: "XDP in the driver, here that of veth (4.19, 948d4f214fde), with redirection to another driver and return to the sender"},
)

func xdp(t *trial, mode uint32) error {
	p, err := t.rig.openVeth() // its own: what is attached at the other ends goes in its own time
	if err != nil {
		return err
	}
	h := hook{flavour: xdpFlavour(), from: p.near.A, to: p.near.B, far: p.far, returns: true}
	h.attach = func(prog *ebpf.Program) (func() error, error) {
		if mode == xdpNative {
			// veth takes frames from another driver only where the receiving end has a
			// program too, or else a queue that newer kernels make (5.13, d3256efd8e8b).
			if err := t.passAt(p.near.A.Index, p.far.B.Index); err != nil {
				return nil, err
			}
		}
		return t.link(prog, p.near.B.Index, ebpf.AttachXDP, mode)
	}
	return t.flow(h)
}

// passAt attaches a program that passes everything, until after the case.
func (t *trial) passAt(indexes ...int) error {
	prog, _, err := t.load(Program{Spec: &ebpf.ProgramSpec{
		Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	}}, nil)
	if err != nil {
		return err
	}
	for _, i := range indexes {
		fd, err := linkCreate(prog, i, ebpf.AttachXDP, xdpNative)
		if err != nil {
			return err
		}
		// The driver takes a hundredth of a second to be rid of it.
		t.later(func() { t.rig.ending.Go(func() { unix.Close(fd) }) })
	}
	return nil
}
