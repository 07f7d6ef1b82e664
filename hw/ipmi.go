package hw

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/bougou/go-ipmi/pkg/open"
	"golang.org/x/sys/unix"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// ipmiCommand is a network function and a command of IPMI.
type ipmiCommand struct{ netFn, cmd uint8 }

// The commands that are ever sent (IPMI 2.0, appendix G). Each reads; the same
// interface also switches the host off and clears logs, so nothing else gets past send.
var (
	ipmiChassisStatus   = ipmiCommand{0x00, 0x01}
	ipmiSensorReading   = ipmiCommand{0x04, 0x2d}
	ipmiDeviceID        = ipmiCommand{0x06, 0x01}
	ipmiSDRRepoInfo     = ipmiCommand{0x0a, 0x20}
	ipmiSDRReserve      = ipmiCommand{0x0a, 0x22} // needed to read a record in parts; another reader's is void then, and it asks again
	ipmiSDR             = ipmiCommand{0x0a, 0x23}
	ipmiSELInfo         = ipmiCommand{0x0a, 0x40}
	ipmiSELEntry        = ipmiCommand{0x0a, 0x43}
	ipmiReads           = []ipmiCommand{ipmiChassisStatus, ipmiSensorReading, ipmiDeviceID, ipmiSDRRepoInfo, ipmiSDRReserve, ipmiSDR, ipmiSELInfo, ipmiSELEntry}
	errIPMINoAnswer     = fmt.Errorf("the management controller gave %w", sysfs.ErrHung)
	ipmiCharacterDevice = regexp.MustCompile(`^ipmi([0-9]+)$`)
)

// ipmiClient asks a management controller. The answer is without the completion
// code, which is an *ipmiError where it is not 0.
type ipmiClient interface {
	send(ctx context.Context, c ipmiCommand, data ...byte) ([]byte, error)
}

// ipmiError is a request that the controller did not carry out (IPMI 2.0, table 5-2).
type ipmiError struct {
	command ipmiCommand
	code    uint8
}

func (e *ipmiError) Error() string {
	why := fmt.Sprintf("completion code 0x%02x", e.code)
	if e.code == ipmiTimeout {
		why += ", which is no answer in time"
	}
	return fmt.Sprintf("ask management controller %02x/%02x: %s", e.command.netFn, e.command.cmd, why)
}

// Completion codes that are told apart.
const (
	ipmiTimeout        = 0xc3
	ipmiTooLong        = 0xc7 // request data length invalid
	ipmiFieldLimit     = 0xc8 // request data field length limit exceeded
	ipmiCannotGive     = 0xca // cannot return that many bytes
	ipmiNotPresent     = 0xcb // requested sensor, data or record not present: an empty log says so
	ipmiInvalidCommand = 0xc1
)

func completionCode(err error) uint8 {
	var e *ipmiError
	if errors.As(err, &e) {
		return e.code
	}
	return 0
}

// ipmiDevice is /dev/ipmiN. It is the kernel's interface as go-ipmi's package open
// declares it. That package's own client is not used: it makes itself a receiver of
// the controller's events, which takes those away that wait for another, and waits
// for edges, so that an event that comes with an answer hides it.
type ipmiDevice struct {
	fd  int
	seq int64
}

// openIPMI opens the first of the kernel's devices. It may hang where the controller is sick.
func openIPMI(number string) (*ipmiDevice, error) {
	name := "/dev/ipmi" + number
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &ipmiDevice{fd: fd}, nil
}

func (d *ipmiDevice) close() { unix.Close(d.fd) }

func (d *ipmiDevice) send(ctx context.Context, c ipmiCommand, data ...byte) ([]byte, error) {
	if !slices.Contains(ipmiReads, c) {
		return nil, fmt.Errorf("ask management controller %02x/%02x: not a command that only reads", c.netFn, c.cmd)
	}
	d.seq++
	addr := &open.IPMI_SYSTEM_INTERFACE_ADDR{AddrType: open.IPMI_SYSTEM_INTERFACE_ADDR_TYPE, Channel: open.IPMI_BMC_CHANNEL}
	req := &open.IPMI_REQ{
		Addr: unsafe.Pointer(addr), AddrLen: int(unsafe.Sizeof(*addr)), MsgID: d.seq,
		Msg: open.IPMI_MSG{NetFn: c.netFn, Cmd: c.cmd, DataLen: uint16(len(data)), Data: unsafe.SliceData(data)},
	}
	if err := d.ioctl(open.IPMICTL_SEND_COMMAND, unsafe.Pointer(req)); err != nil {
		return nil, fmt.Errorf("ask management controller %02x/%02x: %w", c.netFn, c.cmd, err)
	}
	runtime.KeepAlive(data)
	for {
		b, seq, err := d.receive(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask management controller %02x/%02x: %w", c.netFn, c.cmd, err)
		}
		switch {
		case seq != d.seq: // an answer that was given up on
		case len(b) == 0:
			return nil, fmt.Errorf("ask management controller %02x/%02x: the answer is empty", c.netFn, c.cmd)
		case b[0] != 0:
			return nil, &ipmiError{c, b[0]}
		default:
			return b[1:], nil
		}
	}
}

// receive waits for the next answer of any request, until ctx is done.
func (d *ipmiDevice) receive(ctx context.Context) ([]byte, int64, error) {
	for {
		wait := time.Second
		if until, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(until))
		}
		if ctx.Err() != nil || wait <= 0 {
			return nil, 0, errIPMINoAnswer
		}
		fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(wait.Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			return nil, 0, err
		}
		if n <= 0 {
			continue
		}
		var addr open.IPMI_ADDR
		buf := make([]byte, open.IPMI_BUF_SIZE)
		recv := &open.IPMI_RECV{
			Addr: unsafe.Pointer(&addr), AddrLen: int(unsafe.Sizeof(addr)),
			Msg: open.IPMI_MSG{Data: &buf[0], DataLen: open.IPMI_BUF_SIZE},
		}
		err = d.ioctl(open.IPMICTL_RECEIVE_MSG_TRUNC, unsafe.Pointer(recv))
		runtime.KeepAlive(buf)
		switch {
		case err == unix.EAGAIN:
			continue
		case err != nil && err != unix.EMSGSIZE: // cut short: the buffer is longer than any message
			return nil, 0, err
		}
		return buf[:min(int(recv.Msg.DataLen), len(buf))], recv.MsgID, nil
	}
}

func (d *ipmiDevice) ioctl(op uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), op, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// askBMC opens the host's management controller and has f ask it, giving up on both
// when ctx is done.
func askBMC[T any](ctx context.Context, h source.Host, f func(context.Context, ipmiClient) (T, error)) (T, error) {
	var none T
	number, err := ipmiNumber(ctx, h)
	if err != nil {
		return none, err
	}
	return within(ctx, func() (T, error) {
		dev, err := openIPMI(number)
		if err != nil {
			return none, err
		}
		defer dev.close()
		return f(ctx, dev)
	})
}

// errNoIPMI says that the kernel offers no device.
var errNoIPMI = errors.New("the kernel offers no /dev/ipmi0")

// ipmiNumber is the number of the first character device that ipmi_devintf offers.
func ipmiNumber(ctx context.Context, h source.Host) (string, error) {
	names, err := list(ctx, h, "/sys/class/ipmi")
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if m := ipmiCharacterDevice.FindStringSubmatch(n); m != nil {
			return m[1], nil
		}
	}
	return "", errNoIPMI
}
