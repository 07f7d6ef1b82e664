package systemvm

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// volatileDisk is a file behind a cache that forgets, as real disks have one: what was written and
// not flushed since may be lost when the power goes, in any order. QEMU reaches it by NBD (the
// protocol's doc/proto.md), of which this is as much as QEMU wants.
type volatileDisk struct {
	listener net.Listener
	done     sync.WaitGroup

	mu      sync.Mutex
	file    *os.File
	pending map[int64][]byte // blocks by their number
	conns   []net.Conn
	size    int64
}

const (
	cacheBlock   = 4096
	volatileSize = 8 << 30 // more than an image ever takes: a disk by NBD does not grow

	nbdMagic, nbdOption, nbdOptionReply = 0x4e42444d41474943, 0x49484156454f5054, 0x3e889045565a9
	nbdRequest, nbdReply                = 0x25609513, 0x67446698
	nbdOptGo, nbdOptAbort               = 7, 2
	nbdRepAck, nbdRepInfo, nbdRepUnsup  = 1, 3, 0x80000001
	nbdRead, nbdWrite, nbdDisconnect    = 0, 1, 2
	nbdFlush                            = 3
	nbdFUA                              = 1 // flag of a command
	nbdInvalid                          = 22
	// has flags, takes flushes and writes that go through
	nbdFlags = 1 | 4 | 8
)

// serveVolatile offers a file at a socket.
func serveVolatile(path, socket string) (*volatileDisk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d := &volatileDisk{listener: l, file: f, pending: map[int64][]byte{}, size: volatileSize}
	d.done.Add(1)
	go d.accept()
	return d, nil
}

func (d *volatileDisk) accept() {
	defer d.done.Done()
	for {
		c, err := d.listener.Accept()
		if err != nil {
			return // closed
		}
		d.mu.Lock()
		d.conns = append(d.conns, c)
		d.mu.Unlock()
		d.done.Add(1)
		go func() {
			defer d.done.Done()
			defer c.Close()
			if d.greet(c) == nil {
				_ = d.serve(c) // ends with the machine
			}
		}()
	}
}

// greet settles on the only export there is.
func (d *volatileDisk) greet(c net.Conn) error {
	var hello []byte
	hello = binary.BigEndian.AppendUint64(hello, nbdMagic)
	hello = binary.BigEndian.AppendUint64(hello, nbdOption)
	hello = binary.BigEndian.AppendUint16(hello, 1|2) // fixed newstyle, no zeroes
	if _, err := c.Write(hello); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		return err
	}
	for {
		head := make([]byte, 16)
		if _, err := io.ReadFull(c, head); err != nil {
			return err
		}
		option := binary.BigEndian.Uint32(head[8:])
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[12:]))); err != nil {
			return err
		}
		switch option {
		case nbdOptGo:
			info := binary.BigEndian.AppendUint16(nil, 0) // NBD_INFO_EXPORT
			info = binary.BigEndian.AppendUint64(info, uint64(d.size))
			info = binary.BigEndian.AppendUint16(info, nbdFlags)
			return errors.Join(answer(c, option, nbdRepInfo, info), answer(c, option, nbdRepAck, nil))
		case nbdOptAbort:
			return errors.Join(answer(c, option, nbdRepAck, nil), io.EOF)
		default:
			if err := answer(c, option, nbdRepUnsup, nil); err != nil {
				return err
			}
		}
	}
}

func answer(w io.Writer, option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, nbdOptionReply)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := w.Write(append(b, data...))
	return err
}

func (d *volatileDisk) serve(c net.Conn) error {
	for {
		head := make([]byte, 28)
		if _, err := io.ReadFull(c, head); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(head) != nbdRequest {
			return errors.New("no request")
		}
		flags, kind := binary.BigEndian.Uint16(head[4:]), binary.BigEndian.Uint16(head[6:])
		handle := head[8:16]
		at, length := int64(binary.BigEndian.Uint64(head[16:])), int64(binary.BigEndian.Uint32(head[24:]))
		var data []byte
		if kind == nbdRead || kind == nbdWrite {
			data = make([]byte, length)
		}
		if kind == nbdWrite {
			if _, err := io.ReadFull(c, data); err != nil {
				return err
			}
		}
		if kind == nbdDisconnect {
			return nil
		}
		err := d.do(kind, flags&nbdFUA != 0, at, data)
		reply := binary.BigEndian.AppendUint32(nil, nbdReply)
		reply = binary.BigEndian.AppendUint32(reply, map[bool]uint32{true: nbdInvalid}[err != nil])
		reply = append(reply, handle...)
		if kind == nbdRead && err == nil {
			reply = append(reply, data...)
		}
		if _, err := c.Write(reply); err != nil {
			return err
		}
	}
}

func (d *volatileDisk) do(kind uint16, through bool, at int64, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return os.ErrClosed
	}
	switch kind {
	case nbdRead:
		return d.read(at, data)
	case nbdWrite:
		return d.write(at, data, through)
	case nbdFlush:
		return d.flush(func() bool { return true })
	}
	return errors.ErrUnsupported
}

func (d *volatileDisk) block(n int64) ([]byte, error) {
	if b := d.pending[n]; b != nil {
		return b, nil
	}
	b := make([]byte, cacheBlock)
	if _, err := d.file.ReadAt(b, n*cacheBlock); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

func (d *volatileDisk) read(at int64, data []byte) error {
	for len(data) > 0 {
		b, err := d.block(at / cacheBlock)
		if err != nil {
			return err
		}
		n := copy(data, b[at%cacheBlock:])
		at, data = at+int64(n), data[n:]
	}
	return nil
}

func (d *volatileDisk) write(at int64, data []byte, through bool) error {
	for len(data) > 0 {
		number := at / cacheBlock
		b, err := d.block(number)
		if err != nil {
			return err
		}
		n := copy(b[at%cacheBlock:], data)
		if through {
			if _, err := d.file.WriteAt(b, number*cacheBlock); err != nil {
				return err
			}
			delete(d.pending, number)
		} else {
			d.pending[number] = b
		}
		at, data = at+int64(n), data[n:]
	}
	return nil
}

// flush gives those blocks of the cache to the file that are chosen, and forgets the others.
func (d *volatileDisk) flush(chosen func() bool) error {
	for _, n := range slices.Sorted(maps.Keys(d.pending)) {
		if !chosen() {
			continue
		}
		if _, err := d.file.WriteAt(d.pending[n], n*cacheBlock); err != nil {
			return err
		}
	}
	clear(d.pending)
	return nil
}

// cut is the power going: of what is in the cache each block may have reached the disk or not. It
// returns how many were in it.
func (d *volatileDisk) cut(r *rand.Rand) (int, error) {
	err := d.listener.Close()
	d.mu.Lock()
	n := len(d.pending)
	err = errors.Join(err, d.flush(func() bool { return r.IntN(2) == 0 }), d.file.Close())
	d.file = nil
	for _, c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.done.Wait()
	return n, err
}

// TestVolatileDisk: what was flushed is there after a cut, what was not may be.
func TestVolatileDisk(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "disk"), filepath.Join(dir, "nbd")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := serveVolatile(path, socket)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := command(dir, "qemu-io", "-f", "raw", "-t", "writeback", "nbd+unix:///?socket="+socket, "-c", "write -P 1 512 64k", "-c", "flush", "-c", "read -P 1 512 64k",
		"-c", "write -f -P 2 1M 4k", "-c", "write -P 3 2M 400k", "-c", "read -P 3 2M 400k", "-c", "sigraise 9"); err == nil {
		t.Fatalf("it was to be killed: %s", out)
	}
	lost, err := d.cut(rand.New(rand.NewPCG(1, 2)))
	if err != nil || lost != 100 {
		t.Errorf("%d blocks were in the cache, %v", lost, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, make([]byte, 3<<20)...)
	if n := count(b[512:512+64<<10], 1); n != 64<<10 {
		t.Errorf("of what was flushed %d bytes are there", n)
	}
	if n := count(b[1<<20:1<<20+4096], 2); n != 4096 {
		t.Errorf("of what was written through %d bytes are there", n)
	}
	if n := count(b[2<<20:2<<20+400<<10], 3); n == 0 || n == 400<<10 || n%cacheBlock != 0 {
		t.Errorf("of what was in the cache %d bytes are there", n)
	}
}

func count(b []byte, of byte) (n int) {
	for _, c := range b {
		if c == of {
			n++
		}
	}
	return n
}
