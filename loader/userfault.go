package loader

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// include/uapi/linux/userfaultfd.h, in the ioctl encoding that amd64, arm64 and
// riscv64 share. Elsewhere the kernel answers ENOTTY, which newUserfault reports.
const (
	uffdAPIVersion = 0xaa
	uffdioAPI      = 0xc018aa3f
	uffdioRegister = 0xc020aa00
	uffdioWake     = 0x8010aa02
	uffdioZeropage = 0xc020aa04
	uffdMissing    = 1    // UFFDIO_REGISTER_MODE_MISSING
	uffdPagefault  = 0x12 // UFFD_EVENT_PAGEFAULT
	uffdMsgSize    = 32
)

type uffdAPIArg struct{ api, features, ioctls uint64 }

type uffdRange struct{ start, length uint64 }

type uffdRegisterArg struct {
	uffdRange
	mode, ioctls uint64
}

type uffdZeropageArg struct {
	uffdRange
	mode   uint64
	zeroed int64
}

// userfault stops whoever touches an absent page of one mapping, the kernel
// included, until this process says what the page holds (userfaultfd(2), 4.3).
// Faults of the kernel are told only to CAP_SYS_PTRACE, or to everybody where
// vm.unprivileged_userfaultfd is 1 (cefdca0a86be, 5.2).
type userfault struct {
	file *os.File
	mem  []byte
}

// newUserfault watches mem, a private anonymous mapping without huge pages.
func newUserfault(mem []byte) (*userfault, error) {
	// Not blocking, so that the runtime's poller waits and Close ends a Read.
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		return nil, fmt.Errorf("open userfaultfd: %w", errno)
	}
	u := &userfault{mem: mem}
	api := uffdAPIArg{api: uffdAPIVersion}
	reg := uffdRegisterArg{uffdRange: u.span(0, len(mem)), mode: uffdMissing}
	errno = ioctl(fd, uffdioAPI, unsafe.Pointer(&api))
	if errno == 0 {
		errno = ioctl(fd, uffdioRegister, unsafe.Pointer(&reg))
	}
	if errno != 0 {
		unix.Close(int(fd))
		return nil, fmt.Errorf("register userfaultfd: %w", errno)
	}
	// Only now: to the poller it is in error until the API is agreed on.
	u.file = os.NewFile(fd, "userfaultfd")
	return u, nil
}

func ioctl(fd, cmd uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, cmd, uintptr(arg))
	return errno
}

// Close lets everybody go who waits; absent pages are plain zeros from then on.
func (u *userfault) Close() error { return u.file.Close() }

func (u *userfault) span(offset, n int) uffdRange {
	return uffdRange{uint64(uintptr(unsafe.Pointer(&u.mem[0]))) + uint64(offset), uint64(n)}
}

func (u *userfault) ioctl(cmd uintptr, arg unsafe.Pointer) unix.Errno {
	conn, err := u.file.SyscallConn()
	if err != nil {
		return unix.EBADF
	}
	var errno unix.Errno
	if err := conn.Control(func(fd uintptr) { errno = ioctl(fd, cmd, arg) }); err != nil {
		return unix.EBADF
	}
	return errno
}

// wait returns the offset of the next absent page that somebody waits for.
func (u *userfault) wait() (int, error) {
	var msg [uffdMsgSize]byte
	for {
		n, err := u.file.Read(msg[:])
		if err != nil {
			return 0, err
		}
		if n != len(msg) || msg[0] != uffdPagefault {
			continue // no other event was asked for
		}
		at := binary.NativeEndian.Uint64(msg[16:]) - u.span(0, 0).start
		if at >= uint64(len(u.mem)) {
			return 0, fmt.Errorf("userfaultfd told of a fault outside the log")
		}
		page := os.Getpagesize()
		return int(at) / page * page, nil
	}
}

// zero makes n bytes at offset zeros, up to the first page that is there already,
// and lets go of who waits for them.
func (u *userfault) zero(offset, n int) error {
	for {
		arg := uffdZeropageArg{uffdRange: u.span(offset, n)}
		errno := u.ioctl(uffdioZeropage, unsafe.Pointer(&arg))
		switch {
		case errno == 0 || errno == unix.EAGAIN && arg.zeroed > 0:
			return nil
		case errno == unix.EAGAIN:
			continue // the address space was just being changed
		case errno == unix.EEXIST: // told of twice, after a signal
			r := u.span(offset, n)
			if errno = u.ioctl(uffdioWake, unsafe.Pointer(&r)); errno == 0 {
				return nil
			}
		}
		return fmt.Errorf("userfaultfd: fill pages: %w", errno)
	}
}
