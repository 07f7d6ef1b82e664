package loader

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// logLevel2 lists every instruction the verifier visits (BPF_LOG_LEVEL2); at
// level 1 the listing of a finished path is taken back.
const logLevel2 = uint32(ebpf.LogLevelInstruction)

// logFixed keeps the head of a log that does not fit (BPF_LOG_FIXED, since 6.4).
const logFixed = 8

// Limits bound an explanation. A zero field means its default.
type Limits struct {
	Time  time.Duration // of the load; 5 minutes. An earlier deadline of the context counts too
	Lines int           // source lines kept, the most visited ones; 200
	Loops int           // loop heads kept, the most visited ones; 20
}

func (l Limits) orDefault() Limits {
	if l.Time <= 0 {
		l.Time = 5 * time.Minute
	}
	if l.Lines <= 0 {
		l.Lines = 200
	}
	if l.Loops <= 0 {
		l.Loops = 20
	}
	return l
}

// Explain loads req once with every visited instruction in the log and folds that
// log, as it comes, into insns per function and source line. The load takes tens
// of times as long as one with statistics only. Memory stays below 64 MiB beside
// that of the request itself, however long the log. The program is closed.
//
// A rejected program is explained as far as the verifier came; so is one whose load
// ran out of time, with Partial saying so. An error means that nothing was learnt:
// the request could not be linked, or only the library can load it (see Load).
func Explain(ctx context.Context, req Request, limits Limits) (Explanation, error) {
	x := explainer{load: newLoad(req, bpf), limits: limits.orDefault(), watch: newUserfault}
	return x.explain(ctx)
}

// explainer is a load with its whole listing.
type explainer struct {
	*load
	limits Limits
	watch  func(mem []byte) (*userfault, error) // newUserfault; tests do without
}

// listing is what a load left behind whose log was folded.
type listing struct {
	outcome
	method Method
	cut    bool // the log is longer than what was read of it
}

func (x *explainer) explain(ctx context.Context) (Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, x.limits.Time)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return Explanation{}, fmt.Errorf("explain: not started: %w", err)
	}
	linked, err := x.link()
	if err != nil {
		return Explanation{}, fmt.Errorf("explain %s: %w", specName(x.req.Spec), err)
	}
	defer linked.close()
	if linked.viaLibrary {
		return Explanation{}, fmt.Errorf("explain %s: %w", linked.spec.Name, ErrLibraryOnly)
	}
	code := newProgramMap(linked)
	fold := newLogFold(linked.slots(), code.starts)
	list, err := x.list(ctx, linked, fold)
	if err != nil {
		return Explanation{}, fmt.Errorf("explain %s: %w", linked.spec.Name, err)
	}
	m := x.verdict(ctx, list.outcome)
	e := code.explanation(fold, m, x.limits)
	e.Program, e.Seconds, e.Method = shorten(linked.spec.Name, maxName), list.seconds, list.method
	e.judge(m, list.cut)
	return e, nil
}

// verdict judges the load. Where the length of the log took the place of the
// verdict's errno, which it does for every log longer than its buffer, a plain
// load tells the verdict, unless there was no time for the first one already.
func (x *explainer) verdict(ctx context.Context, out outcome) Measurement {
	if out.errno == unix.ENOSPC && out.deadline != nil {
		out.errno = unix.EAGAIN
	}
	m := out.measurement()
	if out.errno == unix.ENOSPC && m.Verdict == "" {
		return Measure(ctx, x.req)
	}
	return m
}

// ErrLibraryOnly tells that the log of a program cannot be followed.
var ErrLibraryOnly = errors.New("refers to kernel variables, __kconfig values or a kfunc this kernel lacks, which only the library links, and its log cannot be followed")

// specName is the name for errors about a program that may not be there.
func specName(s *ebpf.ProgramSpec) string {
	if s == nil {
		return "program"
	}
	return s.Name
}

// list makes the load and feeds its log to fold. The error is of the buffer.
func (x *explainer) list(ctx context.Context, linked *linkedProgram, fold *logFold) (listing, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rotates := x.rotatingLog()
	stream, err := x.stream(rotates, fold, cancel)
	if err != nil {
		return listing{}, err
	}
	defer stream.close()
	out := listing{method: MethodStream, outcome: outcome{insns: linked.slots()}}
	if stream.faults == nil {
		out.method = MethodHead
	}

	var pin runtime.Pinner
	defer pin.Unpin()
	attr := linked.attr(&pin)
	attr.logBuf, attr.logSize = stream.addr(), min(uint32(len(stream.mem)), maxLogSize)
	attr.logLevel = logLevel2 | x.logLevel()
	if x.kernel.before(5, 2) {
		attr.logLevel, attr.logSize = logLevel2, min(attr.logSize, oldLogSize)
	}
	if rotates && stream.faults == nil {
		attr.logLevel |= logFixed
	}
	fd := -1
	undisturbed(ctx, func() {
		start := time.Now()
		fd, out.errno = x.bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
		out.seconds = time.Since(start).Seconds()
	})
	linked.keepAlive()
	if fd >= 0 {
		unix.Close(fd)
	}
	out.deadline = ctx.Err()
	out.cut = out.errno == unix.ENOSPC && (!rotates || stream.faults == nil)
	if err := stream.finish(uint64(attr.logTrueSize)); err != nil {
		return out, err
	}
	fold.finish()
	out.log = string(fold.tail)
	return out, nil
}

// stream makes the buffer: a ring where the kernel goes round, the longest one it
// takes where it does not, and one of fixed size where no log can be followed.
func (x *explainer) stream(rotates bool, fold *logFold, cancel func()) (*logStream, error) {
	sizes := []int{ringSize}
	switch {
	case !rotates && x.kernel.before(5, 2):
		sizes = []int{oldLogSize + 1}
	case !rotates:
		sizes = []int{1 << 30, 256 << 20, 64 << 20, ringSize} // a memory limit may refuse the address space
	}
	for _, size := range sizes {
		s, err := newLogStream(size, fold.add)
		if err != nil {
			continue
		}
		if err := s.follow(x.watch, cancel); err == nil {
			return s, nil
		}
		s.close()
		break
	}
	return newLogStream(headSize, fold.add)
}

// rotatingLog asks whether a log that reaches the end of its buffer goes on at the
// start. That came with log_true_size in one series (6.4: 121664093803, 47a71c1f9af0),
// which a program of two instructions shows.
func (x *explainer) rotatingLog() bool {
	insns, err := EncodeInsns(asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()})
	if err != nil {
		return false
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	attr := &progLoadAttr{
		progType: uint32(ebpf.SocketFilter), insnCnt: uint32(len(insns) / insnSize), insns: address(&pin, insns),
		license: address(&pin, cString("GPL")), logLevel: x.logLevel(), logSize: minLogSize, logBuf: address(&pin, make([]byte, minLogSize)),
		progName: objName("lastgood"),
	}
	var fd int
	undisturbed(context.Background(), func() {
		fd, _ = x.bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
	})
	if fd >= 0 {
		unix.Close(fd)
	}
	return attr.logTrueSize > 0
}

// judge says what the counts are worth; cut tells that the log was longer.
func (e *Explanation) judge(m Measurement, cut bool) {
	e.Verdict, e.Reason, e.Cause = m.Verdict, m.Reason, shorten(m.Cause, maxLine)
	processed := m.Stats.InsnsProcessed
	if !processed.Set {
		processed = m.VerifiedInsns
	}
	if processed.Set {
		n := processed.V
		e.Processed, e.Unattributed = &n, int64(n)-int64(e.Attributed)
	}
	// An instruction may be refused before it is listed.
	exact := e.Unattributed == 0 || e.Unattributed == 1 && m.Verdict != Accepted
	switch {
	case m.Inconclusive != "":
		e.Partial = m.Inconclusive
	case !processed.Set:
		e.Partial = fmt.Sprintf("the kernel did not say how many insns it processed; its log has %d", e.Attributed)
	case cut && !exact:
		e.Partial = fmt.Sprintf("the log is of the first %d insns of %d", e.Attributed, *e.Processed)
	case !exact:
		e.Partial = fmt.Sprintf("of %d insns processed %d were found in the log", *e.Processed, e.Attributed)
	}
}
