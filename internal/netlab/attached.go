package netlab

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is one interface of this process' network namespace, with the programs on
// it that netlink tells of.
type Interface struct {
	Index int
	Name  string
	// XDP is the id of the program on the XDP hook, 0 where there is none or where
	// there is one for each of several modes.
	XDP uint32
	// Ingress and Egress are ids of the programs in tc filters of the clsact hooks.
	Ingress, Egress []uint32
}

// Interfaces lists the interfaces of the namespace that this thread is in, and only
// reads. Filters of other qdiscs than clsact and ingress are not looked for: agents
// attach to those two. An error besides the list says what is missing in it.
func Interfaces(ctx context.Context) ([]Interface, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // one came or went meanwhile
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []Interface
	for _, l := range links {
		if err := ctx.Err(); err != nil {
			return out, fmt.Errorf("list tc filters: %w", err)
		}
		a := l.Attrs()
		i := Interface{Index: a.Index, Name: a.Name}
		if a.Xdp != nil {
			i.XDP = a.Xdp.ProgId
		}
		for parent, ids := range map[uint32]*[]uint32{netlink.HANDLE_MIN_INGRESS: &i.Ingress, netlink.HANDLE_MIN_EGRESS: &i.Egress} {
			if *ids, err = filters(h, l, parent); err != nil {
				return out, fmt.Errorf("list tc filters of %s: %w", a.Name, err)
			}
		}
		out = append(out, i)
	}
	return out, nil
}

// filters lists the programs of one hook. An interface that is gone meanwhile has none
// (tc_dump_tfilter in net/sched/cls_api.c answers an empty list), nor has any on a kernel
// without traffic control.
func filters(h *netlink.Handle, l netlink.Link, parent uint32) ([]uint32, error) {
	all, err := h.FilterList(l, parent)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	var ids []uint32
	for _, f := range all {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Id > 0 {
			ids = append(ids, uint32(b.Id))
		}
	}
	return ids, nil
}
