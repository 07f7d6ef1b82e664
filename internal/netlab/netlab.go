// Package netlab makes a private place to attach programs in: a network namespace
// with interfaces that lead nowhere, and a cgroup with one helper process in it.
//
// The namespace has no name and no file: it is that of one thread, and of whatever
// descriptors were opened in it, and ends with them. A process that is killed at any
// moment takes it along.
package netlab

import (
	"fmt"
	"net"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Lab is a private network namespace. What is to happen in it is handed to Do.
type Lab struct {
	work  chan func()
	ended chan struct{}
	once  sync.Once
	tap   *Tap
}

// Open makes a namespace with its loopback interface up and a tap that sees the
// frames of all its interfaces. Errors name the system call; EPERM means that this
// process may not make namespaces. The caller closes the lab.
func Open() (*Lab, error) {
	l := &Lab{work: make(chan func()), ended: make(chan struct{})}
	made := make(chan error)
	go onOwnThread(func() { l.serve(made) })
	if err := <-made; err != nil {
		<-l.ended
		return nil, err
	}
	return l, nil
}

// onOwnThread runs f on a thread that nothing else runs on, and that ends with f: a
// goroutine that ends while it is locked to its thread takes the thread along. Go
// cannot end the process' first thread, and keeps it asleep instead, in the
// namespace: that one is held here while another is found.
func onOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

func (l *Lab) serve(made chan<- error) {
	defer close(l.ended)
	err := l.enter()
	made <- err
	if err != nil {
		return
	}
	for f := range l.work {
		f()
	}
	l.tap.close()
}

// enter takes this thread into a namespace of its own.
func (l *Lab) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	l.tap, err = openTap()
	return err
}

// Do runs f on the lab's thread and waits for it. Sockets that f opens and indexes of
// interfaces that it uses are the namespace's.
func (l *Lab) Do(f func()) {
	done := make(chan struct{})
	l.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// Close ends the thread, and with it the namespace. It may be called again.
func (l *Lab) Close() {
	l.once.Do(func() { close(l.work) })
	<-l.ended
}

// Tap is the lab's window on its frames.
func (l *Lab) Tap() *Tap { return l.tap }

// NS opens the namespace; the caller closes the descriptor. It is to be called in Do.
func NS() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open network namespace: %w", err)
	}
	return fd, nil
}

// Port is one end of a pair of interfaces.
type Port struct {
	Name  string
	Index int
	MAC   net.HardwareAddr
}

// Pair is two interfaces: what goes out of one comes in at the other.
type Pair struct{ A, B Port }

// mac is the address of the n-th port: of the locally administered range.
func mac(n byte) net.HardwareAddr { return net.HardwareAddr{0x02, 0x6c, 0x67, 0x00, 0x00, n} }

// Veth makes a pair of virtual Ethernet interfaces and brings both up. first numbers
// their addresses. ENOTSUPP and the like mean that the kernel has no veth. It is to be
// called in Do.
func Veth(a, b string, first byte) (Pair, error) {
	link := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: a, HardwareAddr: mac(first), MTU: 1500}, PeerName: b, PeerHardwareAddr: mac(first + 1),
	}
	return makePair("veth", link, a, b)
}

// Netkit makes a pair of netkit interfaces of layer 2, where the kernel has them (6.7).
// The primary one is A. It is to be called in Do.
func Netkit(a, b string, first byte) (Pair, error) {
	link := &netlink.Netkit{
		LinkAttrs: netlink.LinkAttrs{Name: a, HardwareAddr: mac(first), MTU: 1500}, Mode: netlink.NETKIT_MODE_L2,
		Policy: netlink.NETKIT_POLICY_FORWARD, PeerPolicy: netlink.NETKIT_POLICY_FORWARD,
	}
	link.SetPeerAttrs(&netlink.LinkAttrs{Name: b, HardwareAddr: mac(first + 1)})
	return makePair("netkit", link, a, b)
}

func makePair(kind string, link netlink.Link, names ...string) (Pair, error) {
	if err := netlink.LinkAdd(link); err != nil {
		return Pair{}, fmt.Errorf("make %s pair: %w", kind, err)
	}
	var ports [2]Port
	for i, name := range names {
		made, err := netlink.LinkByName(name)
		if err != nil {
			return Pair{}, fmt.Errorf("find interface %s: %w", name, err)
		}
		if err := netlink.LinkSetUp(made); err != nil {
			return Pair{}, fmt.Errorf("bring interface %s up: %w", name, err)
		}
		ports[i] = Port{Name: name, Index: made.Attrs().Index, MAC: made.Attrs().HardwareAddr}
	}
	return Pair{A: ports[0], B: ports[1]}, nil
}
