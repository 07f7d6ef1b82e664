package loader

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// The ring is small because at the end of a load the kernel turns the whole of
	// it round until the text starts at its beginning (bpf_vlog_finalize).
	ringSize   = 16 << 20
	windowSize = 1 << 20
	// headSize is how much is kept where a log cannot be followed.
	headSize = 32 << 20
	// holdBack is more than one call of the verifier writes (BPF_VERIFIER_TMP_LOG_SIZE,
	// 1 KiB) and the line end before it, which it may take back to go on in that line.
	// It is a multiple of every page size.
	holdBack = 64 << 10
)

// logStream is the buffer of a log that is read while the kernel writes it and
// takes the same memory however long the log gets. The buffer consists of windows
// that are absent till the kernel gets there: it then waits in its copy_to_user
// until the window is filled with zeros, while what lies before is read and
// given back. The kernel cannot run ahead, so nothing is lost and nobody polls.
//
// Since 6.4 (121664093803) a log that reaches the end of its buffer goes on at the
// start, and a ring of 16 MiB holds any log. Before, the verifier stops writing
// there, and the buffer has the largest size it takes.
type logStream struct {
	mem     []byte
	faults  *userfault // nil: not followed, read when the load is over
	consume func([]byte)

	opened  int    // windows given to the kernel so far
	read    uint64 // bytes of the log consumed so far
	passive bool   // the kernel is turning the ring round
	err     error
	done    chan struct{}
}

// newLogStream makes a buffer of size bytes, a multiple of the window. Where faults
// cannot be watched the stream works as a plain buffer and the error says why.
func newLogStream(size int, consume func([]byte)) (*logStream, error) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("set %d MiB aside for the log: %w", size>>20, err)
	}
	// Collapsing pages would fill windows that nobody opened; kernels without
	// huge pages refuse the advice and need none.
	_ = unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
	return &logStream{mem: mem, consume: consume}, nil
}

// follow starts to read along. cancel ends the load; it is called when the stream
// breaks, for the log would grow unread.
func (s *logStream) follow(watch func([]byte) (*userfault, error), cancel func()) error {
	faults, err := watch(s.mem)
	if err != nil {
		return err
	}
	s.faults, s.done = faults, make(chan struct{})
	go func() {
		defer close(s.done)
		for {
			at, err := faults.wait()
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err == nil {
				err = s.fault(at)
			}
			if err != nil {
				s.err = err
				cancel()
				faults.Close() // or the kernel waits for ever
				return
			}
		}
	}()
	return nil
}

// fault answers the kernel, which waits at offset at.
func (s *logStream) fault(at int) error {
	windows := len(s.mem) / windowSize
	if s.opened > 0 && !s.passive && at/windowSize == (s.opened-1)%windows {
		// Open already: told twice of one fault, for a signal made the kernel look
		// again while it waited.
		return s.faults.zero(at, os.Getpagesize())
	}
	open := s.opened % windows * windowSize
	end := uint64(s.opened) * windowSize // where the kernel is in the log
	// All before the hold is final and full of text. A zero there means that the
	// verifier wrote its last, as does a fault out of turn: the ring is turned
	// round, and finish finds the rest at its place.
	if at != open || s.opened > 0 && s.byteAt(end-holdBack) == 0 {
		s.passive = true
	}
	if s.passive {
		return s.faults.zero(at, windowSize-at%windowSize)
	}
	if err := s.faults.zero(open, windowSize); err != nil {
		return err
	}
	s.opened++
	if end == 0 {
		return nil
	}
	// The kernel goes on meanwhile.
	return s.take(end - holdBack)
}

// byteAt is a byte of the log that was written and not given back.
func (s *logStream) byteAt(pos uint64) byte { return s.mem[pos%uint64(len(s.mem))] }

// take consumes the log up to pos and gives its memory back.
func (s *logStream) take(pos uint64) error {
	for s.read < pos {
		at := int(s.read % uint64(len(s.mem)))
		n := min(int(pos-s.read), len(s.mem)-at)
		s.consume(s.mem[at : at+n])
		if err := unix.Madvise(s.mem[at:at+n], unix.MADV_DONTNEED); err != nil {
			return fmt.Errorf("give log memory back: %w", err)
		}
		s.read += uint64(n)
	}
	return nil
}

// finish reads what is left when the load is over. trueSize is the length of the
// whole log with its NUL as the kernel tells it since 6.4, 0 where it does not.
func (s *logStream) finish(trueSize uint64) error {
	size := uint64(len(s.mem))
	written := size
	if s.faults != nil {
		s.faults.Close()
		<-s.done
		written = min(uint64(s.opened)*windowSize, size)
	}
	if s.err != nil {
		return s.err
	}
	from, to := s.read, written
	if trueSize > size && s.faults != nil {
		first := trueSize - size // what the ring now starts with
		if s.read < first {
			return fmt.Errorf("read the log: %d bytes of it were overwritten unread", first-s.read)
		}
		from, to = s.read-first, size
	} else if uint64(s.opened)*windowSize > size {
		return errors.New("read the log: the kernel went round the buffer and does not say how far")
	}
	rest := s.mem[min(from, to):to]
	if end := bytes.IndexByte(rest, 0); end >= 0 {
		rest = rest[:end]
	}
	s.consume(rest)
	s.read += uint64(len(rest))
	return nil
}

// close gives the memory back; the load must be over.
func (s *logStream) close() {
	if s.faults != nil {
		s.faults.Close()
		<-s.done
	}
	_ = unix.Munmap(s.mem) // fails for a bad address only
}

// addr is where the log starts, as the kernel is told. The mapping is not Go's
// memory and does not move.
func (s *logStream) addr() uint64 { return uint64(uintptr(unsafe.Pointer(&s.mem[0]))) }
