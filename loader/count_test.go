package loader

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// recorder is the real system call, counting loads and keeping the last log. It
// stands where bpf stands, so no load of this package can pass it by.
type recorder struct {
	loads int
	log   string
}

func (r *recorder) call(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno) {
	fd, errno := bpf(cmd, attr, size)
	if cmd == unix.BPF_PROG_LOAD {
		r.loads++
		r.log = logText(logBuffer(attr))
	}
	return fd, errno
}

// failing answers every load with errno and log, without asking the kernel.
func failing(errno unix.Errno, log string) bpfCall {
	return func(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno) {
		if cmd != unix.BPF_PROG_LOAD {
			return bpf(cmd, attr, size)
		}
		buf := logBuffer(attr)
		buf[copy(buf, log)] = 0
		return -1, errno
	}
}

// logBuffer is the memory an attribute's log_buf points to.
func logBuffer(attr unsafe.Pointer) []byte {
	a := (*progLoadAttr)(attr)
	at := *(*unsafe.Pointer)(unsafe.Pointer(&a.logBuf))
	return unsafe.Slice((*byte)(at), a.logSize)
}
