package probes

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"lastgood/internal/netlab"
	"lastgood/internal/snapshot"
)

// packetPatience is how long a frame may take. It takes some microseconds; on a machine
// whose CPUs are all taken it may be a tenth of a second until this process runs again.
const packetPatience = time.Second

// hook is a place that frames go through, from one port to the other of a pair.
type hook struct {
	flavour  flavour
	from, to netlab.Port
	far      netlab.Pair // frames are redirected out of A, and seen at B
	out      int         // the index that they are redirected out of, where that is another one
	returns  bool        // the program sends frames back as well
	attach   func(*ebpf.Program) (detach func() error, err error)
}

// sent is a frame with where it is to arrive, and as what.
type sent struct {
	name  string
	frame []byte
	at    int // index of the interface, 0 for nowhere
	as    []byte
	came  bool
}

// flow sends frames of every kind through the hook and compares what arrives with
// what was sent, to the byte.
func (t *trial) flow(h hook) error {
	lab, err := t.rig.net()
	if err != nil {
		return err
	}
	if err := t.carries(lab.Tap(), &h); err != nil {
		return err
	}
	t.prepare = func(maps map[string]*ebpf.Map) error {
		return maps[countsMap].Put(uint32(0), []uint64{0, 0, uint64(cmp.Or(h.out, h.far.A.Index))})
	}
	prog, maps, err := t.load(h.flavour.program(), nil)
	if err != nil {
		return err
	}
	detach, err := h.attach(prog)
	if err := t.attached(err); err != nil {
		return err
	}
	// What is attached to a driver may have made it build its queues anew.
	if ok, err := passes(lab.Tap(), h.far.A, h.far.B); err != nil || !ok {
		return cmpError(err, cannotTell("no packet came within %v by the way that packets are redirected to", packetPatience))
	}
	all := h.frames()
	strays, err := exchange(lab.Tap(), h.from, all, packetPatience)
	if err != nil {
		return err
	}
	if err := t.compare(all, strays, maps[countsMap]); err != nil {
		return err
	}
	return t.detached(lab.Tap(), &h, detach, maps[countsMap], len(all))
}

func cmpError(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// frames lists what is sent. The one that is passed comes last: when it is there,
// those before it have had their turn.
func (h *hook) frames() []sent {
	all := []sent{
		{name: "the dropped one", frame: packetOf(actDrop, 1, false)},
		{name: "the redirected one", frame: packetOf(actRedirect, 2, false), at: h.far.B.Index, as: packetOf(actRedirect, 2, false)},
		{name: "the rewritten one", frame: packetOf(actRewrite, 3, false), at: h.to.Index, as: packetOf(actRewrite, 3, true)},
	}
	if h.returns {
		all = append(all, sent{name: "the returned one", frame: packetOf(actReturn, 4, false), at: h.from.Index, as: packetOf(actReturn, 4, false)})
	}
	for n := range 3 {
		f := packetOf(actPass, 5+n, false)
		all = append(all, sent{name: fmt.Sprintf("passed one %d", n+1), frame: f, at: h.to.Index, as: f})
	}
	return all
}

// exchange sends the frames and waits until all that are to arrive are there. What
// arrives otherwise than it should is returned in words.
func exchange(tap *netlab.Tap, from netlab.Port, all []sent, within time.Duration) (strays []string, err error) {
	tap.Drain()
	missing := 0
	for i := range all {
		// ENOBUFS is what the sender is told of a frame that is dropped on its way out.
		if err := tap.Send(from.Index, all[i].frame); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return nil, cannotTell("%v", err)
		}
		if all[i].at != 0 {
			missing++
		}
	}
	deadline := time.Now().Add(within)
	for missing > 0 {
		f, ok, err := tap.Next(deadline)
		if err != nil {
			return nil, cannotTell("%v", err)
		}
		if !ok {
			return strays, nil
		}
		if len(f.Data) != packetLength {
			continue // not ours
		}
		s := numbered(all, f.Data[netlab.OffPayload+1])
		switch {
		case s == nil: // one that was sent again
		case s.at == f.Index && bytes.Equal(s.as, f.Data) && !s.came:
			s.came = true
			missing--
		case s.at == 0:
			strays = append(strays, fmt.Sprintf("%s came through", s.name))
		case s.at != f.Index:
			strays = append(strays, fmt.Sprintf("%s came out elsewhere", s.name))
		default:
			strays = append(strays, fmt.Sprintf("%s came as\n%x, want\n%x", s.name, f.Data, s.as))
		}
	}
	return strays, nil
}

// compare weighs what arrived against what the program counted. A frame that is
// missing is the program's doing only if it saw all of them.
func (t *trial) compare(all []sent, strays []string, m *ebpf.Map) error {
	seen, size, err := readCounts(m)
	if err != nil {
		return err
	}
	t.s.Set("packets_sent", snapshot.Int(len(all)))
	t.s.Set("packets_seen", snapshot.Int(seen))
	t.s.Set("bytes_seen", snapshot.Int(size))
	for _, s := range strays {
		t.wrong("%s", s)
	}
	missing := 0
	for i := range all {
		if all[i].at != 0 && !all[i].came {
			missing++
			if int(seen) >= len(all) {
				t.wrong("%s did not come within %v", all[i].name, packetPatience)
			}
		}
	}
	if missing > 0 && len(t.wrongs) == 0 {
		return cannotTell("%d packets did not come within %v, and the program saw %d of %d", missing, packetPatience, seen, len(all))
	}
	expect(t, "packets seen by the program", int(seen), len(all))
	expect(t, "bytes seen by the program", int(size), len(all)*packetLength)
	return nil
}

// detached takes the program off and looks whether packets go by it again.
func (t *trial) detached(tap *netlab.Tap, h *hook, detach func() error, m *ebpf.Map, before int) error {
	if err := detach(); err != nil {
		return kernelSays("detach", err)
	}
	ok, err := passes(tap, h.from, h.to)
	if err != nil {
		return err
	}
	seen, _, err := readCounts(m)
	if err != nil {
		return err
	}
	switch {
	case int(seen) > before && len(t.wrongs) == 0:
		t.wrong("the program still sees packets after it was detached")
	case !ok:
		return cannotTell("no packet came within %v after the program was detached", packetPatience)
	}
	return nil
}

// numbered finds the frame of a number.
func numbered(all []sent, n byte) *sent {
	for i := range all {
		if all[i].frame[netlab.OffPayload+1] == n {
			return &all[i]
		}
	}
	return nil
}

// carries waits until both pairs of a hook carry frames with nothing attached.
func (t *trial) carries(tap *netlab.Tap, h *hook) error {
	for _, way := range [][2]netlab.Port{{h.from, h.to}, {h.far.A, h.far.B}} {
		if ok, err := passes(tap, way[0], way[1]); err != nil || !ok {
			return cmpError(err, cannotTell("no packet came within %v with nothing attached", packetPatience))
		}
	}
	return nil
}

// passes tells whether a frame crosses a pair. It is sent again for a while: an
// interface that is new, or whose driver made its queues anew, drops frames until the
// kernel has seen to that (linkwatch).
func passes(tap *netlab.Tap, from, to netlab.Port) (bool, error) {
	frame := packetOf(actPass, 0, false)
	for deadline := time.Now().Add(packetPatience); time.Now().Before(deadline); {
		one := []sent{{name: "a packet", frame: frame, at: to.Index, as: frame}}
		strays, err := exchange(tap, from, one, packetPatience/100)
		if err == nil && len(strays) > 0 {
			err = cannotTell("with nothing attached %s", strays[0])
		}
		if one[0].came || err != nil {
			return one[0].came, err
		}
	}
	return false, nil
}

// readCounts reads how many packets a program saw, and how many bytes.
func readCounts(m *ebpf.Map) (packets, size uint64, err error) {
	var v [counts]uint64
	if err := m.Lookup(uint32(0), &v); err != nil {
		return 0, 0, fmt.Errorf("read counts: %w", err)
	}
	return v[countPackets], v[countBytes], nil
}
