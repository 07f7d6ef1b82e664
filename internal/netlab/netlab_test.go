package netlab

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openLab skips where this process may not make namespaces.
func openLab(t *testing.T) *Lab {
	t.Helper()
	l, err := Open()
	switch {
	case err == nil:
		t.Cleanup(l.Close)
		return l
	case strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf"), !errors.Is(err, unix.EPERM):
		t.Fatal(err)
	}
	t.Skip(err)
	return nil
}

func namespace(t *testing.T) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAFrameCrossesThePair(t *testing.T) {
	l := openLab(t)
	u := UDP{SourceMAC: mac(9), DestMAC: mac(2), Source: netip.MustParseAddrPort("192.0.2.1:1"), Dest: netip.MustParseAddrPort("192.0.2.2:2"), Payload: []byte("abc")}
	l.Do(func() {
		start := time.Now()
		p, err := Veth("a", "b", 1)
		if err != nil {
			t.Error(err)
			return
		}
		t.Logf("pair took %v", time.Since(start))
		// The interfaces are new: what is sent before the kernel has seen to them is lost.
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
			if err := l.Tap().Send(p.A.Index, u.Frame()); err != nil {
				t.Error(err)
				return
			}
			f, ok, err := l.Tap().Next(time.Now().Add(10 * time.Millisecond))
			if err != nil || ok && (f.Index != p.B.Index || !bytes.Equal(f.Data, u.Frame())) {
				t.Errorf("frame at %d: %x, %v", f.Index, f.Data, err)
			}
			if ok || err != nil {
				return
			}
		}
		t.Error("no frame came")
	})
	start := time.Now()
	l.Close()
	t.Logf("close took %v", time.Since(start))
}

// TestTheNamespaceIsOneThreads: nothing else of the process ever runs in it.
func TestTheNamespaceIsOneThreads(t *testing.T) {
	home := namespace(t)
	for range 20 {
		start := time.Now()
		l := openLab(t)
		if t.Failed() {
			return
		}
		took := time.Since(start)
		l.Do(func() {
			if namespace(t) == home {
				t.Error("the lab is in the namespace of the host")
			}
		})
		done := make(chan string)
		for range 10 {
			go func() {
				name, err := os.Readlink("/proc/thread-self/ns/net")
				if err != nil {
					name = err.Error()
				}
				done <- name
			}()
		}
		for range 10 {
			if got := <-done; got != home {
				t.Errorf("another goroutine ran in %s, want %s", got, home)
			}
		}
		l.Close()
		t.Logf("open %v, all %v", took, time.Since(start))
	}
}

func TestChecksums(t *testing.T) {
	// The example of RFC 1071, section 3.
	if got := checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) {
		t.Errorf("checksum %04x, want %04x", got, ^uint16(0xddf2))
	}
	if got := checksum([]byte{0x01}); got != ^uint16(0x0100) {
		t.Errorf("checksum of one byte %04x", got)
	}
}
