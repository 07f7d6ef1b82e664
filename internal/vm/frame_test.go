package vm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func stream(t testing.TB, frames ...Frame) []byte {
	t.Helper()
	var b []byte
	for _, f := range frames {
		var err error
		if b, err = AppendFrame(b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

var someFrames = []Frame{{FrameHello, []byte(`{"release":"6.1.0"}`)}, {FrameProgress, []byte("1/2 merge")}, {FrameResult, bytes.Repeat([]byte{0x1e, 'L', 'G', '1', 0}, 4000)}, {FrameEnd, nil}}

// TestFramesArriveInPieces: a serial port cuts a stream anywhere.
func TestFramesArriveInPieces(t *testing.T) {
	whole := stream(t, someFrames...)
	for _, size := range []int{1, 7, 13, 4096, len(whole)} {
		var r frameReader
		var got []Frame
		for rest := whole; len(rest) > 0; {
			n := min(size, len(rest))
			frames, err := r.feed(rest[:n])
			if err != nil {
				t.Fatal(err)
			}
			got, rest = append(got, frames...), rest[n:]
		}
		if diff := cmp.Diff(someFrames, got, cmp.Comparer(bytes.Equal)); diff != "" || r.partial() {
			t.Errorf("in pieces of %d: partial %v\n%s", size, r.partial(), diff)
		}
	}
}

func TestFramesDamaged(t *testing.T) {
	whole := stream(t, someFrames[:2]...)
	for name, damage := range map[string]func([]byte) []byte{
		"text before it":   func(b []byte) []byte { return append([]byte("Booting...\n"), b...) },
		"a flipped bit":    func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"another type":     func(b []byte) []byte { b[4] = byte(FrameEnd); return b },
		"a huge length":    func(b []byte) []byte { b[8] = 0xff; return b },
		"a byte too many":  func(b []byte) []byte { return append(b, 'x') },
		"a byte was lost":  func(b []byte) []byte { return append(b[:20:20], b[21:]...) },
		"nothing but text": func([]byte) []byte { return []byte("Kernel panic") },
	} {
		var r frameReader
		_, err := r.feed(damage(bytes.Clone(whole)))
		if !errors.Is(err, ErrGarbage) {
			t.Errorf("%s: error is %v", name, err)
		}
		if more, again := r.feed(whole); again == nil || len(more) > 0 {
			t.Errorf("%s: it went on reading after the fault", name)
		}
	}
	var r frameReader
	if got, err := r.feed(whole[:len(whole)-3]); err != nil || len(got) != 1 || !r.partial() {
		t.Errorf("cut off: %d frames, partial %v, %v", len(got), r.partial(), err)
	}
}

func TestFrameTooLarge(t *testing.T) {
	if _, err := AppendFrame(nil, Frame{FrameResult, make([]byte, maxPayload+1)}); err == nil {
		t.Error("a frame that no reader takes was written")
	}
}

// FuzzFrames: whatever a guest writes, reading it neither panics nor gives more than
// was written, and cutting the stream elsewhere gives the same frames.
func FuzzFrames(f *testing.F) {
	f.Add(stream(f, someFrames...), uint8(5))
	f.Add(stream(f, someFrames[0])[:9], uint8(1))
	f.Add([]byte("garbage"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var once, pieces frameReader
		all, err := once.feed(b)
		size := 0
		for _, fr := range all {
			size += frameHeader + len(fr.Payload)
		}
		if size > len(b) {
			t.Fatalf("%d bytes of frames out of %d", size, len(b))
		}
		var got []Frame
		var perr error
		for rest := b; len(rest) > 0 && perr == nil; {
			n := min(int(cut)+1, len(rest))
			var frames []Frame
			frames, perr = pieces.feed(rest[:n])
			got, rest = append(got, frames...), rest[n:]
		}
		if len(got) != len(all) || (err == nil) != (perr == nil) {
			t.Fatalf("at once %d frames, %v; in pieces %d, %v", len(all), err, len(got), perr)
		}
	})
}
