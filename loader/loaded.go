package loader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// LoadedProgram is one program that the kernel holds, whoever loaded it. What the
// kernel did not tell is not set.
type LoadedProgram struct {
	ID   uint32 // of this boot only, and given again when it is free
	Name string // at most 15 bytes unless the program's type information has more; may be ""
	Type ebpf.ProgramType

	XlatedBytes   Opt[uint64]
	JitedBytes    Opt[uint64]
	VerifiedInsns Opt[uint64] // since 5.16 (aba64c7da983)
	MemlockBytes  Opt[uint64]

	RunTime  time.Duration // 0 unless statistics are enabled (kernel.bpf_stats_enabled)
	RunCount uint64
	LoadTime time.Duration // since boot, suspend included
	UID      uint32        // of the user that loaded it
	MapIDs   []uint32

	// AttachBTFObj and AttachBTFID say which function a tracing program was loaded for,
	// by the id of the type information and the type in it; 0 where there is none.
	AttachBTFObj, AttachBTFID uint32

	Errs []string // what could not be read of it
}

// LoadedMap is one map that the kernel holds.
type LoadedMap struct {
	ID           uint32
	Name         string
	Type         ebpf.MapType
	MaxEntries   uint32
	MemlockBytes Opt[uint64] // grows with the entries of a map that does not preallocate
}

// Loaded is what the kernel held at one moment, in order of ids. Objects that were
// gone before they could be read are in none of the lists.
type Loaded struct {
	Programs []LoadedProgram
	Maps     map[uint32]LoadedMap
	Links    []LoadedLink // nil on kernels without links (before 5.7)
	Vanished int          // programs that were gone before they could be read
}

// ErrNoWalk means that this kernel does not list its programs (before 4.13).
var ErrNoWalk = errors.New("this kernel does not list its BPF programs")

// maxLoaded bounds how many objects of one sort are read: far above what a node
// has, below what would take seconds.
const maxLoaded = 1 << 16

// ReadLoaded lists all programs, maps and links of the running kernel. It needs
// CAP_SYS_ADMIN; without it the error wraps EPERM. The ids of all programs are taken
// first and at once, so that what is loaded meanwhile is in no way part of the answer.
// Only lengths are asked for. An error besides the lists says what is missing in them.
func ReadLoaded(ctx context.Context) (*Loaded, error) {
	w := walker{call: bpf, fdinfo: readFdinfo}
	return w.read(ctx)
}

// walker reads what is loaded; tests give it system calls of their own.
type walker struct {
	call   bpfCall
	fdinfo func(fd int) ([]byte, error)
	names  funcNames
}

func (w *walker) read(ctx context.Context) (*Loaded, error) {
	out := &Loaded{Maps: map[uint32]LoadedMap{}}
	ids, err := w.ids(ctx, unix.BPF_PROG_GET_NEXT_ID, "programs")
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return out, fmt.Errorf("read BPF programs: %d of %d: %w", len(out.Programs), len(ids), err)
		}
		p, err := w.program(id)
		switch {
		case errors.Is(err, unix.ENOENT):
			out.Vanished++
		case err != nil:
			return out, err
		default:
			out.Programs = append(out.Programs, p)
		}
	}
	mapErr := w.maps(ctx, out)
	linkErr := w.links(ctx, out)
	return out, errors.Join(mapErr, linkErr)
}

// ids lists the ids of all objects of one sort. An object that is loaded or freed
// meanwhile may be in the list or not.
func (w *walker) ids(ctx context.Context, cmd uintptr, what string) ([]uint32, error) {
	type nextIDAttr struct{ start, next, flags uint32 }
	var ids []uint32
	attr := &nextIDAttr{}
	for {
		_, errno := w.call(cmd, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
		switch {
		case errno == unix.ENOENT:
			return ids, nil
		case errno == unix.EINVAL && len(ids) == 0:
			return nil, fmt.Errorf("list BPF %s: %w (%w)", what, ErrNoWalk, errno)
		case errno != 0:
			return nil, fmt.Errorf("list BPF %s: %w", what, errno)
		case attr.next <= attr.start:
			return nil, fmt.Errorf("list BPF %s: id %d after %d", what, attr.next, attr.start)
		case len(ids) == maxLoaded:
			return nil, fmt.Errorf("list BPF %s: more than %d", what, maxLoaded)
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list BPF %s: %w", what, err)
		}
		ids = append(ids, attr.next)
		attr.start = attr.next
	}
}

// open opens the object of that id; the caller closes the descriptor. ENOENT means
// that it is gone.
func (w *walker) open(cmd uintptr, id, flags uint32) (int, unix.Errno) {
	attr := &struct{ id, next, flags uint32 }{id: id, flags: flags}
	return w.call(cmd, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
}

// program reads one program. The error is ENOENT where it is gone by now.
func (w *walker) program(id uint32) (LoadedProgram, error) {
	fd, errno := w.open(unix.BPF_PROG_GET_FD_BY_ID, id, 0)
	if errno != 0 {
		return LoadedProgram{}, fmt.Errorf("open BPF program %d: %w", id, errno)
	}
	defer unix.Close(fd)
	info, filled, errno := progInfo(w.call, fd)
	if errno != 0 {
		return LoadedProgram{}, fmt.Errorf("read BPF program %d: %w", id, errno)
	}
	p := LoadedProgram{
		ID: id, Name: cText(info.name[:]), Type: ebpf.ProgramType(info.progType),
		RunTime: time.Duration(info.runTimeNS), RunCount: info.runCnt, LoadTime: time.Duration(info.loadTime), UID: info.createdByUID,
		AttachBTFObj: info.attachBTFObjID, AttachBTFID: info.attachBTFID,
	}
	var m Measurement
	m.lengths(info, filled)
	p.XlatedBytes, p.JitedBytes, p.VerifiedInsns, p.Errs = m.XlatedBytes, m.JitedBytes, m.VerifiedInsns, m.Errs
	if data, err := w.fdinfo(fd); err != nil {
		p.Errs = append(p.Errs, err.Error())
	} else if p.MemlockBytes, err = parseMemlock(data); err != nil {
		p.Errs = append(p.Errs, err.Error())
	}
	if info.nrMapIDs > 0 {
		if p.MapIDs, errno = w.mapIDs(fd, info.nrMapIDs); errno != 0 {
			p.Errs = append(p.Errs, fmt.Sprintf("read maps of BPF program: %v", errno))
		}
	}
	if len(p.Name) == unix.BPF_OBJ_NAME_LEN-1 && info.nrFuncInfo > 0 && info.btfID != 0 {
		p.Name = w.fullName(fd, info.btfID, p.Name)
	}
	return p, nil
}

// mapIDs asks for the ids of the program's maps and, as progInfo does, for nothing
// of the program itself. MAX_USED_MAPS is 64, so the list is short.
func (w *walker) mapIDs(fd int, n uint32) ([]uint32, unix.Errno) {
	ids := make([]uint32, min(n, 1024))
	info := &bpfProgInfo{nrMapIDs: uint32(len(ids))}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&ids[0])
	info.mapIDs = uint64(uintptr(unsafe.Pointer(&ids[0])))
	if errno := w.moreInfo(fd, info, unsafe.Sizeof(*info)); errno != 0 {
		return nil, errno
	}
	return ids[:min(int(info.nrMapIDs), len(ids))], 0
}

// moreInfo asks for the info of a descriptor with what the caller set in it.
func (w *walker) moreInfo(fd int, info any, size uintptr) unix.Errno {
	var pin runtime.Pinner
	defer pin.Unpin()
	var at unsafe.Pointer
	switch i := info.(type) {
	case *bpfProgInfo:
		pin.Pin(i)
		at = unsafe.Pointer(i)
	case *bpfMapInfo:
		pin.Pin(i)
		at = unsafe.Pointer(i)
	case *bpfLinkInfo:
		pin.Pin(i)
		at = unsafe.Pointer(i)
	case *bpfBTFInfo:
		pin.Pin(i)
		at = unsafe.Pointer(i)
	}
	attr := &objInfoAttr{fd: uint32(fd), infoLen: uint32(size), info: uint64(uintptr(at))}
	_, errno := w.call(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
	return errno
}

// bpfMapInfo is the head of struct bpf_map_info (include/uapi/linux/bpf.h).
type bpfMapInfo struct {
	mapType, id, keySize, valueSize, maxEntries, mapFlags uint32
	name                                                  [unix.BPF_OBJ_NAME_LEN]byte
}

// maps reads the maps of the programs in out. Others are nobody's limit.
func (w *walker) maps(ctx context.Context, out *Loaded) error {
	for i := range out.Programs {
		for _, id := range out.Programs[i].MapIDs {
			if _, seen := out.Maps[id]; seen {
				continue
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("read BPF maps: %w", err)
			}
			m, err := w.oneMap(id)
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return err
			}
			out.Maps[id] = m
		}
	}
	return nil
}

func (w *walker) oneMap(id uint32) (LoadedMap, error) {
	fd, errno := w.open(unix.BPF_MAP_GET_FD_BY_ID, id, unix.BPF_F_RDONLY)
	if errno != 0 {
		return LoadedMap{}, fmt.Errorf("open BPF map %d: %w", id, errno)
	}
	defer unix.Close(fd)
	info := new(bpfMapInfo)
	if errno := w.moreInfo(fd, info, unsafe.Sizeof(*info)); errno != 0 {
		return LoadedMap{}, fmt.Errorf("read BPF map %d: %w", id, errno)
	}
	m := LoadedMap{ID: id, Name: cText(info.name[:]), Type: ebpf.MapType(info.mapType), MaxEntries: info.maxEntries}
	data, err := w.fdinfo(fd)
	if err == nil {
		m.MemlockBytes, err = parseMemlock(data)
	}
	if err != nil {
		return m, fmt.Errorf("read BPF map %d: %w", id, err)
	}
	return m, nil
}

// MapsOf lists the program's maps by their ids; those that were gone are left out.
func (l *Loaded) MapsOf(p *LoadedProgram) []LoadedMap {
	var out []LoadedMap
	for _, id := range slices.Sorted(slices.Values(p.MapIDs)) {
		if m, ok := l.Maps[id]; ok {
			out = append(out, m)
		}
	}
	return out
}

// cText is the text before the first NUL.
func cText(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// maxFdinfo bounds /proc/self/fdinfo/FD, which is some hundred bytes.
const maxFdinfo = 1024

// readFdinfo reads what the kernel tells of a descriptor of this process. The files
// are this process' own, and there may be thousands: nothing is kept between two.
func readFdinfo(fd int) ([]byte, error) {
	f, err := unix.Open(fmt.Sprintf("/proc/self/fdinfo/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read memlock: %w", err)
	}
	defer unix.Close(f)
	buf := make([]byte, maxFdinfo)
	n, err := unix.Read(f, buf)
	if err != nil {
		return nil, fmt.Errorf("read memlock: %w", err)
	}
	return buf[:n], nil
}
