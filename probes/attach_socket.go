package probes

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/netlab"
)

// Sockets of the lab's, over its own loopback interface. All are closed with the case.

// listen opens a TCP socket that listens at an address of the lab's.
func listen(t *trial, local string) (fd int, bound netip.AddrPort, err error) {
	addr := netip.AddrPortFrom(netip.MustParseAddr(local), 0)
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, bound, placeError(fmt.Errorf("open socket: %w", err))
	}
	t.later(func() { unix.Close(fd) })
	if err = unix.Bind(fd, netlab.Sockaddr(addr)); err == nil {
		err = unix.Listen(fd, 8)
	}
	if err == nil {
		bound, err = netlab.Bound(fd)
	}
	if err != nil {
		return -1, bound, cannotTell("listen at %s: %v", local, err)
	}
	return fd, bound, nil
}

// accept takes one connection.
func accept(t *trial, listener int) (fd int, from netip.AddrPort, err error) {
	ready, err := netlab.Wait(listener, unix.POLLIN, time.Now().Add(packetPatience))
	if err != nil {
		return -1, from, err
	}
	if !ready {
		return -1, from, cannotTell("no connection came within %v", packetPatience)
	}
	fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return -1, from, cannotTell("accept: %v", err)
	}
	t.later(func() { unix.Close(fd) })
	from, err = netlab.Bound(fd)
	return fd, from, err
}

// accepted expects n connections to wait at a listener.
func accepted(t *trial, listener, n int) error {
	for i := range n {
		_, _, err := accept(t, listener)
		var none *unclearError
		if errors.As(err, &none) {
			t.wrong("%d connections came to the listener, want %d", i, n)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dial connects a TCP socket of the lab's.
func dial(t *trial, to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, placeError(fmt.Errorf("open socket: %w", err))
	}
	t.later(func() { unix.Close(fd) })
	if err := unix.Connect(fd, netlab.Sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return -1, fmt.Errorf("connect: %w", err)
	}
	ready, err := netlab.Wait(fd, unix.POLLOUT, time.Now().Add(packetPatience))
	if err != nil {
		return -1, err
	}
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 || !ready {
		return -1, fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(n)))
	}
	return fd, nil
}

// receive reads until it has want bytes or the time is over.
func receive(fd, want int) ([]byte, error) {
	var got []byte
	for deadline := time.Now().Add(packetPatience); len(got) < want; {
		ready, err := netlab.Wait(fd, unix.POLLIN, deadline)
		if err != nil || !ready {
			return got, err
		}
		buf := make([]byte, want-len(got))
		n, err := unix.Read(fd, buf)
		if err != nil {
			return got, fmt.Errorf("receive: %w", err)
		}
		if n == 0 {
			return got, nil
		}
		got = append(got, buf[:n]...)
	}
	return got, nil
}
