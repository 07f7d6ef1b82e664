package probes

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"lastgood/internal/netlab"
	"lastgood/loader"
)

// point is one place that a program is attached to. Where names it in a way that is
// the same at the next boot, and is "" where nothing is known that would be; how is
// the attach type. A point without how is one that the program was loaded for.
type point struct{ where, how string }

func (p point) String() string {
	return strings.TrimSpace(cmp.Or(p.where, "*") + " " + p.how)
}

// elsewhere stands for interfaces and namespaces that are not of this process' own
// network namespace: those of containers.
const elsewhere = "other-netns"

// finder finds where programs are attached.
type finder struct {
	points  map[uint32][]point // by the program's id
	cgroups *cgroupPaths
	ifaces  map[uint32]netlab.Interface
	netns   uint64
	// heldHere are the links on interfaces of this network namespace.
	heldHere map[uint32]bool
	errs     []error
}

// findPoints finds where each program is attached, by links, netlink and queries at the
// root of the cgroups. Programs attached to other cgroups without a link, and perf
// events that are held by their own descriptors, cannot be listed by the kernel.
func findPoints(ctx context.Context, have *loader.Loaded) (map[uint32][]point, error) {
	f := finder{points: map[uint32][]point{}, ifaces: map[uint32]netlab.Interface{}, heldHere: map[uint32]bool{}}
	f.interfaces(ctx)
	f.ownNetns()
	f.cgroups = openCgroups()
	defer f.cgroups.close()
	f.queryLinks(have.Links)
	for i := range have.Links {
		f.link(&have.Links[i])
	}
	f.rootCgroup(have)
	f.functions(have)
	for id, all := range f.points {
		slices.SortFunc(all, func(a, b point) int { return cmp.Or(cmp.Compare(a.where, b.where), cmp.Compare(a.how, b.how)) })
		f.points[id] = slices.Compact(all)
	}
	return f.points, errors.Join(f.errs...)
}

func (f *finder) add(prog uint32, where, how string) {
	f.points[prog] = append(f.points[prog], point{where, how})
}

func (f *finder) failed(err error) {
	if err != nil {
		f.errs = append(f.errs, err)
	}
}

// interfaces takes in what netlink says: names, XDP and the filters of tc.
func (f *finder) interfaces(ctx context.Context) {
	all, err := netlab.Interfaces(ctx)
	f.failed(err)
	for _, i := range all {
		f.ifaces[uint32(i.Index)] = i
		name := stableInterface(i.Name)
		if i.XDP != 0 {
			f.add(i.XDP, name, "xdp")
		}
		for _, id := range i.Ingress {
			f.add(id, name, "tc_ingress")
		}
		for _, id := range i.Egress {
			f.add(id, name, "tc_egress")
		}
	}
}

func (f *finder) ownNetns() {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		f.failed(fmt.Errorf("look at own network namespace: %w", err))
	}
	f.netns = st.Ino
}

// queryLinks finds out which links are on interfaces of this network namespace: a link
// gives an interface's index alone, and other namespaces have the same ones.
func (f *finder) queryLinks(links []loader.LoadedLink) {
	type place struct {
		index uint32
		at    ebpf.AttachType
	}
	asked := map[place]bool{}
	for _, l := range links {
		p := place{l.Ifindex, l.Attach}
		if l.Type != loader.LinkTCX && l.Type != loader.LinkNetkit || l.Ifindex == 0 || asked[p] || f.ifaces[l.Ifindex].Name == "" {
			continue
		}
		asked[p] = true
		at, err := loader.QueryAttached(p.index, p.at)
		// An interface that is none of netkit's answers ENXIO, one that is gone ENODEV, in
		// either case the link is on another's.
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EACCES) {
			f.failed(err)
		}
		for _, a := range at {
			f.heldHere[a.LinkID] = true
		}
	}
}

// link takes in what one link says.
func (f *finder) link(l *loader.LoadedLink) {
	how := attachName(l.Attach)
	switch l.Type {
	case loader.LinkXDP:
		if f.ifaces[l.Ifindex].XDP != l.ProgID {
			f.add(l.ProgID, elsewhere, how)
		}
	case loader.LinkTCX, loader.LinkNetkit:
		where := elsewhere
		if f.heldHere[l.ID] {
			where = stableInterface(f.ifaces[l.Ifindex].Name)
		}
		f.add(l.ProgID, where, how)
	case loader.LinkNetns:
		where := elsewhere
		if uint64(l.Netns) == f.netns {
			where = "netns"
		}
		f.add(l.ProgID, where, how)
	case loader.LinkCgroup:
		path, err := f.cgroups.path(l.CgroupID)
		f.failed(err)
		f.add(l.ProgID, stableCgroup(path), how)
	case loader.LinkTracing: // of which function the program itself says
		f.add(l.ProgID, "", how)
	case loader.LinkRawTracepoint:
		f.add(l.ProgID, stableFunction(l.Name), "raw_tracepoint")
	case loader.LinkPerfEvent:
		f.add(l.ProgID, stableFunction(l.Name), cmp.Or(l.Event, "perf_event"))
	default:
		f.add(l.ProgID, "", linkName(l.Type))
	}
}

// rootCgroup asks for the programs at the root of the cgroups that no link holds:
// that is where agents attached them before there were links.
func (f *finder) rootCgroup(have *loader.Loaded) {
	if f.cgroups.fd < 0 {
		return
	}
	wanted := map[ebpf.ProgramType]bool{}
	for i := range have.Programs {
		wanted[have.Programs[i].Type] = true
	}
	for _, k := range cgroupAttachKinds {
		if !wanted[k.prog] {
			continue
		}
		at, err := loader.QueryAttached(uint32(f.cgroups.fd), k.at)
		if err != nil && !errors.Is(err, unix.EINVAL) { // which is a type that this kernel does not have
			f.failed(err)
		}
		for _, a := range at {
			f.add(a.ProgID, "/", attachName(k.at))
		}
	}
}

// functions names the kernel's functions that programs were loaded for. Without a link
// the point has no how: the program is not attached.
func (f *finder) functions(have *loader.Loaded) {
	wanted := map[uint32]string{}
	vmlinux := map[uint32]bool{}
	for i := range have.Programs {
		p := &have.Programs[i]
		if p.AttachBTFObj == 0 || p.AttachBTFID == 0 {
			continue
		}
		if _, asked := vmlinux[p.AttachBTFObj]; !asked {
			is, err := loader.IsVmlinux(p.AttachBTFObj)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				f.failed(err)
			}
			vmlinux[p.AttachBTFObj] = is
		}
		if vmlinux[p.AttachBTFObj] {
			wanted[p.AttachBTFID] = ""
		}
	}
	if len(wanted) == 0 {
		return
	}
	file, err := os.Open(defaultBTF)
	if err == nil {
		defer file.Close()
		err = nameTypes(file, wanted)
	}
	f.failed(err)
	for i := range have.Programs {
		if p := &have.Programs[i]; vmlinux[p.AttachBTFObj] {
			f.function(p.ID, stableFunction(wanted[p.AttachBTFID]))
		}
	}
}

// function gives the program's tracing points the function's name.
func (f *finder) function(prog uint32, name string) {
	if name == "" {
		return
	}
	at := f.points[prog]
	if len(at) == 0 {
		f.add(prog, name, "")
	}
	for i := range at {
		if at[i].where == "" {
			at[i].where = name
		}
	}
}

// generated are interface names that a container runtime, a hypervisor or an agent made
// up: what they share, and a part that is another at each start.
var generated = regexp.MustCompile(`^(veth|lxc|cali|eni|tap|vnet|vif|nk|br-|gke|azv)([0-9a-f]*[0-9][0-9a-f]*|[0-9a-f]{7,})$`)

// stableInterface is the name with what was made up replaced by *.
func stableInterface(name string) string {
	if m := generated.FindStringSubmatch(name); m != nil {
		return m[1] + "*"
	}
	return name
}

// hexRun are parts of cgroups' names that stand for one container, pod or session.
var hexRun = regexp.MustCompile(`[0-9a-f]{8}([_-][0-9a-f]{4}){3}[_-][0-9a-f]{12}|[0-9a-f]{12,}|\d+`)

// stableCgroup is the path with numbers and long hexadecimal ones replaced by *.
func stableCgroup(path string) string { return hexRun.ReplaceAllString(path, "*") }

// stableFunction is the name without what a compiler adds to it: .isra.0, .constprop.0.
func stableFunction(name string) string {
	short, _, _ := strings.Cut(name, ".")
	return short
}

// cgroupPaths turns numbers of cgroups into paths without walking the hierarchy.
type cgroupPaths struct {
	mount string
	fd    int // of the hierarchy's root, -1 where there is none
}

// openCgroups opens the v2 hierarchy where service managers mount it: by itself, or
// beside those of v1. The caller closes it.
func openCgroups() *cgroupPaths {
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if err := unix.Statfs(mount, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		if fd, err := unix.Open(mount, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			return &cgroupPaths{mount, fd}
		}
	}
	return &cgroupPaths{fd: -1}
}

func (c *cgroupPaths) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
}

// fileIDKernfs is FILEID_KERNFS (include/linux/exportfs.h, since 5.5): a handle that is
// the number itself.
const fileIDKernfs = 0xfe

// path is the cgroup's path below the hierarchy's root; "" where the cgroup is gone or
// nothing is mounted.
func (c *cgroupPaths) path(id uint64) (string, error) {
	if id == 0 || c.fd < 0 {
		return "", nil
	}
	h := unix.NewFileHandle(fileIDKernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(c.fd, h, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if errors.Is(err, unix.ESTALE) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("open cgroup %d: %w", id, err)
	}
	defer unix.Close(fd)
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", fmt.Errorf("name cgroup %d: %w", id, err)
	}
	return cmp.Or(strings.TrimPrefix(name, c.mount), "/"), nil
}
