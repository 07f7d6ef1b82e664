package bpf

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
)

// The structures of arg_filter.bpf.c.
type (
	argSpec struct {
		Type, From, Size, _ uint8
		Most                uint32
	}
	call struct {
		Args, Selectors uint32
		Arg             [8]argSpec
	}
	argMatch struct {
		Arg, Op, Flags, Len uint8
		Values              uint32
		Value               [4]uint64
		Text                [16]byte
	}
	selector struct {
		Matches, Action uint32
		Match           [4]argMatch
	}
	selectorKey struct{ Call, Index uint32 }
	argEvent    struct {
		PidTgid, UIDGID              uint64
		Call, Size, Action, Selector uint32
		Raw                          [8]uint64
		At, Len                      [8]uint32
		Comm                         [16]byte
		Bytes                        [4096 + 512 + 16]byte
	}
)

const (
	argInt     = 1
	argLong    = 2
	argText    = 3
	argBuffer  = 4
	argAddress = 5
	argIovec   = 6

	opEqual   = 1
	opBelow   = 2
	opAbove   = 3
	opBetween = 4
	opMask    = 5
	opPrefix  = 6
	opSuffix  = 7

	matchNot    = 1
	matchSigned = 2

	actionPost = 1
)

const callNumber = 59

// filtering is a filter with the registers of one call.
type filtering struct {
	t    *testing.T
	coll *ebpf.Collection
	regs *kernelMemory
}

func newFiltering(t *testing.T, coll *ebpf.Collection) *filtering {
	return &filtering{t: t, coll: coll, regs: newKernelMemory(t, 256)}
}

// configure says what the arguments are and when the event is kept.
func (f *filtering) configure(args []argSpec, selectors ...selector) {
	f.t.Helper()
	c := call{Args: uint32(len(args)), Selectors: uint32(len(selectors))}
	copy(c.Arg[:], args)
	putMap(f.t, f.coll, "calls", uint32(callNumber), &c)
	for i := range selectors {
		selectors[i].Action = actionPost
		putMap(f.t, f.coll, "selectors", selectorKey{callNumber, uint32(i)}, &selectors[i])
	}
}

// run returns the size of the event if it is kept, and the event.
func (f *filtering) run(args ...uint64) (uint32, argEvent) {
	f.t.Helper()
	set := map[string]uint64{}
	for i, name := range []string{"di", "si", "dx", "r10", "r8", "r9"}[:len(args)] {
		set[name] = args[i]
	}
	at := f.regs.put(0, savedRegs(set)...)
	f.regs.flush()
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		f.t.Fatal(err)
	}
	putMap(f.t, f.coll, "events", uint32(0), make([]argEvent, cpus))
	size := runRaw(f.t, f.coll.Programs["filter_args"], at, callNumber)
	var all []argEvent
	if err := f.coll.Maps["events"].Lookup(uint32(0), &all); err != nil {
		f.t.Fatal(err)
	}
	for _, e := range all {
		if e.PidTgid != 0 {
			return size, e
		}
	}
	f.t.Fatal("no event came out")
	return 0, argEvent{}
}

func (e *argEvent) arg(i int) string { return string(e.Bytes[e.At[i] : e.At[i]+e.Len[i]]) }

func one(m argMatch) selector { return selector{Matches: 1, Match: [4]argMatch{m}} }

func text(op, flags uint8, s string) argMatch {
	m := argMatch{Op: op, Flags: flags, Len: uint8(len(s))}
	copy(m.Text[:], s)
	return m
}

func number(arg, op, flags uint8, values ...uint64) argMatch {
	m := argMatch{Arg: arg, Op: op, Flags: flags, Values: uint32(len(values))}
	copy(m.Value[:], values)
	return m
}

func TestArgumentsAreCopied(t *testing.T) {
	eachObject(t, ArgFilters(), func(t *testing.T, size string, coll *ebpf.Collection) {
		f := newFiltering(t, coll)
		user, at := userMemory(t, 4096)
		copy(user, "/etc/passwd\x00")
		copy(user[100:], "some bytes")
		user[200], user[202] = 2, 1 // AF_INET
		binary.LittleEndian.PutUint64(user[300:], at+100)
		binary.LittleEndian.PutUint64(user[308:], 4)

		all := []argSpec{
			{Type: argText, From: 0}, {Type: argBuffer, From: 1, Size: 2, Most: 400},
			{Type: argInt, From: 2}, {Type: argAddress, From: 3, Size: 2}, {Type: argIovec, From: 4, Size: 5, Most: 400},
		}
		want := []string{"\x0b\x00\x00\x00/etc/passwd", "\x0a\x00\x00\x00some bytes", "\x0a\x00\x00\x00",
			"\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00", "\x04\x00\x00\x00some"}
		n := map[string]int{"small": 2, "medium": 3, "large": 5}[size]
		f.configure(all[:n], one(text(opPrefix, 0, "/etc")))
		got, e := f.run(at, at+100, 10, at+200, at+300, 1)
		whole := 0
		for i := range n {
			if e.arg(i) != want[i] {
				t.Errorf("argument %d is %q, want %q", i, e.arg(i), want[i])
			}
			whole += len(want[i])
		}
		if int(got) != whole || int(e.Size) != whole {
			t.Errorf("event of %d bytes, %d kept, want %d", e.Size, got, whole)
		}
		// What cannot be read is empty, and the others stand where they would.
		f.configure([]argSpec{{Type: argText, From: 0}, {Type: argLong, From: 1}}, one(number(1, opAbove, 0, 0)))
		if got, e = f.run(8, 77); got != 8 || e.Len[0] != 0 || e.arg(1) != "M\x00\x00\x00\x00\x00\x00\x00" {
			t.Errorf("unreadable: %d bytes, %q %q", got, e.arg(0), e.arg(1))
		}
	})
}

func TestArgumentsAreMatched(t *testing.T) {
	minus := ^uint64(0) // -1
	tests := []struct {
		name  string
		match argMatch
		value uint64
		want  bool
	}{
		{"equal", number(1, opEqual, 0, 5, 7), 7, true},
		{"equal to none", number(1, opEqual, 0, 5, 7), 6, false},
		{"not equal", number(1, opEqual, matchNot, 5, 7), 6, true},
		{"below", number(1, opBelow, 0, 10), 9, true},
		{"below, unsigned", number(1, opBelow, 0, 10), minus, false},
		{"below, signed", number(1, opBelow, matchSigned, 10), minus, true},
		{"above, signed", number(1, opAbove, matchSigned, 10), minus, false},
		{"between", number(1, opBetween, 0, 10, 20), 20, true},
		{"not between", number(1, opBetween, 0, 10, 20), 21, false},
		{"between, signed", number(1, opBetween, matchSigned, minus-4, 3), minus, true},
		{"mask", number(1, opMask, 0, 0x6), 4, true},
		{"mask without", number(1, opMask, 0, 0x6), 9, false},
		{"prefix", text(opPrefix, 0, "/etc"), 0, true},
		{"other prefix", text(opPrefix, 0, "/usr"), 0, false},
		{"not the prefix", text(opPrefix, matchNot, "/usr"), 0, true},
		{"suffix", text(opSuffix, 0, "swd"), 0, true},
		{"other suffix", text(opSuffix, 0, "xwd"), 0, false},
		{"longer than the text", text(opPrefix, matchNot, "/etc/passwd12345"), 0, true},
		{"unknown", number(1, 77, 0), 0, false},
	}
	eachObject(t, ArgFilters(), func(t *testing.T, size string, coll *ebpf.Collection) {
		f := newFiltering(t, coll)
		user, at := userMemory(t, 4096)
		copy(user, "/etc/passwd\x00")
		args := []argSpec{{Type: argText, From: 0}, {Type: argLong, From: 1}}
		for _, test := range tests {
			f.configure(args, one(test.match))
			if got, _ := f.run(at, test.value); (got > 0) != test.want {
				t.Errorf("%s: event of %d bytes, want one %v", test.name, got, test.want)
			}
		}
		if size != "large" { // one selector of one match is all of a smaller filter
			return
		}
		below, prefix := number(1, opBelow, 0, 5), text(opPrefix, 0, "/etc")
		both := selector{Matches: 2, Match: [4]argMatch{below, prefix}}
		f.configure(args, both, one(number(1, opEqual, 0, 9)))
		for value, want := range map[uint64]bool{4: true, 6: false, 9: true} {
			if got, _ := f.run(at, value); (got > 0) != want {
				t.Errorf("two selectors, value %d: event of %d bytes, want one %v", value, got, want)
			}
		}
	})
}
