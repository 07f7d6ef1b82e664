package netlab

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Tap sends frames out of the lab's interfaces and sees those that come in. It is a
// packet socket for IPv4 (and not for everything), which the kernel serves behind
// XDP and behind tc ingress (ptype_base in __netif_receive_skb_core()): a frame is
// seen as the programs left it, and not at all where they dropped it.
type Tap struct{ fd int }

// Frame is one frame that came in.
type Frame struct {
	Index int // of the interface that it came in at
	Data  []byte
}

func openTap() (*Tap, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(swap(unix.ETH_P_IP)))
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	return &Tap{fd}, nil
}

func (t *Tap) close() { unix.Close(t.fd) }

// swap brings a number of 16 bits into network order on a little-endian machine, and
// leaves it on the others.
func swap(n uint16) uint16 {
	if nativeLittle() {
		return n<<8 | n>>8
	}
	return n
}

// Send sends a frame out of an interface.
func (t *Tap) Send(index int, frame []byte) error {
	err := unix.Sendto(t.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Protocol: swap(unix.ETH_P_IP), Halen: 6})
	if err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// Next waits until deadline for a frame that came in. ok is false where none did.
func (t *Tap) Next(deadline time.Time) (f Frame, ok bool, err error) {
	var buf [2048]byte
	for {
		n, from, err := unix.Recvfrom(t.fd, buf[:], 0)
		switch {
		case err == nil:
			at, isLink := from.(*unix.SockaddrLinklayer)
			if !isLink || at.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			return Frame{Index: at.Ifindex, Data: append([]byte(nil), buf[:n]...)}, true, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EAGAIN):
			return Frame{}, false, fmt.Errorf("receive frame: %w", err)
		}
		if ready, err := Wait(t.fd, unix.POLLIN, deadline); err != nil || !ready {
			return Frame{}, false, err
		}
	}
}

// Drain forgets what came in so far.
func (t *Tap) Drain() {
	for {
		if _, ok, err := t.Next(time.Time{}); !ok || err != nil {
			return
		}
	}
}

// Wait waits until deadline for one of events on fd.
func Wait(fd int, events int16, deadline time.Time) (bool, error) {
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, fmt.Errorf("wait: %w", err)
		}
		return n > 0, nil
	}
}
