package loader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// LinkType is enum bpf_link_type (include/uapi/linux/bpf.h).
type LinkType uint32

// Types of links that say more than which program they hold.
const (
	LinkRawTracepoint LinkType = 1
	LinkTracing       LinkType = 2
	LinkCgroup        LinkType = 3
	LinkIter          LinkType = 4
	LinkNetns         LinkType = 5
	LinkXDP           LinkType = 6
	LinkPerfEvent     LinkType = 7
	LinkKprobeMulti   LinkType = 8
	LinkStructOps     LinkType = 9
	LinkNetfilter     LinkType = 10
	LinkTCX           LinkType = 11
	LinkUprobeMulti   LinkType = 12
	LinkNetkit        LinkType = 13
	LinkSockmap       LinkType = 14
)

// LoadedLink is one attachment that is held by a link. What a type of link does not
// have is 0 or "".
type LoadedLink struct {
	ID, ProgID uint32
	Type       LinkType
	Attach     ebpf.AttachType // of the types cgroup, netns, tracing, tcx, netkit, sockmap
	// Ifindex is that of an interface (xdp, tcx, netkit), 0 where it is gone. The link
	// does not say of which network namespace, and an index is another interface's there.
	Ifindex  uint32
	CgroupID uint64 // inode number of the cgroup's folder; 0 where it is gone
	Netns    uint32 // inode number of the network namespace
	MapID    uint32 // of struct_ops and sockmap
	// Event is the kind of a perf event: kprobe, kretprobe, uprobe, uretprobe, tracepoint (since 6.6).
	Event string
	// Name is that of a raw tracepoint, or of what a perf event is on.
	Name string
}

// bpfLinkInfo is struct bpf_link_info: a head and what depends on the type.
type bpfLinkInfo struct {
	linkType, id, progID, _ uint32
	rest                    [80]byte
}

func (i *bpfLinkInfo) u32(at int) uint32 { return binary.NativeEndian.Uint32(i.rest[at:]) }
func (i *bpfLinkInfo) u64(at int) uint64 { return binary.NativeEndian.Uint64(i.rest[at:]) }

// links reads all links. A kernel without them (before 5.7, or 5.8 for the list)
// answers EINVAL, and the list stays nil.
func (w *walker) links(ctx context.Context, out *Loaded) error {
	ids, err := w.ids(ctx, unix.BPF_LINK_GET_NEXT_ID, "links")
	if errors.Is(err, ErrNoWalk) {
		return nil
	}
	if err != nil {
		return err
	}
	out.Links = []LoadedLink{}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read BPF links: %w", err)
		}
		l, err := w.link(id)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAGAIN) { // gone, or being made (link_get_fd_by_id)
			continue
		}
		if err != nil {
			return err
		}
		out.Links = append(out.Links, l)
	}
	return nil
}

func (w *walker) link(id uint32) (LoadedLink, error) {
	fd, errno := w.open(unix.BPF_LINK_GET_FD_BY_ID, id, 0)
	if errno != 0 {
		return LoadedLink{}, fmt.Errorf("open BPF link %d: %w", id, errno)
	}
	defer unix.Close(fd)
	info := new(bpfLinkInfo)
	if errno := w.moreInfo(fd, info, unsafe.Sizeof(*info)); errno != 0 {
		return LoadedLink{}, fmt.Errorf("read BPF link %d: %w", id, errno)
	}
	l := linkOf(info)
	if at, length := nameField(&l, info); at >= 0 {
		l.Name = w.linkName(fd, at, length)
	}
	return l, nil
}

// linkOf takes over what a link's type says of it.
func linkOf(info *bpfLinkInfo) LoadedLink {
	l := LoadedLink{ID: info.id, ProgID: info.progID, Type: LinkType(info.linkType)}
	switch l.Type {
	case LinkTracing:
		l.Attach = ebpf.AttachType(info.u32(0))
	case LinkCgroup:
		l.CgroupID, l.Attach = info.u64(0), ebpf.AttachType(info.u32(8))
	case LinkNetns:
		l.Netns, l.Attach = info.u32(0), ebpf.AttachType(info.u32(4))
	case LinkXDP:
		l.Ifindex, l.Attach = info.u32(0), ebpf.AttachXDP
	case LinkTCX, LinkNetkit:
		l.Ifindex, l.Attach = info.u32(0), ebpf.AttachType(info.u32(4))
	case LinkStructOps:
		l.MapID = info.u32(0)
	case LinkSockmap:
		l.MapID, l.Attach = info.u32(0), ebpf.AttachType(info.u32(4))
	case LinkPerfEvent: // enum bpf_perf_event_type; 0 before 6.6 (1b715e1b0ec5)
		if t := info.u32(0); int(t) < len(perfEvents) {
			l.Event = perfEvents[t]
		}
	}
	return l
}

var perfEvents = [...]string{"", "uprobe", "uretprobe", "kprobe", "kretprobe", "tracepoint", "event"}

// nameField is where the link's info wants the address of a buffer for its name and
// the buffer's length; -1 where the type has no name.
func nameField(l *LoadedLink, info *bpfLinkInfo) (address, length int) {
	switch {
	case l.Type == LinkRawTracepoint:
		return 0, 8
	case l.Type == LinkPerfEvent && l.Event != "" && l.Event != "event":
		return 8, 16
	}
	return -1, 0
}

// maxLinkName is above the kernel's limit of a symbol's name; a longer path is cut.
const maxLinkName = 512

// linkName asks again, with a buffer for the name; "" where there is none to be had.
func (w *walker) linkName(fd, address, length int) string {
	buf := make([]byte, maxLinkName)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&buf[0])
	info := new(bpfLinkInfo)
	binary.NativeEndian.PutUint64(info.rest[address:], uint64(uintptr(unsafe.Pointer(&buf[0]))))
	binary.NativeEndian.PutUint32(info.rest[length:], uint32(len(buf)))
	// ENOSPC comes with the beginning of a name that is too long.
	if errno := w.moreInfo(fd, info, unsafe.Sizeof(*info)); errno != 0 && errno != unix.ENOSPC {
		return ""
	}
	return cText(buf)
}

// Attached is one program at an attachment point, and the link that holds it (0: none).
type Attached struct{ ProgID, LinkID uint32 }

// QueryAttached lists the programs at one attachment point (BPF_PROG_QUERY): target is
// an interface's index in this process' network namespace, or a descriptor of a cgroup,
// whichever the type wants. EINVAL means that the kernel does not know the type.
func QueryAttached(target uint32, at ebpf.AttachType) ([]Attached, error) {
	return queryAttached(bpf, target, at)
}

// maxAttached is above what the kernel lets attach at one point (BPF_MPROG_MAX, and
// BPF_CGROUP_MAX_PROGS in kernel/bpf/cgroup.c: 64 each).
const maxAttached = 64

func queryAttached(call bpfCall, target uint32, at ebpf.AttachType) ([]Attached, error) {
	type queryAttr struct {
		target, attachType, queryFlags, attachFlags uint32
		progIDs                                     uint64
		count, _                                    uint32
		progAttachFlags                             uint64
		linkIDs                                     uint64
		linkAttachFlags                             uint64
		revision                                    uint64
	}
	progs, links := new([maxAttached]uint32), new([maxAttached]uint32)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(progs)
	pin.Pin(links)
	attr := &queryAttr{target: target, attachType: uint32(at), progIDs: uint64(uintptr(unsafe.Pointer(progs))), count: maxAttached}
	if multi(at) { // elsewhere the kernel wants the field to be zero
		attr.linkIDs = uint64(uintptr(unsafe.Pointer(links)))
	}
	if _, errno := call(unix.BPF_PROG_QUERY, unsafe.Pointer(attr), unsafe.Sizeof(*attr)); errno != 0 {
		return nil, fmt.Errorf("query BPF programs at %d: %w", target, errno)
	}
	var out []Attached
	for i := range min(attr.count, maxAttached) {
		out = append(out, Attached{progs[i], links[i]})
	}
	return out, nil
}

// multi reports whether the attachment point is one of those that list links as well.
func multi(at ebpf.AttachType) bool {
	switch at {
	case ebpf.AttachTCXIngress, ebpf.AttachTCXEgress, ebpf.AttachNetkitPrimary, ebpf.AttachNetkitPeer:
		return true
	}
	return false
}
