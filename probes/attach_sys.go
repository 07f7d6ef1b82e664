package probes

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The calls by which programs are attached, made directly: the number that the kernel
// answers with is what is asked for, and the library tries other ways first. What a
// link attached ends with the link's descriptor (5.7, af6eea57437a).

// errOf is nil for 0.
func errOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// linkCreate attaches a program to a target (a descriptor, or an interface's index)
// until the link is closed. Extra follows the four common fields.
func linkCreate(prog *ebpf.Program, target int, at ebpf.AttachType, flags uint32, extra ...uint64) (int, error) {
	attr := make([]byte, 48)
	for i, v := range []uint32{uint32(prog.FD()), uint32(target), uint32(at), flags} {
		binary.NativeEndian.PutUint32(attr[4*i:], v)
	}
	for i, v := range extra {
		binary.NativeEndian.PutUint64(attr[16+8*i:], v)
	}
	fd, errno := bpfCommand(unix.BPF_LINK_CREATE, attr)
	runtime.KeepAlive(prog)
	return fd, errOf(errno)
}

// link attaches a program for as long as the case lasts, and gives what ends it before.
func (t *trial) link(prog *ebpf.Program, target int, at ebpf.AttachType, flags uint32, extra ...uint64) (detach func() error, err error) {
	fd, err := linkCreate(prog, target, at, flags, extra...)
	return t.owned(fd, err)
}

// owned closes a descriptor with the case, or before.
func (t *trial) owned(fd int, err error) (func() error, error) {
	if err != nil {
		return nil, err
	}
	open := true
	end := func() error {
		if !open {
			return nil
		}
		open = false
		return unix.Close(fd)
	}
	t.later(func() { _ = end() })
	return end, nil
}

// rawTracepoint attaches a program to a raw tracepoint, or with no name to what it was
// loaded for, until the descriptor is closed.
func rawTracepoint(prog *ebpf.Program, name string) (int, error) {
	attr := make([]byte, 16)
	var pin runtime.Pinner
	defer pin.Unpin()
	if name != "" {
		text := append([]byte(name), 0)
		pin.Pin(&text[0])
		binary.NativeEndian.PutUint64(attr, uint64(uintptr(unsafe.Pointer(&text[0]))))
	}
	binary.NativeEndian.PutUint32(attr[8:], uint32(prog.FD()))
	fd, errno := bpfCommand(unix.BPF_RAW_TRACEPOINT_OPEN, attr)
	runtime.KeepAlive(prog)
	return fd, errOf(errno)
}

// progAttach attaches a program to a map, which it leaves when the map goes.
func progAttach(prog *ebpf.Program, target int, at ebpf.AttachType) error {
	attr := make([]byte, 20)
	for i, v := range []uint32{uint32(target), uint32(prog.FD()), uint32(at)} {
		binary.NativeEndian.PutUint32(attr[4*i:], v)
	}
	_, errno := bpfCommand(unix.BPF_PROG_ATTACH, attr)
	runtime.KeepAlive(prog)
	return errOf(errno)
}

// testRun runs a program once on the packet, or on nothing, and gives its return value.
// It copies nothing of the program.
func testRun(prog *ebpf.Program, packet []byte) (uint32, error) {
	attr := make([]byte, 80)
	var pin runtime.Pinner
	defer pin.Unpin()
	binary.NativeEndian.PutUint32(attr, uint32(prog.FD()))
	if len(packet) > 0 {
		pin.Pin(&packet[0])
		binary.NativeEndian.PutUint32(attr[8:], uint32(len(packet)))
		binary.NativeEndian.PutUint64(attr[16:], uint64(uintptr(unsafe.Pointer(&packet[0]))))
	}
	_, errno := bpfCommand(unix.BPF_PROG_TEST_RUN, attr)
	runtime.KeepAlive(prog)
	return binary.NativeEndian.Uint32(attr[4:]), errOf(errno)
}
