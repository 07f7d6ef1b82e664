package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A guest answers over a serial port in frames:
//
//	magic   4 bytes  0x1e 'L' 'G' '1'
//	type    1 byte   FrameType
//	length  4 bytes  of the payload, little endian
//	sum     4 bytes  CRC-32C of type, length and payload
//	payload
//
// A serial port loses what overruns it and a dying kernel may write anywhere, so
// nothing in a frame is believed before its sum is right.

// FrameType is what a frame is about.
type FrameType byte

const (
	// FrameHello is the first: the guest's init runs. The payload is Facts in JSON.
	FrameHello FrameType = 'h'
	// FrameProgress is a line for the person who waits.
	FrameProgress FrameType = 'p'
	// FrameResult is what was asked for; its form is the job's own.
	FrameResult FrameType = 'r'
	// FrameRefused says in one line why the guest does not do the job.
	FrameRefused FrameType = 'n'
	// FrameEnd is the last: nothing was left out.
	FrameEnd FrameType = 'e'
)

// Frame is one message of a guest.
type Frame struct {
	Type    FrameType
	Payload []byte
}

const (
	frameHeader = 13
	maxPayload  = 16 << 20
)

var (
	frameMagic = []byte{0x1e, 'L', 'G', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// ErrGarbage is a guest's stream that is no sequence of frames.
var ErrGarbage = errors.New("the guest's answer is garbled")

// AppendFrame appends f as it goes over the wire.
func AppendFrame(b []byte, f Frame) ([]byte, error) {
	if len(f.Payload) > maxPayload {
		return b, fmt.Errorf("write frame %q: %d bytes are more than %d", f.Type, len(f.Payload), maxPayload)
	}
	b = append(b, frameMagic...)
	head := len(b)
	b = append(b, byte(f.Type))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Payload)))
	sum := crc32.Update(crc32.Checksum(b[head:], castagnoli), castagnoli, f.Payload)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(b, f.Payload...), nil
}

// frameReader takes a guest's stream apart as it arrives. The guest is not
// trusted: what it sends is bounded and checked, and after the first fault
// nothing more is read.
type frameReader struct {
	buf []byte
	at  int64 // place of buf in the stream
	err error
}

// feed takes the next bytes of the stream and returns the frames that are complete.
func (r *frameReader) feed(b []byte) ([]Frame, error) {
	if r.err != nil {
		return nil, r.err
	}
	r.buf = append(r.buf, b...)
	var got []Frame
	for {
		f, n, err := cutFrame(r.buf)
		if err != nil {
			r.err = fmt.Errorf("%w at byte %d: %w", ErrGarbage, r.at, err)
			return got, r.err
		}
		if n == 0 {
			return got, nil
		}
		got = append(got, f)
		r.buf, r.at = r.buf[n:], r.at+int64(n)
	}
}

// partial reports whether the stream ended inside a frame.
func (r *frameReader) partial() bool { return len(r.buf) > 0 }

// cutFrame returns the first frame of b and its length, which is 0 where b holds
// no whole frame yet.
func cutFrame(b []byte) (Frame, int, error) {
	if n := min(len(b), len(frameMagic)); !bytes.Equal(b[:n], frameMagic[:n]) {
		return Frame{}, 0, fmt.Errorf("no frame begins with %q", b[:n])
	}
	if len(b) < frameHeader {
		return Frame{}, 0, nil
	}
	size := binary.LittleEndian.Uint32(b[5:])
	if size > maxPayload {
		return Frame{}, 0, fmt.Errorf("a frame of %d bytes, where %d is the most", size, maxPayload)
	}
	end := frameHeader + int(size)
	if len(b) < end {
		return Frame{}, 0, nil
	}
	sum := crc32.Update(crc32.Checksum(b[4:9], castagnoli), castagnoli, b[frameHeader:end])
	if want := binary.LittleEndian.Uint32(b[9:]); sum != want {
		return Frame{}, 0, fmt.Errorf("checksum %08x, want %08x", sum, want)
	}
	return Frame{Type: FrameType(b[4]), Payload: bytes.Clone(b[frameHeader:end])}, end, nil
}
