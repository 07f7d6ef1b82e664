package probes

import (
	"time"

	"github.com/cilium/ebpf"

	"lastgood/internal/netlab"
)

var _ = attaching("netkit",
	attachCase{ID: "netkit/primary", Cost: 15 * time.Millisecond, In: inNet, Run: func(t *trial) error { return netkit(t, ebpf.AttachNetkitPrimary) },
		Doc: "a classifier in the driver of a netkit pair, for what the host sends to the container (6.7, 35dfaad7188c)"},
	attachCase{ID: "netkit/peer", Cost: 15 * time.Millisecond, In: inNet, Run: func(t *trial) error { return netkit(t, ebpf.AttachNetkitPeer) },
		Doc: "the same, for what the container sends"},
)

// netkit makes a pair for the case, which goes with the lab.
func netkit(t *trial, at ebpf.AttachType) error {
	p, err := t.rig.veth()
	if err != nil {
		return err
	}
	names, first := [2]string{"lgnk0", "lgnk1"}, byte(5)
	if at == ebpf.AttachNetkitPeer {
		names, first = [2]string{"lgnk2", "lgnk3"}, 7
	}
	pair, err := netlab.Netkit(names[0], names[1], first)
	if err != nil {
		return placeError(err)
	}
	h := hook{flavour: skbFlavour(at), from: pair.A, to: pair.B, far: p.far}
	if at == ebpf.AttachNetkitPeer {
		h.from, h.to = pair.B, pair.A
	}
	// A program is attached by the primary interface, on whichever side it runs.
	h.attach = func(prog *ebpf.Program) (func() error, error) { return t.link(prog, pair.A.Index, at, 0) }
	return t.flow(h)
}
