package loader

import (
	"context"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Run is one test run of a loaded program, which is attached to nothing.
type Run struct {
	// Data is the packet; the kernel wants 14 bytes or more for programs on packets.
	Data []byte
	// Out is room for the packet as the program leaves it; nil where nobody looks.
	Out []byte
	// Repeat is how often the program runs on the same packet; 0 is once.
	Repeat uint32
}

// Ran is what came of a test run.
type Ran struct {
	Return uint32
	// Out is the packet as the program left it, within Run.Out.
	Out []byte
	// Each is the mean time of one run, as the kernel took it; its resolution is 1 ns.
	Each time.Duration
}

// testRunAttr mirrors the BPF_PROG_TEST_RUN part of union bpf_attr
// (include/uapi/linux/bpf.h) as of 5.10; what came later stays zero.
type testRunAttr struct {
	progFD      uint32
	retval      uint32
	dataSizeIn  uint32
	dataSizeOut uint32
	dataIn      uint64
	dataOut     uint64
	repeat      uint32
	duration    uint32
	ctxSizeIn   uint32
	ctxSizeOut  uint32
	ctxIn       uint64
	ctxOut      uint64
	flags       uint32
	cpu         uint32
}

// TestRun runs a program with BPF_PROG_TEST_RUN. It never repeats the call: before
// 5.13 (607b9cc92bd7) a pending signal ends it with EINTR after the program ran and
// before the packet is copied back, so what the program did to its maps is done.
// Stray signals are kept away; ctx interrupts a run that is repeated.
func TestRun(ctx context.Context, prog *ebpf.Program, r Run) (Ran, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	attr := &testRunAttr{progFD: uint32(prog.FD()), repeat: max(r.Repeat, 1),
		dataSizeIn: uint32(len(r.Data)), dataIn: address(&pin, r.Data),
		dataSizeOut: uint32(len(r.Out)), dataOut: address(&pin, r.Out)}
	var errno unix.Errno
	undisturbed(ctx, func() { _, errno = bpf(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(attr), unsafe.Sizeof(*attr)) })
	runtime.KeepAlive(prog)
	runtime.KeepAlive(r)
	if errno != 0 {
		return Ran{}, fmt.Errorf("test run program: %w", errno)
	}
	if int(attr.dataSizeOut) > len(r.Out) && r.Out != nil {
		return Ran{}, fmt.Errorf("test run program: the packet has %d bytes, there is room for %d", attr.dataSizeOut, len(r.Out))
	}
	ran := Ran{Return: attr.retval, Each: time.Duration(attr.duration)}
	if r.Out != nil {
		ran.Out = r.Out[:attr.dataSizeOut]
	}
	return ran, nil
}
