package probes

import (
	"time"

	"github.com/cilium/ebpf"

	"lastgood/internal/netlab"
)

var _ = attaching("tc",
	attachCase{ID: "tc/clsact_ingress", Cost: 15 * time.Millisecond, In: inNet, Run: func(t *trial) error { return clsact(t, false) },
		Doc: "a classifier on the way in, by the clsact qdisc (4.5, 1f211a1b929c), as CNIs attach it on kernels without tcx"},
	attachCase{ID: "tc/clsact_egress", Cost: 15 * time.Millisecond, In: inNet, Run: func(t *trial) error { return clsact(t, true) },
		Doc: "a classifier on the way out, by the clsact qdisc"},
	attachCase{ID: "tcx/ingress", Cost: 15 * time.Millisecond, In: inNet, Run: func(t *trial) error { return tcx(t, ebpf.AttachTCXIngress) },
		Doc: "a classifier on the way in, by a link (6.6, e420bed02507)"},
	attachCase{ID: "tcx/egress", Cost: 15 * time.Millisecond, In: inNet, Run: func(t *trial) error { return tcx(t, ebpf.AttachTCXEgress) },
		Doc: "a classifier on the way out, by a link"},
)

func clsact(t *trial, egress bool) error {
	p, err := t.rig.veth()
	if err != nil {
		return err
	}
	h := hook{flavour: skbFlavour(0), from: p.near.A, to: p.near.B, far: p.far}
	index := p.near.B.Index
	if egress {
		index = p.near.A.Index
	}
	h.attach = func(prog *ebpf.Program) (func() error, error) { return t.clsact(prog, index, egress) }
	return t.flow(h)
}

// clsact takes the program off with the case, or before.
func (t *trial) clsact(prog *ebpf.Program, index int, egress bool) (func() error, error) {
	detach, err := netlab.Clsact(index, prog.FD(), egress)
	if err != nil {
		return nil, err
	}
	on := true
	once := func() error {
		if !on {
			return nil
		}
		on = false
		return detach()
	}
	t.later(func() { _ = once() })
	return once, nil
}

func tcx(t *trial, at ebpf.AttachType) error {
	p, err := t.rig.veth()
	if err != nil {
		return err
	}
	h := hook{flavour: skbFlavour(at), from: p.near.A, to: p.near.B, far: p.far}
	index := p.near.B.Index
	if at == ebpf.AttachTCXEgress {
		index = p.near.A.Index
	}
	h.attach = func(prog *ebpf.Program) (func() error, error) { return t.link(prog, index, at, 0) }
	return t.flow(h)
}
