package loader

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfProgInfo mirrors struct bpf_prog_info (include/uapi/linux/bpf.h). Every
// pointer and count is left at zero, which asks for lengths only: given a buffer,
// the kernel first copies the translated program in one piece, and for more than
// 4 MiB of it (524,288 instructions) that allocation warns and taints.
type bpfProgInfo struct {
	progType             uint32
	id                   uint32
	tag                  [8]byte
	jitedProgLen         uint32
	xlatedProgLen        uint32
	jitedProgInsns       uint64
	xlatedProgInsns      uint64
	loadTime             uint64
	createdByUID         uint32
	nrMapIDs             uint32
	mapIDs               uint64
	name                 [unix.BPF_OBJ_NAME_LEN]byte
	ifindex              uint32
	gplCompatible        uint32
	netnsDev             uint64
	netnsIno             uint64
	nrJitedKsyms         uint32
	nrJitedFuncLens      uint32
	jitedKsyms           uint64
	jitedFuncLens        uint64
	btfID                uint32
	funcInfoRecSize      uint32
	funcInfo             uint64
	nrFuncInfo           uint32
	nrLineInfo           uint32
	lineInfo             uint64
	jitedLineInfo        uint64
	nrJitedLineInfo      uint32
	lineInfoRecSize      uint32
	jitedLineInfoRecSize uint32
	nrProgTags           uint32
	progTags             uint64
	runTimeNS            uint64
	runCnt               uint64
	recursionMisses      uint64
	verifiedInsns        uint32 // since 5.16 (aba64c7da983)
	attachBTFObjID       uint32
	attachBTFID          uint32
	_                    uint32
}

type objInfoAttr struct {
	fd      uint32
	infoLen uint32
	info    uint64
}

// progInfo asks for the lengths of program fd. It returns how many bytes of the
// struct this kernel filled: an older one knows fewer fields.
func progInfo(call bpfCall, fd int) (info *bpfProgInfo, filled uint32, errno unix.Errno) {
	info = new(bpfProgInfo)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(info)
	attr := &objInfoAttr{fd: uint32(fd), infoLen: uint32(unsafe.Sizeof(*info)), info: uint64(uintptr(unsafe.Pointer(info)))}
	_, errno = call(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
	return info, attr.infoLen, errno
}

// readInfo fills in what the kernel keeps of the loaded program.
func readInfo(call bpfCall, fd int, m *Measurement) {
	info, filled, errno := progInfo(call, fd)
	if errno != 0 {
		m.Errs = append(m.Errs, fmt.Sprintf("read program info: %v", errno))
	} else {
		m.lengths(info, filled)
	}
	memlock, err := readMemlock(fd)
	if err != nil {
		m.Errs = append(m.Errs, err.Error())
		return
	}
	m.MemlockBytes = memlock
}

// lengths takes over what info really holds. A caller without CAP_BPF gets zeros
// for both lengths, and no program has an xlated length of zero.
func (m *Measurement) lengths(info *bpfProgInfo, filled uint32) {
	if info.xlatedProgLen != 0 {
		m.XlatedBytes = Some(uint64(info.xlatedProgLen))
		m.JitedBytes = Some(uint64(info.jitedProgLen))
	} else {
		m.Errs = append(m.Errs, "read program info: the kernel does not tell the program's lengths (CAP_BPF missing?)")
	}
	if uintptr(filled) >= unsafe.Offsetof(info.verifiedInsns)+unsafe.Sizeof(info.verifiedInsns) {
		m.VerifiedInsns = Some(uint64(info.verifiedInsns))
	}
}

// readMemlock reads the memlock line of /proc/self/fdinfo/FD; absent on kernels
// that do not have it.
func readMemlock(fd int) (Opt[uint64], error) {
	data, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return Opt[uint64]{}, fmt.Errorf("read program memlock: %w", err)
	}
	return parseMemlock(data)
}

func parseMemlock(fdinfo []byte) (Opt[uint64], error) {
	for line := range bytes.Lines(fdinfo) {
		value, ok := bytes.CutPrefix(line, []byte("memlock:"))
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
		if err != nil {
			return Opt[uint64]{}, fmt.Errorf("read program memlock: %w", err)
		}
		return Some(n), nil
	}
	return Opt[uint64]{}, nil
}
