package systemvm

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Patience with a guest under emulation, on a host that does other things besides.
const (
	bootPatience    = 25 * time.Minute
	commandPatience = 25 * time.Minute
)

// machine is a virtual machine that runs, and its agent's port.
type machine struct {
	cmd     *exec.Cmd
	dir     string
	gone    chan struct{}
	port    net.Conn
	lines   chan string
	console string
	number  int
	// boot and kernel are those of the newest start that was seen.
	boot, kernel string
}

// disk is a virtual disk: a file, or where socket is set what is offered there.
type disk struct {
	path, socket, format, cache string
	readOnly                    bool
}

func (d disk) option() string {
	o := "if=virtio,format=" + d.format + ",cache=" + d.cache
	if d.socket != "" {
		o += ",file.driver=nbd,file.server.type=unix,file.server.path=" + d.socket
	} else {
		o += ",file.driver=file,file.filename=" + d.path
	}
	if d.readOnly {
		o += ",readonly=on"
	}
	return o
}

// base are QEMU's options of every machine: no network, no screen, one processor. QEMU before
// 8.1 may run a breakpoint that the kernel has taken away when it has two, see internal/vm. The
// guest's clock counts instructions, a billion a second: however busy the host is, nothing in the
// guest takes longer by its own clock, and no deadline is missed for it.
var base = []string{
	"-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
	"-machine", "pc,usb=off,vmport=off,hpet=off", "-accel", "tcg,thread=single,tb-size=256", "-cpu", "max,cx16=off",
	"-smp", "1", "-m", "768", "-icount", "shift=0", "-rtc", "base=utc,clock=vm", "-device", "virtio-rng-pci",
}

// start runs a machine from its disks; dir is for its console and its agent's socket.
func start(dir string, disks []disk, more ...string) (*machine, error) {
	qemu, err := find("qemu-system-x86_64")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "agent")
	for _, name := range []string{socket, filepath.Join(dir, "monitor")} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	m := &machine{dir: dir, console: filepath.Join(dir, "console"), gone: make(chan struct{}), lines: make(chan string, 64)}
	args := append([]string{}, base...)
	args = append(args, "-chardev", "file,append=on,id=console,path="+m.console, "-serial", "chardev:console",
		"-device", "virtio-serial-pci", "-chardev", "socket,server=on,wait=off,id=agent,path="+socket,
		"-device", "virtserialport,chardev=agent,name=lastgood.agent",
		"-chardev", "socket,server=on,wait=off,id=monitor,path="+filepath.Join(dir, "monitor"), "-mon", "chardev=monitor")
	for _, d := range disks {
		args = append(args, "-drive", d.option())
	}
	m.cmd = exec.Command(qemu, append(args, more...)...)
	var said strings.Builder
	m.cmd.Stderr = &said
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // whose threads stay until it ends
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = m.cmd.Wait() // how it ended is what the caller asks for
		close(m.gone)
	}()
	if m.port, err = dial(socket, m.gone); err != nil {
		m.cut()
		return nil, fmt.Errorf("%w: %s", err, said.String())
	}
	go m.read()
	return m, nil
}

// dial waits for QEMU to make its socket.
func dial(socket string, gone <-chan struct{}) (net.Conn, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return c, nil
		}
		select {
		case <-gone:
			return nil, errors.New("QEMU ended")
		case <-tick.C:
		}
	}
	return nil, errors.New("QEMU made no socket")
}

// read passes the agent's lines on until the port is closed.
func (m *machine) read() {
	defer close(m.lines)
	r := bufio.NewReader(m.port)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		m.lines <- strings.TrimSpace(line)
	}
}

// next is the agent's next line of a kind.
func (m *machine) next(kind string, patience time.Duration) ([]string, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, open := <-m.lines:
			if !open {
				return nil, fmt.Errorf("the machine ended\n%s", m.tail())
			}
			f := strings.Fields(line)
			if len(f) == 0 {
				continue
			}
			if f[0] == "hello" && len(f) == 3 {
				m.boot, m.kernel = f[1], f[2]
			}
			if f[0] == kind {
				return f[1:], nil
			}
			if f[0] == "hello" {
				return nil, fmt.Errorf("the machine started again, with kernel %s\n%s", m.kernel, m.tail())
			}
		case <-late.C:
			return nil, fmt.Errorf("no %q within %v\n%s", kind, patience, m.tail())
		}
	}
}

// up waits for the machine's next start to come so far that it takes commands.
func (m *machine) up() error {
	_, err := m.next("hello", bootPatience)
	return err
}

// run has the guest's root run a command of its shell, and gives what it said and its status.
func (m *machine) run(command string) (string, int, error) {
	m.number++
	if _, err := fmt.Fprintf(m.port, "%d %s\n", m.number, base64.StdEncoding.EncodeToString([]byte(command))); err != nil {
		return "", 0, err
	}
	for {
		f, err := m.next("done", commandPatience)
		if err != nil {
			return "", 0, fmt.Errorf("%s: %w", command, err)
		}
		if len(f) < 2 || f[0] != strconv.Itoa(m.number) {
			continue // of a command that was given up
		}
		status, err := strconv.Atoi(f[1])
		if err != nil || len(f) < 3 {
			return "", status, err
		}
		out, err := base64.StdEncoding.DecodeString(f[2])
		return string(out), status, err
	}
}

// tail is the end of the console.
func (m *machine) tail() string {
	b, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// cut takes the power away.
func (m *machine) cut() {
	_ = m.cmd.Process.Kill() // one that ended is as good
	<-m.gone
	if m.port != nil {
		m.port.Close()
	}
}

// off waits for the machine to power itself off.
func (m *machine) off() error {
	select {
	case <-m.gone:
		return m.port.Close()
	case <-time.After(bootPatience):
		m.cut()
		return fmt.Errorf("it did not power off\n%s", m.tail())
	}
}

// savedName is what a machine's state is called in its disk.
const savedName = "saved"

// save writes the running machine into its disk and ends it.
func (m *machine) save() error {
	c, err := dial(filepath.Join(m.dir, "monitor"), m.gone)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(commandPatience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "stop\nsavevm "+savedName+"\nquit\n"); err != nil {
		return err
	}
	said, err := io.ReadAll(c) // to the end of QEMU
	if err != nil {
		return fmt.Errorf("save the machine: %w", err)
	}
	if text := string(said); strings.Contains(text, "Error") {
		return fmt.Errorf("save the machine: %s", text)
	}
	return m.off()
}
