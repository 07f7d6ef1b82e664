package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// GuestCommand is the hidden command that the guest's kernel starts as init.
const GuestCommand = "__guest"

// Facts are what the guest says of itself, read inside: the proof that what ran
// is what was asked for.
type Facts struct {
	Release      string   `json:"release"`
	Version      string   `json:"version"`
	Arch         string   `json:"arch"`
	MemoryBytes  uint64   `json:"memory_bytes"`
	UptimeNanos  int64    `json:"uptime_nanos"`            // when init began
	ModuleErrors []string `json:"module_errors,omitempty"` // modules that could not be loaded
}

// Guest is the inside of a VM.
type Guest struct {
	out *os.File
	// Payload is the folder of the job's files.
	Payload string
	Facts   Facts
}

// mounts are what programs expect of a host. What a kernel does not have is left
// out: the readers of it say so.
var mounts = []struct{ fs, at string }{
	{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	{"securityfs", "/sys/kernel/security"}, {"tracefs", "/sys/kernel/tracing"}, {"cgroup2", "/sys/fs/cgroup"},
}

// answerPort is the guest's side of the second serial port.
const answerPort = "/dev/ttyS1"

// RunGuest is the guest's init: it makes a bare kernel a place to work in, says
// hello, does the job and switches the machine off. It does not return where it
// is process 1.
func RunGuest(ctx context.Context, job func(context.Context, *Guest) error) error {
	if os.Getpid() != 1 {
		return errors.New("run guest: this is not the first process of a VM")
	}
	g, err := openGuest()
	if err == nil {
		err = g.do(ctx, job)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lastgood guest:", err)
	}
	// A reboot ends QEMU, which is told not to start again; it needs no ACPI.
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func (g *Guest) do(ctx context.Context, job func(context.Context, *Guest) error) error {
	hello, err := json.Marshal(g.Facts)
	if err != nil {
		return err
	}
	if err := g.Send(FrameHello, hello); err != nil {
		return err
	}
	if err := job(ctx, g); err != nil {
		if e := g.Send(FrameRefused, []byte(err.Error())); e != nil {
			return errors.Join(err, e)
		}
	}
	return g.Send(FrameEnd, nil)
}

// Send sends one frame and waits until the port has taken it.
func (g *Guest) Send(t FrameType, payload []byte) error {
	b, err := AppendFrame(nil, Frame{t, payload})
	if err != nil {
		return err
	}
	if _, err := g.out.Write(b); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	// TCSBRK with a non-zero argument is tcdrain(3). Go's scheduler interrupts it with
	// signals, which is no failure.
	for {
		if err := unix.IoctlSetInt(int(g.out.Fd()), unix.TCSBRK, 1); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openGuest() (*Guest, error) {
	for _, m := range mounts {
		err := unix.Mount(m.fs, m.at, m.fs, 0, "")
		if err != nil && (m.at == "/proc" || m.at == "/dev") {
			return nil, fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	out, err := openRaw(answerPort)
	if err != nil {
		return nil, err
	}
	g := &Guest{out: out, Payload: "/" + payloadFolder}
	g.Facts = readFacts()
	g.Facts.ModuleErrors = loadModules("/" + moduleFolder)
	return g, nil
}

// openRaw opens a serial port that passes every byte through.
func openRaw(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open answer port: %w", err)
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("open answer port %s: %w", name, err)
	}
	// As cfmakeraw(3) does.
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB|unix.CBAUD) | unix.CS8 | unix.CLOCAL | unix.B115200
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("set answer port %s: %w", name, err)
	}
	return f, nil
}

func readFacts() Facts {
	f := Facts{Arch: runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Release = unix.ByteSliceToString(u.Release[:])
		f.Version = unix.ByteSliceToString(u.Version[:])
		f.Arch = unix.ByteSliceToString(u.Machine[:])
	}
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) == nil {
		f.UptimeNanos = now.Nano()
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		f.MemoryBytes = info.Totalram * uint64(info.Unit)
	}
	return f
}

// loadModules loads what the builder put there, in the order of the names, and
// returns what could not be loaded.
func loadModules(dir string) (failed []string) {
	names, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return []string{err.Error()}
	}
	slices.SortFunc(names, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, n := range names {
		err := loadModule(filepath.Join(dir, n.Name()))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			failed = append(failed, fmt.Sprintf("load %s: %v", n.Name(), err))
		}
	}
	return failed
}

func loadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}
