package probes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
)

// Functions and a tracepoint of net/bpf/test_run.c, which nothing but BPF_PROG_TEST_RUN
// comes by.
const (
	testFunction = "bpf_fentry_test1"       // int (int a): a + 1; called with 1 (5.5, faeb2dce084a)
	testModify   = "bpf_modify_return_test" // int (int a, int *b): called with 1 and 2 (5.7, 3e7c67d90e3e)
	testPoint    = "bpf_test_finish"        // void (int *err) (5.2, e950e843367d)
	testEvent    = "bpf_test_run/" + testPoint
)

const traceCost = 20 * time.Millisecond

var _ = attaching("trace",
	attachCase{ID: "trace/raw_tracepoint", Cost: traceCost, Run: traceRaw, Doc: "a raw tracepoint (4.17, c4f6699dfcb8)"},
	attachCase{ID: "trace/tracepoint", Cost: traceCost, Run: traceEvent, Doc: "a tracepoint by a perf event, of one thread (4.7, 98b5c2c65c29)"},
	attachCase{ID: "trace/tp_btf", Cost: 90 * time.Millisecond, Run: func(t *trial) error { return traceTyped(t, ebpf.AttachTraceRawTp, testPoint) },
		Doc: "a raw tracepoint with types (5.5, 9e15db66136a)"},
	attachCase{ID: "trace/fentry", Cost: traceCost, Run: func(t *trial) error { return traceTyped(t, ebpf.AttachTraceFEntry, testFunction) },
		Doc: "the entry of a function, by a trampoline (5.5, fec56f5890d9)"},
	attachCase{ID: "trace/fexit", Cost: traceCost, Run: func(t *trial) error { return traceTyped(t, ebpf.AttachTraceFExit, testFunction) },
		Doc: "its exit, with what it returns"},
	attachCase{ID: "trace/fmod_ret", Cost: traceCost, Run: traceModify,
		Doc: "another return value in its place, and the function not called (5.7, 6ba43b761c41)"},
	attachCase{ID: "trace/kprobe", Cost: traceCost, Run: func(t *trial) error { return traceProbe(t, false) },
		Doc: "a breakpoint at a function's entry, by a perf event of one thread (4.1, 2541517c32be)"},
	attachCase{ID: "trace/kretprobe", Cost: traceCost, Run: func(t *trial) error { return traceProbe(t, true) },
		Doc: "one where it returns"},
	attachCase{ID: "trace/kprobe_multi", Cost: traceCost, Run: traceMulti,
		Doc: "entries of many functions, by ftrace (5.18, 0dcac2725406)"},
)

// traceCounts is a map of a counter and the name of the thread that is counted: others
// may use BPF_PROG_TEST_RUN at the same time, and process ids are not the same to all.
const traceCounts = 3

// tracing is a program that counts its runs on this thread where test lets it, and
// returns answer then, else 0.
func tracing(typ ebpf.ProgramType, at ebpf.AttachType, to string, test asm.Instructions, answer int32) Program {
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		// Older kernels (strscpy in bpf_get_current_comm) leave what lies behind the name as it was.
		asm.Mov.Imm(asm.R2, 0), asm.StoreMem(asm.R10, -16, asm.R2, asm.DWord), asm.StoreMem(asm.R10, -8, asm.R2, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -16), asm.Mov.Imm(asm.R2, 16), asm.FnGetCurrentComm.Call(),
		asm.JNE.Imm(asm.R0, 0, "out"),
		asm.LoadMapValue(asm.R1, 0, 0).WithReference(countsMap),
		asm.LoadMem(asm.R2, asm.R1, 8, asm.DWord), asm.LoadMem(asm.R3, asm.R10, -16, asm.DWord), asm.JNE.Reg(asm.R2, asm.R3, "out"),
		asm.LoadMem(asm.R2, asm.R1, 16, asm.DWord), asm.LoadMem(asm.R3, asm.R10, -8, asm.DWord), asm.JNE.Reg(asm.R2, asm.R3, "out"),
	}
	insns = append(insns, test...)
	insns = append(insns, countRun()...)
	insns = append(insns, asm.Mov.Imm(asm.R0, answer), asm.Return(), asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	return Program{
		Spec: &ebpf.ProgramSpec{Type: typ, AttachType: at, AttachTo: to, License: "GPL", Instructions: insns},
		Maps: map[string]*ebpf.MapSpec{countsMap: countsSpec(traceCounts)},
	}
}

// named gives this thread a name of its own until the case is over, and puts it into
// the map of the program that is loaded next.
func (t *trial) named() error {
	before, err := os.ReadFile("/proc/thread-self/comm")
	if err != nil {
		return cannotTell("read thread name: %v", err)
	}
	var now [16]byte
	copy(now[:15], fmt.Sprintf("lg%d", unix.Gettid()))
	if err := nameThread(now[:]); err != nil {
		return cannotTell("name thread: %v", err)
	}
	t.later(func() { _ = nameThread(append(bytes.TrimSpace(before), 0)) })
	value := make([]byte, 8*traceCounts)
	copy(value[8:], now[:])
	t.prepare = func(maps map[string]*ebpf.Map) error { return maps[countsMap].Put(uint32(0), value) }
	return nil
}

// nameThread gives this thread a name that ends with a zero.
func nameThread(name []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&name[0])
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
}

// traced attaches a program, makes the thing happen and compares how often the program
// ran, attached and not.
func (t *trial) traced(p Program, attach func(*ebpf.Program) (int, error), happen func(*ebpf.Program) error) error {
	if err := t.named(); err != nil {
		return err
	}
	prog, maps, err := t.load(p, t.rig.types)
	if err != nil {
		return err
	}
	detach, err := t.owned(attach(prog))
	if err := t.attached(err); err != nil {
		return err
	}
	const times = 3
	for range times {
		if err := happen(prog); err != nil {
			return err
		}
	}
	runs, err := readTraced(maps)
	if err != nil {
		return err
	}
	t.s.Set("runs", snapshot.Int(runs))
	expect(t, "runs of the program", runs, times)
	if err := detach(); err != nil {
		return kernelSays("detach", err)
	}
	if err := happen(prog); err != nil {
		return err
	}
	if after, err := readTraced(maps); err != nil {
		return err
	} else if after != runs {
		t.wrong("the program still runs after it was detached")
	}
	return nil
}

func readTraced(maps map[string]*ebpf.Map) (uint64, error) {
	var v [traceCounts]uint64
	if err := maps[countsMap].Lookup(uint32(0), &v); err != nil {
		return 0, fmt.Errorf("read counts: %w", err)
	}
	return v[0], nil
}

// runSelf has the kernel call its test functions: for programs that trace functions
// BPF_PROG_TEST_RUN calls these, and not the program.
func runSelf(p *ebpf.Program) error {
	if _, err := testRun(p, nil); err != nil {
		return kernelSays("run test functions", err)
	}
	return nil
}

// finisher gives what makes the kernel come by the tracepoint: a run of a program that
// does nothing.
func (t *trial) finisher() (func(*ebpf.Program) error, error) {
	prog, m := loadQuiet(t, &ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if prog == nil {
		return nil, m
	}
	packet := packetOf(actPass, 0, false)
	return func(*ebpf.Program) error {
		if _, err := testRun(prog, packet); err != nil {
			return kernelSays("run a program", err)
		}
		return nil
	}, nil
}

// caller gives what makes the kernel call its test functions: a run of a program that
// would trace one, and is not attached.
func (t *trial) caller() (func(*ebpf.Program) error, error) {
	prog, err := loadQuiet(t, &ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, AttachTo: testFunction, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		return nil, cannotTell("nothing calls %s here: %v", testFunction, err)
	}
	return func(*ebpf.Program) error { return runSelf(prog) }, nil
}

// loadQuiet loads a program that the case is not about.
func loadQuiet(t *trial, spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	other := &trial{ctx: t.ctx, rig: t.rig, s: &snapshot.Subject{}}
	prog, _, err := other.load(Program{Spec: spec}, t.rig.types)
	t.later(other.close)
	return prog, err
}

func traceRaw(t *trial) error {
	finish, err := t.finisher()
	if err != nil {
		return err
	}
	return t.traced(tracing(ebpf.RawTracepoint, 0, "", nil, 0),
		func(p *ebpf.Program) (int, error) { return rawTracepoint(p, testPoint) }, finish)
}

// traceTyped attaches to what the program was loaded for, and looks at the arguments.
func traceTyped(t *trial, at ebpf.AttachType, to string) error {
	attach := func(p *ebpf.Program) (int, error) { return rawTracepoint(p, "") }
	if at == ebpf.AttachTraceRawTp {
		finish, err := t.finisher()
		if err != nil {
			return err
		}
		return t.traced(tracing(ebpf.Tracing, at, to, nil, 0), attach, finish)
	}
	test := unlessField(0, asm.DWord, 1) // the argument
	if at == ebpf.AttachTraceFExit {
		test = append(test, unlessField(8, asm.DWord, 2)...) // what was returned
	}
	return t.traced(tracing(ebpf.Tracing, at, to, test, 0), attach, runSelf)
}

// traceModify replaces a return value. Newer kernels call a second function and add
// its value and effect, so that the difference is what is compared.
func traceModify(t *trial) error {
	const instead, usual = 77, 1 + 3
	var results []uint32
	err := t.traced(tracing(ebpf.Tracing, ebpf.AttachModifyReturn, testModify, unlessField(0, asm.DWord, 1), instead),
		func(p *ebpf.Program) (int, error) { return rawTracepoint(p, "") },
		func(p *ebpf.Program) error {
			ret, err := testRun(p, nil)
			results = append(results, ret)
			if err != nil {
				return kernelSays("run test functions", err)
			}
			return nil
		})
	if err != nil || len(results) < 4 {
		return err
	}
	with, without := results[0], results[len(results)-1]
	expect(t, "change of the return value", int(with&0xffff)-int(without&0xffff), instead-usual)
	expect(t, "calls that were left out", int(without>>16)-int(with>>16), 1)
	return nil
}

// traceEvent opens the tracepoint for this thread only.
func traceEvent(t *trial) error {
	id, err := eventID(testEvent)
	if err != nil {
		return err
	}
	finish, err := t.finisher()
	if err != nil {
		return err
	}
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Sample: 1, Sample_type: unix.PERF_SAMPLE_RAW, Wakeup: 1}
	return t.traced(tracing(ebpf.TracePoint, 0, "", nil, 0), func(p *ebpf.Program) (int, error) { return perfAttach(p, &attr) }, finish)
}

// eventID reads a tracepoint's number out of the trace file system, which not every
// host has mounted.
func eventID(event string) (uint64, error) {
	for _, root := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(root + "/events"); err != nil {
			continue
		}
		b, err := os.ReadFile(root + "/events/" + event + "/id")
		if os.IsNotExist(err) {
			return 0, &lackError{fmt.Sprintf("the kernel has no tracepoint %s", event)}
		}
		var id uint64
		if err == nil {
			_, err = fmt.Sscan(string(b), &id)
		}
		if err != nil {
			return 0, cannotTell("read number of tracepoint: %v", err)
		}
		return id, nil
	}
	return 0, cannotTell("the trace file system is not mounted, or the kernel has none")
}

// perfAttach opens an event of this thread alone and attaches a program to it.
func perfAttach(p *ebpf.Program, attr *unix.PerfEventAttr) (int, error) {
	attr.Size = uint32(unsafe.Sizeof(*attr))
	fd, err := unix.PerfEventOpen(attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if err = unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, p.FD()); err == nil {
		err = unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// traceProbe puts a breakpoint on a test function.
func traceProbe(t *trial, ret bool) error {
	const sources, source = "/sys/bus/event_source/devices", "/kprobe/type" // 4.17, e12f03d7031a
	if _, err := os.Stat(sources); err != nil {
		return cannotTell("list event sources: %v", err)
	}
	b, err := os.ReadFile(sources + source)
	if os.IsNotExist(err) {
		return &lackError{"the kernel has no kprobes: there is no " + sources + source}
	}
	var typ uint32
	if err == nil {
		_, err = fmt.Sscan(string(b), &typ)
	}
	if err != nil {
		return cannotTell("read type of kprobe events: %v", err)
	}
	call, err := t.caller()
	if err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	name := []byte(testFunction + "\x00")
	pin.Pin(&name[0])
	attr := unix.PerfEventAttr{Type: typ, Ext1: uint64(uintptr(unsafe.Pointer(&name[0])))}
	if ret {
		attr.Config = 1 // PERF_PROBE_CONFIG_IS_RETPROBE
	}
	return t.traced(tracing(ebpf.Kprobe, 0, "", nil, 0), func(p *ebpf.Program) (int, error) { return perfAttach(p, &attr) }, call)
}

// traceMulti attaches to one test function by name.
func traceMulti(t *trial) error {
	call, err := t.caller()
	if err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	name := []byte(testFunction + "\x00")
	pin.Pin(&name[0])
	names := []uint64{uint64(uintptr(unsafe.Pointer(&name[0])))}
	pin.Pin(&names[0])
	// struct { __u32 flags, cnt; __u64 syms, addrs, cookies } of union bpf_attr.
	head := binary.NativeEndian.Uint64(binary.NativeEndian.AppendUint32(make([]byte, 4, 8), 1))
	return t.traced(tracing(ebpf.Kprobe, ebpf.AttachTraceKprobeMulti, "", nil, 0), func(p *ebpf.Program) (int, error) {
		return linkCreate(p, 0, ebpf.AttachTraceKprobeMulti, 0, head, uint64(uintptr(unsafe.Pointer(&names[0]))))
	}, call)
}
