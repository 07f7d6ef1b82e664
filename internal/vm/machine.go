// Package vm boots an unmodified distribution kernel under QEMU and has it do one
// job: with a small initramfs of lastgood itself, no disk, no network, nothing of
// the host's but two serial ports. One is the kernel's console, the other carries
// the answer. Nothing is written to a file system of the host.
package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine says what guests run on. The zero value is not useful; see New.
type Machine struct {
	Accel     Accel
	MemoryMiB int
	CPUs      int
	// Timeout bounds a run and BootTimeout the part of it before init says hello.
	Timeout, BootTimeout time.Duration
	// KVMPatience is how long a guest under KVM may be silent before KVM is given up.
	KVMPatience time.Duration
	// Devices are more of QEMU's options: hardware for readers to find. Nothing of the
	// host's may be among them that user nobody must not reach.
	Devices []string
}

// New is a machine that a million-insn program fits into.
func New() *Machine {
	return &Machine{Accel: Auto, MemoryMiB: 768, CPUs: 2, Timeout: 90 * time.Second, BootTimeout: 60 * time.Second, KVMPatience: 2 * time.Second}
}

// Job is what one guest is to do.
type Job struct {
	Kernel string // path of the image
	Arch   string // uname -m; "" is this host's
	Image  Image
	// Args are added to the kernel's command line, InitArgs are init's own.
	Args, InitArgs []string
	// Progress is told what the guest says goes on. It may be nil.
	Progress func(line string)
}

// Result is what is known of a guest that ran, however it ended.
type Result struct {
	Outcome Outcome
	Why     string // the line that says it best; "" where it is done
	Facts   *Facts // nil where the guest never said hello
	Results [][]byte
	Console string // the kernel's own words, the tail of a long one
	Accel   Accel
	CPU     string
	Notes   []string
	// KVMGivenUp says why Auto fell back to emulation after it had tried KVM or looked for it.
	KVMGivenUp string
	// BootTime is from QEMU's start to the guest's hello, Took to its end.
	BootTime, Took time.Duration
}

const (
	// maxOutput bounds each of the guest's two ports.
	maxOutput = 64 << 20
	// keepConsole is how much of a console is kept: its end.
	keepConsole = 64 << 10
	pollEvery   = 5 * time.Millisecond
)

// Run boots the kernel and follows the guest to its end. The error is for what is
// not the guest's: no QEMU, no such file, an init that cannot be one. How the guest
// fared is in the result.
func (m *Machine) Run(ctx context.Context, job Job) (*Result, error) {
	switch m.Accel {
	case TCG:
		return m.emulate(ctx, job)
	case KVM:
		return m.run(ctx, job, KVM)
	}
	if err := kvmUsable(); err != nil {
		return m.fallBack(ctx, job, err.Error())
	}
	r, err := m.run(ctx, job, KVM)
	switch {
	case err != nil:
		return m.fallBack(ctx, job, err.Error())
	case r.Outcome == Hung, r.Outcome == DidNotStart:
		return m.fallBack(ctx, job, r.Why)
	}
	return r, nil
}

func (m *Machine) fallBack(ctx context.Context, job Job, why string) (*Result, error) {
	r, err := m.emulate(ctx, job)
	if r != nil {
		r.KVMGivenUp = why
		r.Notes = append(r.Notes, "emulated, for KVM cannot be had: "+why)
	}
	return r, err
}

// strayBreakpoint is how die() names a breakpoint that nobody set.
const strayBreakpoint = "int3: 0000"

// emulate runs a guest under emulation, once more with one CPU where it died of the
// emulator. Before 8.1 (deba78709a, "accel/tcg: Always lock pages before translation")
// QEMU may run the breakpoint of a patched jump after the kernel has taken it away,
// about once in a hundred boots with two CPUs. One CPU cannot, and takes a third longer.
func (m *Machine) emulate(ctx context.Context, job Job) (*Result, error) {
	r, err := m.run(ctx, job, TCG)
	if err != nil || m.CPUs < 2 || ctx.Err() != nil || !strings.Contains(r.Console, strayBreakpoint) {
		return r, err
	}
	alone := *m
	alone.CPUs = 1
	r, err = alone.run(ctx, job, TCG)
	if r != nil {
		r.Notes = append(r.Notes, "run with one CPU: with "+strconv.Itoa(m.CPUs)+" it met a breakpoint that nobody had set, as QEMU before 8.1 brings about")
	}
	return r, err
}

// kvmUsable asks for KVM's version, which no half-made device answers.
func kvmUsable() error {
	fd, err := unix.Open(kvmDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", kvmDevice, err)
	}
	defer unix.Close(fd)
	const getAPIVersion, version = 0xAE00, 12 // KVM_GET_API_VERSION, which is 12 for ever
	v, err := unix.IoctlRetInt(fd, getAPIVersion)
	if err != nil || v != version {
		return fmt.Errorf("ask %s for its version: %d, %w", kvmDevice, v, err)
	}
	return nil
}

func (m *Machine) run(ctx context.Context, job Job, accel Accel) (*Result, error) {
	if job.Arch == "" {
		job.Arch = hostArch()
	}
	qemu, err := findQEMU(job.Arch)
	if err != nil {
		return nil, err
	}
	p := &process{m: m, accel: accel, job: job}
	defer p.close()
	if err := p.prepare(); err != nil {
		return nil, err
	}
	// PDEATHSIG is sent when the thread that forked ends, so this thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.start(ctx, qemu); err != nil {
		return nil, err
	}
	return p.follow(ctx), nil
}

// process is one QEMU at work.
type process struct {
	m     *Machine
	accel Accel
	job   Job

	files           []*os.File // memory without a name, in the order of the fd numbers
	console, answer *os.File
	cmd             *exec.Cmd
	stderr          tail
	gone            chan error
	begun           time.Time

	read    frameReader
	seen    int64 // bytes of the answer that were read
	result  Result
	ended   bool
	refused string
	garbage error
}

func (p *process) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// prepare puts the kernel and the initramfs into memory that QEMU inherits: it may
// then run as somebody who could not read them, and nothing is left behind.
func (p *process) prepare() error {
	for _, name := range []string{"kernel", "initramfs", "console", "answer"} {
		fd, err := unix.MemfdCreate("lastgood-"+name, unix.MFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("run VM: %w", err)
		}
		p.files = append(p.files, os.NewFile(uintptr(fd), name))
	}
	p.console, p.answer = p.files[2], p.files[3]
	image, err := os.Open(p.job.Kernel)
	if err != nil {
		return fmt.Errorf("read kernel: %w", err)
	}
	defer image.Close()
	if _, err := io.Copy(p.files[0], image); err != nil {
		return fmt.Errorf("read kernel %s: %w", p.job.Kernel, err)
	}
	return p.job.Image.Write(p.files[1])
}

func (p *process) start(ctx context.Context, qemu string) error {
	attr, runas, err := lessPrivilege(p.accel)
	if err != nil {
		return err
	}
	cmdline := strings.Join(append(append(append([]string{}, kernelArgs...), p.job.Args...), append([]string{"--"}, p.job.InitArgs...)...), " ")
	name, args, outside := p.m.bounded(qemu, p.m.arguments(p.accel, cmdline, runas))
	p.cmd = exec.CommandContext(ctx, name, args...)
	p.cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	p.cmd.Dir = "/"
	p.cmd.SysProcAttr = attr
	p.cmd.ExtraFiles = p.files
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	p.cmd.Cancel = p.kill
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("run VM: %w", err)
	}
	p.gone = make(chan error, 1)
	go func() { p.gone <- p.cmd.Wait() }()
	if err := bind(p.cmd.Process.Pid, outside); err != nil {
		p.stop()
		return err
	}
	return nil
}

func (p *process) stop() {
	// One that ended by itself meanwhile is what was wanted.
	_ = p.kill()
	<-p.gone
}

// kill ends QEMU and whatever it may have started: it leads a group of its own.
func (p *process) kill() error { return unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) }

// follow reads what the guest says until it is done, dead, out of time or out of bounds.
func (p *process) follow(ctx context.Context) *Result {
	p.result.Accel, p.result.CPU = p.accel, cpuModel(p.accel)
	var e end
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case e.exit = <-p.gone:
			p.listen()
			e.overflow = p.tooMuch()
			return p.finish(ctx, e)
		case <-ctx.Done():
			over = true
		case <-tick.C:
			p.listen()
			e.timeout = p.late(time.Since(p.begun))
			e.overflow = p.tooMuch()
			over = p.ended || e.timeout || e.overflow || p.garbage != nil
		}
	}
	p.stop()
	p.listen()
	return p.finish(ctx, e)
}

// late reports whether the guest is out of time, for good or with KVM only.
func (p *process) late(took time.Duration) bool {
	switch {
	case took > p.m.Timeout:
		return true
	case p.result.Facts != nil:
		return false
	case took > p.m.BootTimeout:
		return true
	}
	return p.accel == KVM && took > p.m.KVMPatience && !p.alive()
}

// alive reports whether the kernel's first line was seen. The boot stub's own, which
// comes before it, is printed even where KVM then hangs.
func (p *process) alive() bool {
	head := make([]byte, 4<<10)
	n, _ := p.console.ReadAt(head, 0)
	return bytes.Contains(head[:n], []byte("Linux version "))
}

func (p *process) tooMuch() bool { return size(p.console) >= maxOutput || size(p.answer) >= maxOutput }

func size(f *os.File) int64 {
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// listen takes what is new in the answer.
func (p *process) listen() {
	for p.garbage == nil && !p.ended {
		buf := make([]byte, min(size(p.answer)-p.seen, 1<<20))
		if len(buf) == 0 {
			return
		}
		n, err := p.answer.ReadAt(buf, p.seen)
		if n == 0 {
			if err != nil && !errors.Is(err, io.EOF) {
				p.garbage = err
			}
			return
		}
		p.seen += int64(n)
		frames, err := p.read.feed(buf[:n])
		for _, f := range frames {
			p.take(f)
		}
		p.garbage = errors.Join(p.garbage, err)
	}
}

func (p *process) take(f Frame) {
	switch f.Type {
	case FrameHello:
		facts := &Facts{}
		if err := json.Unmarshal(f.Payload, facts); err != nil {
			p.garbage = fmt.Errorf("%w: its hello: %w", ErrGarbage, err)
			return
		}
		p.result.Facts, p.result.BootTime = facts, time.Since(p.begun)
	case FrameProgress:
		if p.job.Progress != nil {
			p.job.Progress(printable(string(f.Payload)))
		}
	case FrameResult:
		p.result.Results = append(p.result.Results, f.Payload)
	case FrameRefused:
		p.refused = printable(string(f.Payload))
	case FrameEnd:
		p.ended = true
	default:
		p.garbage = fmt.Errorf("%w: a frame of type %q", ErrGarbage, f.Type)
	}
}

// finish says how it ended.
func (p *process) finish(ctx context.Context, e end) *Result {
	r := &p.result
	r.Took = time.Since(p.begun)
	r.Console = p.consoleTail()
	e.console, e.stderr = r.Console, p.stderr.String()
	e.said, e.partial, e.garbage = r.Facts != nil, p.read.partial(), p.garbage
	switch {
	case p.ended && p.garbage == nil && p.refused != "":
		r.Outcome, r.Why = Refused, p.refused
	case p.ended && p.garbage == nil && r.Facts != nil:
		r.Outcome = Done
		if line, _ := distress(r.Console); line != "" {
			r.Notes = append(r.Notes, "the kernel complained, and went on: "+line)
		}
	case ctx.Err() != nil:
		r.Outcome, r.Why = Interrupted, "it was stopped"
	default:
		r.Outcome, r.Why = e.outcome()
	}
	return r
}

func (p *process) consoleTail() string {
	from := max(size(p.console)-keepConsole, 0)
	text, _ := io.ReadAll(io.NewSectionReader(p.console, from, keepConsole))
	return printable(string(text))
}

// printable makes a guest's words harmless on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd:
			return -1
		}
		return r
	}, s)
}

// tail keeps the last words of a program.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-4<<10):]
	return len(b), nil
}

func (t *tail) String() string { return printable(string(t.b)) }

func hostArch() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Machine[:])
}
