package netlab

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Clsact attaches a program to the clsact hook of an interface, as tc(8) does with
// direct-action, and returns what takes it off again. It lasts no longer than the
// interface. It is to be called in Do.
func Clsact(index, prog int, egress bool) (detach func() error, err error) {
	qdisc := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}, QdiscType: "clsact",
	}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		return nil, fmt.Errorf("add clsact qdisc: %w", err)
	}
	detach = func() error {
		if err := netlink.QdiscDel(qdisc); err != nil {
			return fmt.Errorf("delete clsact qdisc: %w", err)
		}
		return nil
	}
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if egress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
		Fd:          prog, Name: "lastgood", DirectAction: true,
	}
	if err := netlink.FilterAdd(filter); err != nil {
		return nil, errors.Join(fmt.Errorf("add bpf filter: %w", err), detach())
	}
	return detach, nil
}
