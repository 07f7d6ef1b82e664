package probes

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/internal/netlab"
	"lastgood/internal/snapshot"
)

var _ = attaching("socket",
	attachCase{ID: "sockmap/stream_verdict", Cost: 40 * time.Millisecond, In: inNet, Run: sockmapStream,
		Doc: "what comes in at one socket is sent on by another, past user space (4.14, 174a79ff9515)"},
	attachCase{ID: "sockmap/msg_verdict", Cost: 40 * time.Millisecond, In: inNet, Run: sockmapMsg,
		Doc: "what is written to one socket is read at another, past the network (4.17, 4f738adba30a)"},
	attachCase{ID: "sk_lookup/assign", Cost: 20 * time.Millisecond, In: inNet, Run: skLookup,
		Doc: "a connection to a port where nobody listens goes to a listener elsewhere (5.9, e9ddbb7707ff)"},
	attachCase{ID: "socket/filter", Cost: 20 * time.Millisecond, In: inNet, Run: socketFilter,
		Doc: "a filter on what a socket receives (3.19, 89aa075832b0)"},
)

// Answers of programs on sockets, of linux/bpf.h.
const skPass = 1

const sockets = "sockets"

// onSockets is a program with a map of two sockets and a counter.
func onSockets(typ ebpf.ProgramType, at ebpf.AttachType, insns asm.Instructions) Program {
	return Program{
		Spec: &ebpf.ProgramSpec{Type: typ, AttachType: at, License: "GPL", Instructions: append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, insns...)},
		Maps: map[string]*ebpf.MapSpec{
			countsMap: countsSpec(1),
			sockets:   {Type: ebpf.SockMap, KeySize: 4, ValueSize: 4, MaxEntries: 2},
		},
	}
}

// connection is both ends of a TCP connection over the lab's loopback.
type connection struct{ client, server int }

func (t *trial) connections(n int) ([]connection, error) {
	listener, bound, err := listen(t, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	var all []connection
	for range n {
		client, err := dial(t, bound)
		if err != nil {
			return nil, &unclearError{err.Error()}
		}
		server, _, err := accept(t, listener)
		if err != nil {
			return nil, err
		}
		all = append(all, connection{client, server})
	}
	return all, nil
}

// put puts sockets into the map.
func put(m *ebpf.Map, fds ...int) error {
	for i, fd := range fds {
		if err := m.Put(uint32(i), uint32(fd)); err != nil {
			return kernelSays("put socket into map", err)
		}
	}
	return nil
}

// redirect calls a helper that sends on to the map's second socket.
func redirect(fn asm.BuiltinFunc, flags int32) asm.Instructions {
	return append(countRun(), asm.Mov.Reg(asm.R1, asm.R6), asm.LoadMapPtr(asm.R2, 0).WithReference(sockets),
		asm.Mov.Imm(asm.R3, 1), asm.Mov.Imm(asm.R4, flags), fn.Call(), asm.Return())
}

// crosses writes at one socket and reads at another.
func (t *trial) crosses(from, to int, m map[string]*ebpf.Map) error {
	text := []byte("past user space, byte by byte")
	if _, err := unix.Write(from, text); err != nil {
		return cannotTell("write: %v", err)
	}
	got, err := receive(to, len(text))
	if err != nil {
		return &unclearError{err.Error()}
	}
	runs, err := readRuns(m)
	if err != nil {
		return err
	}
	if len(got) == 0 && runs == 0 {
		return cannotTell("nothing came within %v", packetPatience)
	}
	t.s.Set("runs", snapshot.Int(runs))
	if !bytes.Equal(got, text) {
		t.wrong("%q came, want %q", got, text)
	}
	expect(t, "runs of the program", runs, 1)
	return nil
}

func sockmapStream(t *trial) error {
	c, err := t.connections(2)
	if err != nil {
		return err
	}
	verdict, maps, err := t.load(onSockets(ebpf.SkSKB, ebpf.AttachSkSKBStreamVerdict, redirect(asm.FnSkRedirectMap, 0)), nil)
	if err != nil {
		return err
	}
	// Before 5.12 (a7ba4558e69a) there is no verdict without a parser.
	parser, err := loadQuiet(t, &ebpf.ProgramSpec{Type: ebpf.SkSKB, AttachType: ebpf.AttachSkSKBStreamParser, License: "GPL",
		Instructions: asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 0, asm.Word), asm.Return()}})
	if err != nil {
		return err
	}
	err = progAttach(parser, maps[sockets].FD(), ebpf.AttachSkSKBStreamParser)
	if err == nil {
		err = progAttach(verdict, maps[sockets].FD(), ebpf.AttachSkSKBStreamVerdict)
	}
	if err := t.attached(err); err != nil {
		return err
	}
	if err := put(maps[sockets], c[0].server, c[1].server); err != nil {
		return err
	}
	return t.crosses(c[0].client, c[1].client, maps)
}

func sockmapMsg(t *trial) error {
	const ingress = 1 // BPF_F_INGRESS
	c, err := t.connections(2)
	if err != nil {
		return err
	}
	verdict, maps, err := t.load(onSockets(ebpf.SkMsg, ebpf.AttachSkMsgVerdict, redirect(asm.FnMsgRedirectMap, ingress)), nil)
	if err != nil {
		return err
	}
	if err := t.attached(progAttach(verdict, maps[sockets].FD(), ebpf.AttachSkMsgVerdict)); err != nil {
		return err
	}
	if err := put(maps[sockets], c[0].client, c[1].server); err != nil {
		return err
	}
	return t.crosses(c[0].client, c[1].server, maps)
}

// skLookup attaches to the lab's namespace.
func skLookup(t *trial) error {
	const port, offPort = 7777, 60 // local_port of struct bpf_sk_lookup, in host order
	listener, _, err := listen(t, "127.0.0.1")
	if err != nil {
		return err
	}
	insns := append(unlessField(offPort, asm.Word, port), countRun()...)
	insns = append(insns,
		asm.StoreImm(asm.R10, -4, 0, asm.Word), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, 0).WithReference(sockets), asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R7, asm.R0), asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Reg(asm.R2, asm.R7), asm.Mov.Imm(asm.R3, 0), asm.FnSkAssign.Call(),
		asm.Mov.Reg(asm.R1, asm.R7), asm.FnSkRelease.Call(),
		asm.Mov.Imm(asm.R0, skPass).WithSymbol("out"), asm.Return(),
	)
	prog, maps, err := t.load(onSockets(ebpf.SkLookup, ebpf.AttachSkLookup, insns), nil)
	if err != nil {
		return err
	}
	if err := put(maps[sockets], listener); err != nil {
		return err
	}
	ns, err := netlab.NS()
	if err != nil {
		return &unclearError{err.Error()}
	}
	defer unix.Close(ns)
	detach, err := t.link(prog, ns, ebpf.AttachSkLookup, 0)
	if err := t.attached(err); err != nil {
		return err
	}
	nowhere := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	if _, err := dial(t, nowhere); err != nil {
		t.wrong("connection by the program: %v", err)
	} else if err := accepted(t, listener, 1); err != nil {
		return err
	}
	runs, err := readRuns(maps)
	if err != nil {
		return err
	}
	t.s.Set("runs", snapshot.Int(runs))
	expect(t, "runs of the program", runs, 1)
	if err := detach(); err != nil {
		return kernelSays("detach", err)
	}
	if _, err := dial(t, nowhere); err == nil {
		t.wrong("connections still get through after the program was detached")
	}
	return nil
}

// socketFilter drops datagrams whose first byte says so. What it sees begins at the
// UDP header.
func socketFilter(t *trial) error {
	const header = 8
	insns := append(countRun(),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, header), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -8),
		asm.Mov.Imm(asm.R4, 1), asm.FnSkbLoadBytes.Call(), asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R1, asm.R10, -8, asm.Byte), asm.JEq.Imm(asm.R1, actDrop, "drop"),
		asm.Mov.Imm(asm.R0, header+4), asm.Return(), // what lies behind is cut off
		asm.Mov.Imm(asm.R0, 0).WithSymbol("drop"), asm.Return())
	p := onSockets(ebpf.SocketFilter, 0, insns)
	delete(p.Maps, sockets)
	prog, maps, err := t.load(p, nil)
	if err != nil {
		return err
	}
	fd, bound, err := datagrams(t)
	if err != nil {
		return err
	}
	if err := t.attached(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, prog.FD())); err != nil {
		return err
	}
	for _, text := range []string{"dropped", "passed and cut"} {
		if err := unix.Sendto(fd, []byte(text), 0, netlab.Sockaddr(bound)); err != nil {
			return cannotTell("send: %v", err)
		}
	}
	ready, err := netlab.Wait(fd, unix.POLLIN, time.Now().Add(packetPatience))
	if err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	runs, rerr := readRuns(maps)
	if rerr != nil {
		return rerr
	}
	if (!ready || err != nil) && runs < 2 {
		return cannotTell("no packet came within %v", packetPatience)
	}
	t.s.Set("runs", snapshot.Int(runs))
	expect(t, "runs of the program", runs, 2)
	expect(t, "what was received", string(buf[:max(n, 0)]), "pass")
	return nil
}

// datagrams opens a UDP socket that is bound to an address of the lab's.
func datagrams(t *trial) (fd int, bound netip.AddrPort, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, bound, placeError(fmt.Errorf("open socket: %w", err))
	}
	t.later(func() { unix.Close(fd) })
	if err = unix.Bind(fd, netlab.Sockaddr(netip.MustParseAddrPort("127.0.0.1:0"))); err == nil {
		bound, err = netlab.Bound(fd)
	}
	if err != nil {
		return -1, bound, cannotTell("bind socket: %v", err)
	}
	return fd, bound, nil
}
