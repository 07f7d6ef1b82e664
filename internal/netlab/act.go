package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Deed is one thing for the helper to do, with sockets that it opens and closes for it.
type Deed string

// The deeds. Each ends with the errno of the call that it is named after.
const (
	OpenFile Deed = "open"       // open Path for reading
	ReadFile Deed = "read"       // read Path; Data is what was read
	Socket   Deed = "socket"     // socket(Family, Kind, Number)
	SendUDP  Deed = "send_udp"   // send Data to To
	LoopUDP  Deed = "loop_udp"   // send Data to a socket of the helper's bound to To; Data is what arrived
	Connect  Deed = "connect"    // connect a TCP socket to To; Peer is where it got to
	Bind     Deed = "bind"       // bind a UDP socket to To; Peer is where it is bound
	SetOpt   Deed = "setsockopt" // setsockopt(Family, Kind, Number) of a UDP socket: level, option, value
	GetOpt   Deed = "getsockopt" // getsockopt(Family, Kind); Number is the value
)

// Act is a deed with what it needs.
type Act struct {
	Deed                 Deed
	Path                 string         `json:",omitempty"`
	To                   netip.AddrPort `json:",omitzero"`
	Family, Kind, Number int            `json:",omitempty"`
	Data                 []byte         `json:",omitempty"`
}

// Done is how it ended.
type Done struct {
	Errno  unix.Errno     `json:",omitempty"` // 0 where it went well
	Silent bool           `json:",omitempty"` // nothing arrived within the time
	Number int            `json:",omitempty"`
	Peer   netip.AddrPort `json:",omitzero"`
	Data   []byte         `json:",omitempty"`
	// Fault is a failure of the helper itself: the deed was not tried.
	Fault string `json:",omitempty"`
}

// patience bounds a wait for a packet or a connection within this machine's memory.
const patience = time.Second

// do does one act.
func do(a Act) Done {
	var d Done
	var err error
	switch a.Deed {
	case OpenFile, ReadFile:
		d.Data, err = readFile(a)
	case Socket:
		var fd int
		if fd, err = unix.Socket(a.Family, a.Kind|unix.SOCK_CLOEXEC, a.Number); err == nil {
			unix.Close(fd)
		}
	case SendUDP, LoopUDP, Bind, SetOpt, GetOpt:
		d, err = withUDP(a)
	case Connect:
		d, err = connect(a.To)
	default:
		d.Fault = fmt.Sprintf("deed %q is not known", a.Deed)
	}
	var errno unix.Errno
	switch {
	case errors.As(err, &errno):
		d.Errno = errno
	case err != nil:
		d.Fault = err.Error()
	}
	return d
}

func readFile(a Act) ([]byte, error) {
	fd, err := unix.Open(a.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), a.Path)
	defer f.Close()
	if a.Deed == OpenFile {
		return nil, nil
	}
	buf := make([]byte, 256)
	n, err := unix.Read(fd, buf)
	return buf[:max(n, 0)], err
}

// withUDP does what a UDP socket does, and says at which call it ended.
func withUDP(a Act) (d Done, err error) {
	family := unix.AF_INET
	if a.To.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return Done{Fault: fmt.Sprintf("open socket: %v", err)}, nil
	}
	defer unix.Close(fd)
	switch a.Deed {
	case SendUDP:
		return d, unix.Sendto(fd, a.Data, 0, Sockaddr(a.To))
	case Bind:
		if err := unix.Bind(fd, Sockaddr(a.To)); err != nil {
			return d, err
		}
		d.Peer, err = Bound(fd)
		return d, err
	case SetOpt:
		return d, unix.SetsockoptInt(fd, a.Family, a.Kind, a.Number)
	case GetOpt:
		d.Number, err = unix.GetsockoptInt(fd, a.Family, a.Kind)
		return d, err
	}
	return loop(fd, a)
}

// loop sends to a second socket of the helper's and waits for what arrives there.
func loop(from int, a Act) (Done, error) {
	to, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return Done{Fault: fmt.Sprintf("open socket: %v", err)}, nil
	}
	defer unix.Close(to)
	if err := unix.Bind(to, Sockaddr(a.To)); err != nil {
		return Done{Fault: fmt.Sprintf("bind socket: %v", err)}, nil
	}
	if err := unix.Sendto(from, a.Data, 0, Sockaddr(a.To)); err != nil {
		return Done{}, err
	}
	// An empty one behind it tells that the first is not on its way any more.
	if err := unix.Sendto(from, nil, 0, Sockaddr(a.To)); err != nil {
		return Done{}, err
	}
	buf := make([]byte, 256)
	ready, err := Wait(to, unix.POLLIN, time.Now().Add(patience))
	if err != nil || !ready {
		return Done{Silent: err == nil}, err
	}
	n, _, err := unix.Recvfrom(to, buf, 0)
	return Done{Silent: n == 0, Data: buf[:max(n, 0)]}, err
}

func connect(to netip.AddrPort) (d Done, err error) {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return Done{Fault: fmt.Sprintf("open socket: %v", err)}, nil
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, Sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return d, err
	}
	ready, err := Wait(fd, unix.POLLOUT, time.Now().Add(patience))
	if err != nil || !ready {
		return Done{Silent: err == nil}, err
	}
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 {
		return d, errors.Join(err, unix.Errno(n))
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return d, err
	}
	d.Peer = addrPort(peer)
	return d, nil
}

// Sockaddr is an address as system calls want it.
func Sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	if !a.IsValid() {
		return &unix.SockaddrInet4{}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// Bound is the address that a socket is bound to.
func Bound(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return addrPort(sa), nil
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
