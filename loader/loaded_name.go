package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel keeps 15 bytes of a program's name. The whole of it is in the type
// information that came with the program, which is the loader's own data: asking for
// it copies nothing of the translated program.

// funcNames keeps the type information last read: programs of one object share it
// and have ids beside each other.
type funcNames struct {
	id   uint32
	data []byte
}

// fullName is the name of the program's main function if it begins with the short
// one, and the short one where the whole could not be found out.
func (w *walker) fullName(fd int, btfID uint32, short string) string {
	typeID, errno := w.mainFunction(fd)
	if errno != 0 {
		return short
	}
	if w.names.id != btfID {
		data, errno := w.btf(btfID)
		if errno != 0 {
			return short
		}
		w.names = funcNames{btfID, data}
	}
	name, err := funcName(w.names.data, typeID)
	if err != nil || !strings.HasPrefix(name, short) {
		return short
	}
	return name
}

// mainFunction is the type of the program's first function: of the main one.
func (w *walker) mainFunction(fd int) (typeID uint32, errno unix.Errno) {
	rec := new([2]uint32) // struct bpf_func_info: insn_off, type_id
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(rec)
	info := &bpfProgInfo{nrFuncInfo: 1, funcInfoRecSize: uint32(unsafe.Sizeof(*rec)), funcInfo: uint64(uintptr(unsafe.Pointer(rec)))}
	errno = w.moreInfo(fd, info, unsafe.Sizeof(*info))
	return rec[1], errno
}

// bpfBTFInfo is the head of struct bpf_btf_info.
type bpfBTFInfo struct {
	btf       uint64
	size, id  uint32
	name      uint64
	nameLen   uint32
	kernelBTF uint32
}

// maxProgBTF bounds the type information of one object; the largest agents' have
// some hundred KiB.
const maxProgBTF = 4 << 20

// btf reads type information that a loader handed to the kernel.
func (w *walker) btf(id uint32) ([]byte, unix.Errno) {
	fd, errno := w.open(unix.BPF_BTF_GET_FD_BY_ID, id, 0)
	if errno != 0 {
		return nil, errno
	}
	defer unix.Close(fd)
	size := new(bpfBTFInfo)
	if errno := w.moreInfo(fd, size, unsafe.Sizeof(*size)); errno != 0 {
		return nil, errno
	}
	if size.size == 0 || size.size > maxProgBTF {
		return nil, unix.E2BIG
	}
	data := make([]byte, size.size)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&data[0])
	info := &bpfBTFInfo{btf: uint64(uintptr(unsafe.Pointer(&data[0]))), size: size.size}
	if errno := w.moreInfo(fd, info, unsafe.Sizeof(*info)); errno != 0 {
		return nil, errno
	}
	return data, 0
}

// IsVmlinux reports whether the type information of that id is the kernel image's
// own: the id is given anew at each boot.
func IsVmlinux(id uint32) (bool, error) {
	w := walker{call: bpf}
	fd, errno := w.open(unix.BPF_BTF_GET_FD_BY_ID, id, 0)
	if errno != 0 {
		return false, fmt.Errorf("open BTF %d: %w", id, errno)
	}
	defer unix.Close(fd)
	name := make([]byte, 64)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&name[0])
	info := &bpfBTFInfo{name: uint64(uintptr(unsafe.Pointer(&name[0]))), nameLen: uint32(len(name))}
	if errno := w.moreInfo(fd, info, unsafe.Sizeof(*info)); errno != 0 && errno != unix.ENOSPC {
		return false, fmt.Errorf("read BTF %d: %w", id, errno)
	}
	return info.kernelBTF != 0 && cText(name) == "vmlinux", nil
}

var errBTF = errors.New("type information is damaged")

// btfTrailers is how many bytes follow struct btf_type for each kind
// (include/uapi/linux/btf.h): a fixed number and one for each member.
var btfTrailers = [...]struct{ fixed, each int }{
	1: {fixed: 4}, 2: {}, 3: {fixed: 12}, 4: {each: 12}, 5: {each: 12}, 6: {each: 8}, 7: {}, 8: {}, 9: {}, 10: {}, 11: {},
	12: {}, 13: {each: 8}, 14: {fixed: 4}, 15: {each: 12}, 16: {}, 17: {fixed: 4}, 18: {}, 19: {each: 12},
}

// funcName is the name of type id in raw type information of this machine's byte order.
func funcName(data []byte, id uint32) (string, error) {
	const header, btfType = 24, 12
	order := binary.NativeEndian
	if len(data) < header || order.Uint16(data) != 0xeb9f || id == 0 {
		return "", errBTF
	}
	section := func(at int) []byte {
		head, off, size := uint64(order.Uint32(data[4:])), uint64(order.Uint32(data[at:])), uint64(order.Uint32(data[at+4:]))
		if head+off+size > uint64(len(data)) {
			return nil
		}
		return data[head+off : head+off+size]
	}
	types, names := section(8), section(16)
	for n := uint32(1); len(types) >= btfType; n++ {
		info := order.Uint32(types[4:])
		kind, members := info>>24&0x1f, int(info&0xffff)
		if kind == 0 || int(kind) >= len(btfTrailers) {
			return "", fmt.Errorf("%w: kind %d", errBTF, kind)
		}
		if n == id {
			at := order.Uint32(types)
			if kind != 12 || uint64(at) >= uint64(len(names)) || bytes.IndexByte(names[at:], 0) < 0 {
				return "", errBTF
			}
			return cText(names[at:]), nil
		}
		size := btfType + btfTrailers[kind].fixed + members*btfTrailers[kind].each
		types = types[min(size, len(types)):]
	}
	return "", errBTF
}
