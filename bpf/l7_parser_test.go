package bpf

import (
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
)

// stream is struct stream of headers/l7.h.
type stream struct {
	Bytes                            uint64
	AtOff, AtEnd, BlockOff, BlockEnd uint32
	Skip, Length, Hash, Verb, Name   uint32
	StreamID, PathLen, HostLen       uint32
	Status, Headers, Frames          uint16
	Proto, Method                    uint8
	State, Flags                     uint32
	Path                             [64]byte
	Host                             [32]byte
}

type streamKey struct {
	Src, Dst     addr
	Sport, Dport be16
}

const (
	protoHTTP1 = 1
	protoHTTP2 = 2
	protoOther = 3

	methodGet  = 1
	methodPost = 2

	streamCut      = 1
	streamBad      = 2
	streamChunked  = 4
	streamHuffman  = 8
	streamComplete = 16
)

func (s stream) path() string { return string(s.Path[:min(s.PathLen, 64)]) }
func (s stream) host() string { return string(s.Host[:min(s.HostLen, 32)]) }

// l7 is one size of the parser, loaded, with one connection that goes through it.
type l7 struct {
	t     *testing.T
	size  string
	coll  *ebpf.Collection
	sport uint16
	v6    bool
}

// eachParser runs f for every size, over IPv4 and IPv6.
func eachParser(t *testing.T, f func(t *testing.T, p *l7)) {
	needBPF(t)
	for _, o := range L7Parsers() {
		for _, v6 := range []bool{false, true} {
			name := o.Name + "/v4"
			if v6 {
				name = o.Name + "/v6"
			}
			t.Run(name, func(t *testing.T) { f(t, &l7{t: t, size: o.Name, coll: loadObject(t, o), sport: 1000, v6: v6}) })
		}
	}
}

// loadObject loads all of an object.
func loadObject(t *testing.T, o Object) *ebpf.Collection {
	t.Helper()
	spec, err := o.Load()
	if err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(coll.Close)
	return coll
}

func (p *l7) frame(data string, options ...byte) []byte {
	segment := tcp(p.sport, 80, ack, options...)
	segment = append(segment[:len(segment)-len("hello")], data...)
	if p.v6 {
		return ip6{src: "2001:db8::1", dst: "2001:db8::2", proto: protoTCP, payload: segment}.frame()
	}
	return ip4{src: "192.0.2.1", dst: "192.0.2.2", proto: protoTCP, options: []byte{1, 1, 1, 0}, payload: segment}.frame()
}

// run sends a frame; the parser lets everything pass.
func (p *l7) run(frame []byte) {
	p.t.Helper()
	verdict, err := p.coll.Programs["l7_parse"].Run(&ebpf.RunOptions{Data: frame})
	if err != nil || verdict != actOK {
		p.t.Fatalf("verdict %d, %v", verdict, err)
	}
}

// send sends text in segments of at most size bytes.
func (p *l7) send(text string, size int) {
	p.t.Helper()
	for len(text) > 0 {
		n := min(size, len(text))
		p.run(p.frame(text[:n], make([]byte, len(text)%3*4)...)) // a data offset of its own each
		text = text[n:]
	}
}

func (p *l7) stream() stream {
	p.t.Helper()
	key := streamKey{Src: ip("192.0.2.1"), Dst: ip("192.0.2.2"), Sport: port(p.sport), Dport: port(80)}
	if p.v6 {
		key.Src, key.Dst = ip("2001:db8::1"), ip("2001:db8::2")
	}
	var s stream
	if err := p.coll.Maps["streams"].Lookup(&key, &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

func TestHTTP1Request(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		for size := 1; size <= 4; size++ {
			p.sport++
			p.send("POST /things/7?x=y HTTP/1.1\r\nAccept: */*\r\nHOST: example.org\r\nContent-Length: 12\r\n\r\n", size)
			s := p.stream()
			if s.Proto != protoHTTP1 || s.Method != methodPost || s.path() != "/things/7?x=y" || s.host() != "example.org" ||
				s.Length != 12 || s.Headers != 3 || s.Flags != streamComplete || s.Skip != 12 {
				t.Errorf("in segments of %d: %+v", size, s)
			}
			// A body is skipped, though it looks like a request; then comes the next one.
			p.send("GET /no HTTP", 5)
			p.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n", size)
			if s = p.stream(); s.Method != methodGet || s.path() != "/" || s.host() != "b" || s.Length != 0 || s.Flags != streamComplete {
				t.Errorf("second request in segments of %d: %+v", size, s)
			}
		}
	})
}

func TestHTTP1Answer(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		p.send("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nServer: x\r\n\r\n", 4)
		s := p.stream()
		if s.Proto != protoHTTP1 || s.Method != 0 || s.Status != 404 || s.Headers != 2 || s.Flags != streamComplete|streamChunked {
			t.Errorf("%+v", s)
		}
	})
}

// One segment holds more than a small parser walks, which it says.
func TestHTTP1Cut(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		p.send("GET /a/path/that/is/longer HTTP/1.1\r\n", 1000)
		if s := p.stream(); s.Flags != streamCut {
			t.Errorf("%+v", s)
		}
	})
}

func TestHTTP1Bad(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		for _, text := range []string{"GET\r\n", "GET /a\x01b HTTP/1.1\r\n", "GET / HTTP/1.1\r\nno colon\r\n", "PUT / HTTP/1.1\r\nContent-Length: 99999999999\r\n"} {
			p.sport++
			p.send(text, 3)
			if s := p.stream(); s.Flags&streamBad == 0 {
				t.Errorf("%q: %+v", text, s)
			}
		}
		p.sport++
		p.send("\x16\x03\x01\x02", 4)
		if s := p.stream(); s.Proto != protoOther || s.Flags != 0 {
			t.Errorf("no HTTP at all: %+v", s)
		}
	})
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// h2 is a frame of HTTP/2.
func h2(kind, flags byte, id uint32, payload string) string {
	n := len(payload)
	return string(be.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, id)) + payload
}

func TestHTTP2Request(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		p.send(preface+h2(4, 0, 0, "\x00\x03\x00\x00\x00\x64"), 1000)
		for _, field := range []string{"\x82", "\x44\x06/a/b?c", "\x41\x0bexample.org", "\x0f\x0d\x0277", "\x3e", "\x00\x03foo\x03bar"} {
			p.send(h2(1, 0, 7, field), 1000)
		}
		s := p.stream()
		if s.Proto != protoHTTP2 || s.Method != methodGet || s.path() != "/a/b?c" || s.host() != "example.org" ||
			s.StreamID != 7 || s.Length != 77 || s.Frames != 7 || s.Headers != 5 || s.Flags != streamComplete {
			t.Errorf("%+v", s)
		}
		// Padding and priority lie around the block, a name is written out.
		p.send(h2(1, 8|32, 9, "\x03\x80\x00\x00\x00\x10\x00\x05:path\x02/z\x00\x00\x00"), 1000)
		if s = p.stream(); s.path() != "/z" || s.StreamID != 9 || s.Flags != streamComplete {
			t.Errorf("padded: %+v", s)
		}
		// A smaller parser says that it left fields of a block out.
		fields, want := "\x83\x44\x02/q", uint32(streamComplete)
		if p.size == "small" {
			want |= streamCut
		}
		p.send(h2(1, 0, 13, fields), 1000)
		if s = p.stream(); s.Method != methodPost || s.Flags != want || (s.path() == "/q") != (p.size != "small") {
			t.Errorf("two fields: %+v", s)
		}
		p.sport++
		p.send(preface, 1000)
		p.send(h2(1, 0, 9, "\x44\x02/z"), 1000)
		p.send(h2(1, 0, 11, "\x44\x83\xaa\xbb\xcc"), 1000)
		if s = p.stream(); s.path() != "/z" || s.Flags != streamComplete|streamHuffman {
			t.Errorf("huffman: %+v", s)
		}
	})
}

func TestHTTP2Answer(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		p.send(h2(4, 0, 0, ""), 1000)
		data := h2(0, 0, 1, string(make([]byte, 5000))) // longer than the packets it comes in
		p.send(data, 1400)
		p.send(h2(1, 4, 1, "\x8d"), 1000)
		s := p.stream()
		if s.Proto != protoHTTP2 || s.Status != 404 || s.Frames != 3 || s.Skip != 0 || s.Flags != streamComplete {
			t.Errorf("%+v", s)
		}
		p.send(h2(1, 4, 1, "\x48\x03503"), 1000)
		if s = p.stream(); s.Status != 503 {
			t.Errorf("status written out: %+v", s)
		}
	})
}

// A string that is said to be longer than its frame ends the block, as does an
// integer without end.
func TestHTTP2Bad(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		for _, block := range []string{"\x44\x7f\xff\xff\xff\xff\x7f", "\x44\x20/short", "\xff\xff\xff\xff\xff\xff\xff", "\x00", "\x40\x05:pa"} {
			p.sport++
			p.send(preface, 1000)
			p.send(h2(1, 0, 1, block), 1000)
			if s := p.stream(); s.Flags&streamBad == 0 || s.PathLen != 0 {
				t.Errorf("%q: %+v", block, s)
			}
		}
	})
}

// Whatever comes, the packet passes and the connection's state stays in its bounds.
func TestParserTakesAnything(t *testing.T) {
	eachParser(t, func(t *testing.T, p *l7) {
		rng := rand.New(rand.NewPCG(1, 2))
		texts := []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", preface + h2(1, 8, 3, "\x02\x82\x44\x03/ab\x00\x00")}
		for _, text := range texts {
			whole := p.frame(text)
			for n := 14 + 40; n <= len(whole); n++ { // a test run wants the network header whole
				p.run(whole[:n])
			}
			for range 2000 {
				p.sport = uint16(rng.IntN(8))
				junk := []byte(text)
				for range 1 + rng.IntN(4) {
					junk[rng.IntN(len(junk))] = byte(rng.IntN(256))
				}
				frame := p.frame(string(junk))
				if rng.IntN(3) == 0 {
					frame[14+rng.IntN(len(frame)-14)] = byte(rng.IntN(256))
				}
				p.run(frame)
			}
		}
		var key streamKey
		var s stream
		for it := p.coll.Maps["streams"].Iterate(); it.Next(&key, &s); {
			if s.State > 9 || s.Proto > protoOther || s.Method > 6 {
				t.Errorf("%+v", s)
			}
		}
	})
}
