package loader

import (
	"bytes"
	"context"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// tryLogSize holds the log of any program a census writes; those are a dozen
// instructions long.
const tryLogSize = 64 << 10

// gpl is the licence a program gets that names none.
var gpl = cString("GPL")

// TryProg is one small program of which only acceptance matters.
type TryProg struct {
	Type   ebpf.ProgramType
	Attach ebpf.AttachType // expected_attach_type
	Insns  []byte          // encoded, see EncodeInsns

	License     string // "" means GPL
	Name        string // shown in bpftool and audit records; may be ""
	BTFID       uint32 // attach_btf_id, 0 for none
	BTFObjFD    uint32 // attach_btf_obj_fd or attach_prog_fd: a module's BTF, or the program to replace
	ProgBTFFD   uint32 // prog_btf_fd, 0 for none
	KernVersion uint32 // needed by kprobes before 5.0
	Flags       uint32 // BPF_F_SLEEPABLE and the like
	Ifindex     uint32 // device to load for, 0 for the host
	FDArray     []int32

	// Quiet loads without a log, for callers that only want the errno.
	Quiet bool
}

// TryMap is one map of which only its creation matters.
type TryMap struct {
	Type                              ebpf.MapType
	KeySize, ValueSize, MaxEntries    uint32
	Flags                             uint32
	InnerFD                           uint32 // inner_map_fd of a map of maps
	BTFFD, BTFKeyTypeID, BTFValTypeID uint32 // needed by local storage maps
	VmlinuxValTypeID                  uint32 // needed by struct_ops maps
	Extra                             uint64 // map_extra: bloom filter hashes, arena address
	Ifindex                           uint32
}

// Trier loads many small programs one after the other with buffers of its own.
// It is not safe for concurrent use; give each worker its own.
type Trier struct {
	prog progLoadAttr
	mp   mapCreateAttr
	log  []byte
	pin  runtime.Pinner
}

// NewTrier returns a Trier with its log buffer allocated.
func NewTrier() *Trier { return &Trier{log: make([]byte, tryLogSize)} }

// Prog loads p once and closes it. The errno is 0 when the kernel accepted it. The
// log is the verifier's at level 1: a "processed" line alone for an accepted
// program since 5.8 (6f8a57ccf851), and nothing when the kernel refused before
// verification or p.Quiet is set.
func (t *Trier) Prog(p TryProg) (errno unix.Errno, log string) {
	defer t.pin.Unpin()
	t.fill(p)

	fd := -1
	undisturbed(context.Background(), func() {
		fd, errno = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&t.prog), unsafe.Sizeof(t.prog))
	})
	if errno == 0 {
		unix.Close(fd)
	}
	if p.Quiet {
		return errno, ""
	}
	return errno, logText(t.log)
}

// fill sets the attribute for p and pins what it points to.
func (t *Trier) fill(p TryProg) {
	license := gpl
	if p.License != "" {
		license = cString(p.License)
	}
	t.prog = progLoadAttr{
		progType:           uint32(p.Type),
		insnCnt:            uint32(len(p.Insns) / insnSize),
		insns:              address(&t.pin, p.Insns),
		license:            address(&t.pin, license),
		kernVersion:        p.KernVersion,
		progFlags:          p.Flags,
		progName:           objName(p.Name),
		progIfindex:        p.Ifindex,
		expectedAttachType: uint32(p.Attach),
		progBTFFD:          p.ProgBTFFD,
		attachBTFID:        p.BTFID,
		attachBTFObjFD:     p.BTFObjFD,
	}
	if len(p.FDArray) > 0 {
		t.pin.Pin(&p.FDArray[0])
		t.prog.fdArray = uint64(uintptr(unsafe.Pointer(&p.FDArray[0])))
	}
	if !p.Quiet {
		t.log[0] = 0 // a kernel that refuses early leaves the buffer as it was
		t.prog.logLevel = uint32(ebpf.LogLevelBranch)
		t.prog.logSize = uint32(len(t.log))
		t.prog.logBuf = address(&t.pin, t.log)
	}
}

// Map creates m once and closes it; 0 means the kernel made it.
func (t *Trier) Map(m TryMap) unix.Errno {
	t.mp = mapCreateAttr{
		mapType:               uint32(m.Type),
		keySize:               m.KeySize,
		valueSize:             m.ValueSize,
		maxEntries:            m.MaxEntries,
		mapFlags:              m.Flags,
		innerMapFD:            m.InnerFD,
		mapIfindex:            m.Ifindex,
		btfFD:                 m.BTFFD,
		btfKeyTypeID:          m.BTFKeyTypeID,
		btfValueTypeID:        m.BTFValTypeID,
		btfVmlinuxValueTypeID: m.VmlinuxValTypeID,
		mapExtra:              m.Extra,
	}
	fd, errno := bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&t.mp), unsafe.Sizeof(t.mp))
	if errno == 0 {
		unix.Close(fd)
	}
	return errno
}

// logText returns the NUL-terminated text in buf, a copy.
func logText(buf []byte) string {
	if n := bytes.IndexByte(buf, 0); n >= 0 {
		buf = buf[:n]
	}
	return string(buf)
}
