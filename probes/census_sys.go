package probes

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// bpfCommand makes one bpf(2) call with an attribute given as its bytes.
func bpfCommand(cmd uintptr, attr []byte) (int, unix.Errno) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)))
	runtime.KeepAlive(attr)
	if errno != 0 {
		return -1, errno
	}
	return int(r), 0
}

// newMap makes a map that the caller closes. Extra is what some types take
// besides: the address of an arena.
func newMap(typ ebpf.MapType, key, value, entries, flags uint32, extra uint64) (int, unix.Errno) {
	const mapExtra = 64 // offset of map_extra (5.16); older kernels want the shorter attribute or zeros
	attr := make([]byte, mapExtra+8)
	binary.NativeEndian.PutUint64(attr[mapExtra:], extra)
	for i, v := range []uint32{uint32(typ), key, value, entries, flags} {
		binary.NativeEndian.PutUint32(attr[4*i:], v)
	}
	return bpfCommand(unix.BPF_MAP_CREATE, attr)
}

// loadBTF loads type information; the caller closes it. The log is the kernel's.
func loadBTF(types []byte) (fd int, errno unix.Errno, log string) {
	const logSize = 4 << 10
	buf := make([]byte, logSize)
	attr := make([]byte, 32)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&types[0])
	pin.Pin(&buf[0])
	order := binary.NativeEndian
	order.PutUint64(attr[0:], uint64(uintptr(unsafe.Pointer(&types[0]))))
	order.PutUint64(attr[8:], uint64(uintptr(unsafe.Pointer(&buf[0]))))
	order.PutUint32(attr[16:], uint32(len(types)))
	order.PutUint32(attr[20:], logSize)
	order.PutUint32(attr[24:], 1)
	fd, errno = bpfCommand(unix.BPF_BTF_LOAD, attr)
	if n := bytes.IndexByte(buf, 0); n >= 0 {
		buf = buf[:n]
	}
	return fd, errno, string(buf)
}
