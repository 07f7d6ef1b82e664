package probes

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var _ = behave(Behaviour{
	Name: "map_ring_buffer",
	Doc: `Ring buffers.
Records are reserved, submitted in another order, discarded and written whole; user space finds them in the order of
their reservation. Events of security agents travel that way.`,
	Rests: "Documentation/bpf/ringbuf.rst; 5.8 (457f44363a88)",
	Cases: []BehaviourCase{
		{Name: "order", Doc: "reserved one way, submitted the other, one discarded, one written whole", Cost: 2 * time.Millisecond, Build: ringBufferOrder},
	},
})

// discarded is set in the length of a record that was thrown away, busy in that of one
// that is not submitted yet (BPF_RINGBUF_DISCARD_BIT and BPF_RINGBUF_BUSY_BIT).
const (
	recordBusy      = 1 << 31
	recordDiscarded = 1 << 30
	recordHeader    = 8 // BPF_RINGBUF_HDR_SZ
)

func ringBufferOrder() (Trial, error) {
	size := uint32(os.Getpagesize())
	s := &sheet{maps: oneMap(ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: size})}
	reserve := func(to asm.Register, failed string) {
		s.add(asm.LoadMapPtr(asm.R1, 0).WithReference("map"), asm.Mov.Imm(asm.R2, 16), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call(),
			asm.JEq.Imm(asm.R0, 0, failed), asm.Mov.Reg(to, asm.R0))
	}
	end := func(f asm.BuiltinFunc, r asm.Register) {
		s.add(asm.Mov.Reg(asm.R1, r), asm.Mov.Imm(asm.R2, 0), f.Call())
	}
	s.add(operands()...)
	reserve(asm.R8, "failed")
	s.add(asm.StoreMem(asm.R8, 0, asm.R6, asm.DWord), asm.StoreMem(asm.R8, 8, asm.R7, asm.DWord))
	reserve(asm.R9, "failed_8")
	s.add(asm.StoreMem(asm.R9, 0, asm.R7, asm.DWord), asm.StoreMem(asm.R9, 8, asm.R6, asm.DWord))
	s.add(asm.StoreMem(asm.R10, -64, asm.R9, asm.DWord))
	reserve(asm.R9, "failed_9")
	end(asm.FnRingbufDiscard, asm.R9)
	s.add(asm.LoadMem(asm.R9, asm.R10, -64, asm.DWord))
	end(asm.FnRingbufSubmit, asm.R9)
	end(asm.FnRingbufSubmit, asm.R8)
	s.add(asm.StoreMem(asm.R10, -64, asm.R7, asm.DWord), asm.LoadMapPtr(asm.R1, 0).WithReference("map"), asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, -64), asm.Mov.Imm(asm.R3, 8), asm.Mov.Imm(asm.R4, 0), asm.FnRingbufOutput.Call())
	s.result32("output", 0)
	s.add(asm.Ja.Label("failed"), asm.LoadMem(asm.R9, asm.R10, -64, asm.DWord).WithSymbol("failed_9"))
	end(asm.FnRingbufDiscard, asm.R9)
	s.add(asm.Mov.Imm(asm.R9, 0).WithSymbol("failed_8"))
	end(asm.FnRingbufDiscard, asm.R8)
	s.add(asm.Mov.Imm(asm.R9, 0).WithSymbol("failed"))
	a, b := uint64(0x1122334455667788), uint64(0x99aabbccddeeff00)
	t, err := s.trial([][2]uint64{{a, b}})
	t.After = func(m map[string]*ebpf.Map) (string, error) { return readRing(m["map"].FD(), int(size)) }
	t.WantAfter = fmt.Sprintf("%x %x; %x %x; discarded; %x", a, b, b, a, b)
	return t, err
}

// readRing lists the records: the consumer's page comes first, the producer's second, the
// data behind (ringbuf_map_mmap_kern() in kernel/bpf/ringbuf.c).
func readRing(fd, size int) (string, error) {
	page := os.Getpagesize()
	m, err := unix.Mmap(fd, int64(page), page+size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return "", fmt.Errorf("map ring buffer: %w", err)
	}
	defer unix.Munmap(m)
	var records []string
	for at, to := uint64(0), number(m[:8]); at < to && at+recordHeader <= uint64(size); {
		head := binary.NativeEndian.Uint32(m[uint64(page)+at:])
		length := uint64(head &^ (recordBusy | recordDiscarded))
		from := at + recordHeader
		if from+length > uint64(size) {
			return "", fmt.Errorf("read ring buffer: a record of %d bytes at %d", length, at)
		}
		records = append(records, ringRecord(head, m[uint64(page)+from:][:length]))
		at = from + (length+7)&^7
	}
	return strings.Join(records, "; "), nil
}

func ringRecord(head uint32, data []byte) string {
	switch {
	case head&recordBusy != 0:
		return "busy"
	case head&recordDiscarded != 0:
		return "discarded"
	}
	var words []string
	for ; len(data) >= 8; data = data[8:] {
		words = append(words, fmt.Sprintf("%x", number(data[:8])))
	}
	return strings.Join(words, " ")
}
