package loader

import (
	"context"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

const (
	minLogSize = 64 << 10
	// logPerFunction holds the newest kernels' line on a function with the longest
	// name there is (KSYM_NAME_LEN, 512).
	logPerFunction = 1 << 10
	maxLogSize     = 1<<30 - 1  // UINT_MAX >> 2, since 5.2 (7a9f5c65abcc)
	oldLogSize     = 16<<20 - 1 // UINT_MAX >> 8, before
	logStats       = uint32(ebpf.LogLevelStats)
)

// Request is one program to measure.
type Request struct {
	// Spec is the program, with calls between its functions linked as
	// ebpf.LoadCollectionSpec leaves them. It is not changed.
	Spec *ebpf.ProgramSpec
	// Maps stand in for references by name; nil when Spec holds its maps already.
	Maps map[string]*ebpf.Map
	// LogSize is the size of the log buffer in bytes; 0 means big enough for the
	// statistics of any program. Less than 64 KiB is raised to that.
	LogSize uint32
	// Types keeps decoded kernel type information from one request to the next;
	// nil decodes it anew, and only for programs that need it. It may be shared
	// by concurrent calls.
	Types *btf.Cache
}

// Measure loads req once, reads the verifier's statistics and the program's
// lengths, and closes it. It makes exactly one BPF_PROG_LOAD call, or none when
// the request fails before. It returns no error: failure is in the Measurement.
//
// When ctx ends during the load, the verifier is interrupted and the Measurement
// is inconclusive.
func Measure(ctx context.Context, req Request) Measurement {
	fd, m := newLoad(req, bpf).run(ctx)
	if fd != nil {
		fd.close()
	}
	return m
}

// Load is Measure for callers that go on with the program. The program is nil
// unless the verdict is accepted; the caller closes it.
//
// Programs that refer to kernel variables, to __kconfig values or to a kfunc this
// kernel does not have are linked and loaded by cilium/ebpf, which alone can read
// those references. For them a ctx that ends during the load is not obeyed, and
// v0.22 keeps no log of a load that fails with EFAULT.
func Load(ctx context.Context, req Request) (*ebpf.Program, Measurement) {
	fd, m := newLoad(req, bpf).run(ctx)
	if fd == nil {
		return nil, m
	}
	if fd.prog != nil {
		return fd.prog, m
	}
	// Takes the descriptor over, also when it fails.
	prog, err := ebpf.NewProgramFromFD(fd.fd)
	if err != nil {
		m = Measurement{Inconclusive: "loaded program could not be opened: " + err.Error(), Phase: PhaseInfo, Stats: m.Stats}
		return nil, m
	}
	return prog, m
}

// bpfCall is the bpf(2) system call; tests count and fail it.
type bpfCall func(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno)

// loaded is an accepted program: a bare descriptor, or the library's program.
type loaded struct {
	fd   int
	prog *ebpf.Program
}

func (l *loaded) close() {
	if l.prog != nil {
		l.prog.Close()
		return
	}
	unix.Close(l.fd)
}

// load is one request on its way.
type load struct {
	req    Request
	bpf    bpfCall
	kernel kernelVersion
}

func newLoad(req Request, call bpfCall) *load {
	if req.Types == nil {
		req.Types = btf.NewCache()
	}
	return &load{req: req, bpf: call, kernel: runningKernel()}
}

// run takes the request through all phases.
func (l *load) run(ctx context.Context) (*loaded, Measurement) {
	if err := ctx.Err(); err != nil {
		return nil, Measurement{Phase: PhaseOpen, Reason: ReasonInterrupted, Inconclusive: "not started: " + err.Error()}
	}
	linked, err := l.link()
	if err != nil {
		return nil, linkFailure(err)
	}
	defer linked.close()

	out := outcome{insns: linked.slots()}
	var prog *loaded
	if linked.viaLibrary {
		prog = l.throughLibrary(linked, &out)
	} else {
		prog = l.direct(ctx, linked, &out)
	}
	out.deadline = ctx.Err()
	m := out.measurement()
	if prog == nil {
		return nil, m
	}
	fd := prog.fd
	if prog.prog != nil {
		fd = prog.prog.FD()
	}
	readInfo(l.bpf, fd, &m)
	return prog, m
}

// direct makes the one BPF_PROG_LOAD call.
func (l *load) direct(ctx context.Context, linked *linkedProgram, out *outcome) *loaded {
	var pin runtime.Pinner
	defer pin.Unpin()
	attr := linked.attr(&pin)
	buf := make([]byte, l.logSize(linked.spec.Instructions))
	attr.logBuf = address(&pin, buf)
	attr.logSize = uint32(len(buf))
	attr.logLevel = l.logLevel()

	fd := -1
	undisturbed(ctx, func() {
		start := time.Now()
		fd, out.errno = l.bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
		out.seconds = time.Since(start).Seconds()
	})
	linked.keepAlive()
	out.log = logText(buf)
	if out.errno != 0 {
		return nil
	}
	return &loaded{fd: fd}
}

// logLevel is statistics only: a log with the instructions in it costs a
// multiple of the verification. Before 5.2 (06ee7115b0d1) there is no such level.
func (l *load) logLevel() uint32 {
	if l.kernel.before(5, 2) {
		return uint32(ebpf.LogLevelBranch)
	}
	return logStats
}

// logSize is room for all statistics, so that neither they nor the verdict's errno
// are lost to a full buffer.
func (l *load) logSize(insns asm.Instructions) uint32 {
	if l.kernel.before(5, 2) {
		return oldLogSize
	}
	if l.req.LogSize != 0 {
		return min(max(l.req.LogSize, minLogSize), maxLogSize)
	}
	size := uint32(minLogSize)
	for i := range insns {
		// There are no more functions than references to them, and the kernel
		// takes 256.
		if insns[i].IsFunctionReference() && size < minLogSize+512*logPerFunction {
			size += logPerFunction
		}
	}
	return size
}

// kernelVersion is major and minor of the running kernel. It is used only to
// leave out what an old kernel would refuse, never to tell what it can do.
type kernelVersion struct{ major, minor, patch int }

func runningKernel() kernelVersion {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return kernelVersion{} // cannot fail with a valid pointer; unknown counts as new
	}
	return parseKernelVersion(unix.ByteSliceToString(uts.Release[:]))
}

func parseKernelVersion(release string) (v kernelVersion) {
	// A release without a third number leaves patch at 0, which is right.
	_, _ = fmt.Sscanf(release, "%d.%d.%d", &v.major, &v.minor, &v.patch)
	return v
}

// before tells whether the kernel is older than major.minor. An unknown version
// counts as new.
func (v kernelVersion) before(major, minor int) bool {
	return v.major != 0 && (v.major < major || v.major == major && v.minor < minor)
}

// code is KERNEL_VERSION(), which kprobes had to state before 5.0 (6c4fc209fcf9).
func (v kernelVersion) code() uint32 {
	return uint32(v.major)<<16 | uint32(v.minor)<<8 | uint32(min(v.patch, 255))
}
