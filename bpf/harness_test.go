package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

const (
	actOK   = 0
	actShot = 2
)

// datapath is one size of the datapath, loaded and wired, on no interface.
type datapath struct {
	t      *testing.T
	size   string
	spec   *ebpf.CollectionSpec
	coll   *ebpf.Collection
	events *ringbuf.Reader
}

func newDatapath(t *testing.T, size Datapath) *datapath {
	t.Helper()
	spec, err := size.Load()
	if err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(coll.Close)
	reader, err := ringbuf.NewReader(coll.Maps["events"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	d := &datapath{t: t, size: size.Name, spec: spec, coll: coll, events: reader}
	for i, name := range Stages() {
		d.put("stages", uint32(i), coll.Programs[name])
	}
	d.configure(config{})
	return d
}

func (d *datapath) put(name string, key, value any) {
	d.t.Helper()
	if err := d.coll.Maps[name].Put(key, value); err != nil {
		d.t.Fatalf("put into %s: %v", name, err)
	}
}

// configure sets the configuration; events are always on.
func (d *datapath) configure(c config) {
	d.t.Helper()
	c.Flags |= configEvents
	d.put("settings", uint32(0), &c)
}

// addService makes key stand for backends, in slots of an inner map made from the
// object's own template.
func (d *datapath) addService(key serviceKey, s service, slots ...backend) {
	d.t.Helper()
	s.Count = uint32(len(slots))
	d.put("services", &key, &s)
	inner := d.inner("backends")
	for i := range slots {
		if err := inner.Put(uint32(i), &slots[i]); err != nil {
			d.t.Fatal(err)
		}
	}
	d.put("backends", s.ID, inner)
}

func (d *datapath) inner(outer string) *ebpf.Map {
	d.t.Helper()
	m, err := ebpf.NewMap(d.spec.Maps[outer].InnerMap)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { m.Close() })
	return m
}

func (d *datapath) addPeer(text string, bits, identity uint32) {
	d.t.Helper()
	family := uint32(4)
	if bytes.ContainsRune([]byte(text), ':') {
		family = 6
	}
	d.put("peers", &cidr{Bits: 32 + bits, Family: family, Addr: ip(text)}, &peer{Identity: identity})
}

func (d *datapath) addRule(key ruleKey, action uint16, flags uint32) {
	d.t.Helper()
	d.put("rules", &key, &rule{Action: action, Bits: uint16(key.Bits), Flags: flags})
}

// run sends frame through all stages. It returns the frame as it came out and the
// one reason under which it was counted, and checks that the verdict fits.
func (d *datapath) run(frame []byte) ([]byte, reason) {
	d.t.Helper()
	before := d.counted()
	out := make([]byte, len(frame)+256)
	opts := ebpf.RunOptions{Data: frame, DataOut: out}
	verdict, err := d.coll.Programs["dp_parse"].Run(&opts)
	if err != nil {
		d.t.Fatalf("test run of %d bytes: %v", len(frame), err)
	}
	after, got := d.counted(), reasons
	for r := range after {
		switch after[r] - before[r] {
		case 0:
		case 1:
			if got != reasons {
				d.t.Fatalf("counted twice: as reason %d and %d", got, r)
			}
			got = reason(r)
		default:
			d.t.Fatalf("counted %d times as reason %d", after[r]-before[r], r)
		}
	}
	want := uint32(actShot)
	if got <= passedUntracked {
		want = actOK
	}
	if verdict != want {
		d.t.Fatalf("verdict %d with reason %d, want %d", verdict, got, want)
	}
	return opts.DataOut, got
}

// expect runs frame, checks the reason and returns the frame.
func (d *datapath) expect(frame []byte, want reason) []byte {
	d.t.Helper()
	out, got := d.run(frame)
	if got != want {
		d.t.Fatalf("reason %d, want %d", got, want)
	}
	return out
}

// counted returns the packets under each reason, summed over the CPUs.
func (d *datapath) counted() (out [reasons]uint64) {
	d.t.Helper()
	for r := range out {
		var perCPU []counter
		if err := d.coll.Maps["metrics"].Lookup(uint32(r), &perCPU); err != nil {
			d.t.Fatal(err)
		}
		for _, c := range perCPU {
			out[r] += c.Packets
		}
	}
	return out
}

// lastEvent returns the newest event and drops those before it.
func (d *datapath) lastEvent() (e event) {
	d.t.Helper()
	seen := false
	d.events.SetDeadline(time.Now())
	for {
		record, err := d.events.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			d.t.Fatal(err)
		}
		if err := binary.Read(bytes.NewReader(record.RawSample), binary.LittleEndian, &e); err != nil {
			d.t.Fatal(err)
		}
		seen = true
	}
	if !seen {
		d.t.Fatal("no event arrived")
	}
	return e
}

// conn returns the connection found by key.
func (d *datapath) conn(key tuple) (c conn, ok bool) {
	d.t.Helper()
	err := d.coll.Maps["conns"].Lookup(&key, &c)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		d.t.Fatal(err)
	}
	return c, err == nil
}
