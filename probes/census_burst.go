package probes

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"lastgood/loader"
)

// progAttr is the part of union bpf_attr that loads a program without type
// information of its own (include/uapi/linux/bpf.h).
type progAttr struct {
	progType, insnCnt           uint32
	insns, license              uint64
	logLevel, logSize           uint32
	logBuf                      uint64
	kernVersion, progFlags      uint32
	name                        [unix.BPF_OBJ_NAME_LEN]byte
	ifindex, expectedAttachType uint32
	_                           [36]byte // type information: none
	attachBTFID, attachProgFD   uint32
}

// burst loads one program thousands of times over with only the helper in it
// exchanged. It is a loader.Trier for that alone: the attribute is set up once,
// the log has no trace of instructions, and the system call is made without
// telling Go's scheduler, which else takes the processor away from a thread that
// is not back within some microseconds, only to give it back.
type burst struct {
	attr  progAttr
	insns []byte
	log   []byte
	pin   runtime.Pinner
}

// newBurst prepares loads of a program like try that begins with a call. The
// caller closes it.
func newBurst(try loader.TryProg, insns []byte, logLevel uint32) *burst {
	b := &burst{insns: bytes.Clone(insns), log: make([]byte, 4<<10)}
	license := []byte("GPL\x00")
	at := func(p []byte) uint64 {
		b.pin.Pin(&p[0])
		return uint64(uintptr(unsafe.Pointer(&p[0])))
	}
	b.attr = progAttr{
		progType: uint32(try.Type), insnCnt: uint32(len(insns) / 8),
		insns: at(b.insns), license: at(license),
		logLevel: logLevel, logSize: uint32(len(b.log)), logBuf: at(b.log),
		progFlags: try.Flags, expectedAttachType: uint32(try.Attach), attachBTFID: try.BTFID,
	}
	copy(b.attr.name[:len(b.attr.name)-1], objectName)
	return b
}

func (b *burst) close() { b.pin.Unpin() }

// maxTries bounds how often a load is repeated that a signal cut short: the
// verifier gives up with EAGAIN where one is pending.
const maxTries = 16

// call loads the program with a call of helper id. The log is the verifier's.
func (b *burst) call(id int) (unix.Errno, string) {
	// struct bpf_insn: the call's immediate is the helper's id.
	binary.NativeEndian.PutUint32(b.insns[4:], uint32(id))
	return b.load()
}

// load loads the program as it is. The log is a view into the buffer, good until the
// next load: five thousand of them are read and few are kept.
func (b *burst) load() (unix.Errno, string) {
	var fd uintptr
	var errno unix.Errno
	for range maxTries {
		b.log[0] = 0
		fd, _, errno = unix.RawSyscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&b.attr)), unsafe.Sizeof(b.attr))
		if errno != unix.EAGAIN && errno != unix.EINTR {
			break
		}
	}
	if errno == 0 {
		unix.Close(int(fd))
	}
	n := bytes.IndexByte(b.log, 0)
	return errno, unsafe.String(&b.log[0], max(n, 0))
}

// logLevel is the level at which a refusal is told without a trace of the
// instructions before it. BPF_LOG_STATS came with 5.2 (06ee7115b0d1); before, a
// trace is all there is.
func (c *censor) logLevel() uint32 {
	if c.level == 0 {
		c.level = uint32(ebpf.LogLevelStats)
		b := newBurst(loader.TryProg{Type: ebpf.SocketFilter}, c.callHelper, c.level)
		defer b.close()
		if _, log := b.call(1); log == "" {
			c.level = uint32(ebpf.LogLevelBranch)
		}
	}
	return c.level
}
