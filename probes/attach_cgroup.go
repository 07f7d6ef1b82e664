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

// cgroupCost is what a case takes beside the helper's start, on a slow machine.
const cgroupCost = 8 * time.Millisecond

var _ = attaching("cgroup",
	attachCase{ID: "cgroup/skb_egress", Cost: 60 * time.Millisecond, In: inCgroup, Run: func(t *trial) error { return cgroupSKB(t, ebpf.AttachCGroupInetEgress) },
		Doc: "a filter on what the processes of a cgroup send (4.10, 0e33661de493)"},
	attachCase{ID: "cgroup/skb_ingress", Cost: 30 * time.Millisecond, In: inCgroup, Run: func(t *trial) error { return cgroupSKB(t, ebpf.AttachCGroupInetIngress) },
		Doc: "a filter on what they receive"},
	attachCase{ID: "cgroup/sock_create", Cost: cgroupCost, In: inCgroup, Run: cgroupSocket,
		Doc: "a filter on the sockets that they open (4.10, 610236587600)"},
	attachCase{ID: "cgroup/sock_addr_connect4", Cost: cgroupCost, In: inCgroup, Run: func(t *trial) error { return cgroupConnect(t, ebpf.AttachCGroupInet4Connect, "127.0.0.1") },
		Doc: "another address and port for a connection, as load balancers at the socket do (4.17, d74bad4e74ee)"},
	attachCase{ID: "cgroup/sock_addr_connect6", Cost: cgroupCost, In: inCgroup, Run: func(t *trial) error { return cgroupConnect(t, ebpf.AttachCGroupInet6Connect, "::1") },
		Doc: "the same for IPv6"},
	attachCase{ID: "cgroup/sock_addr_bind4", Cost: cgroupCost, In: inCgroup, Run: cgroupBind,
		Doc: "another port to bind to (4.17, 4fbac77d2d09)"},
	attachCase{ID: "cgroup/device", Cost: cgroupCost, In: inCgroup, Run: cgroupDevice,
		Doc: "the devices that they may open (4.15, ebc614f68736): what container runtimes, systemd's DeviceAllow= and libvirt confine processes with"},
	attachCase{ID: "cgroup/sysctl", Cost: cgroupCost, In: inCgroup, Run: cgroupSysctl,
		Doc: "the sysctls that they may read and write (5.2, 7b146cebe30c)"},
	attachCase{ID: "cgroup/sockopt_get", Cost: cgroupCost, In: inCgroup, Run: func(t *trial) error { return cgroupSockopt(t, ebpf.AttachCGroupGetsockopt) },
		Doc: "what they are told of socket options (5.3, 0d01da6afc54)"},
	attachCase{ID: "cgroup/sockopt_set", Cost: cgroupCost, In: inCgroup, Run: func(t *trial) error { return cgroupSockopt(t, ebpf.AttachCGroupSetsockopt) },
		Doc: "which socket options they may set"},
	attachCase{ID: "lsm/cgroup_socket_bind", Cost: 40 * time.Millisecond, In: inCgroup, Run: cgroupLSM,
		Doc: "an LSM hook for the processes of a cgroup (6.0, 69fd337a975c); a plain one would run for everybody, and is not attached"},
)

// inRoom attaches a program to the private cgroup and has the helper do things there
// while it is attached, and once more when it is not.
type inRoom struct {
	program Program
	at      ebpf.AttachType
	// control is what the helper is to do without trouble while nothing is attached,
	// before and after.
	control netlab.Act
	// during is what is done meanwhile; ran is how often the program is to run.
	during func(*trial, *netlab.Helper) error
	ran    uint64
}

func (t *trial) inRoom(r inRoom) error {
	room, err := t.rig.room()
	if err != nil {
		return err
	}
	if err := fine(room.helper, r.control); err != nil {
		return cannotTell("with nothing attached, %v", err)
	}
	prog, maps, err := t.load(r.program, t.rig.types)
	if err != nil {
		return err
	}
	detach, err := t.link(prog, room.cgroup.FD(), r.at, 0)
	if err := t.attached(err); err != nil {
		return err
	}
	if err := r.during(t, room.helper); err != nil {
		return err
	}
	runs, err := readRuns(maps)
	if err != nil {
		return err
	}
	t.s.Set("runs", snapshot.Int(runs))
	expect(t, "runs of the program", runs, r.ran)
	if err := detach(); err != nil {
		return kernelSays("detach", err)
	}
	if err := fine(room.helper, r.control); err != nil {
		t.wrong("after the program was detached, %v", err)
	}
	if after, err := readRuns(maps); err != nil {
		return err
	} else if after != runs {
		t.wrong("the program still runs after it was detached")
	}
	return nil
}

// fine has the helper do something that is to go well.
func fine(h *netlab.Helper, a netlab.Act) error {
	d, err := h.Do(a)
	switch {
	case err != nil:
		return err
	case d.Errno != 0:
		return fmt.Errorf("%s: %s", a.Deed, errnoText(d.Errno))
	case d.Silent:
		return fmt.Errorf("%s: nothing came", a.Deed)
	}
	return nil
}

// readRuns reads how often a program ran.
func readRuns(maps map[string]*ebpf.Map) (uint64, error) {
	var n uint64
	if err := maps[countsMap].Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("read counts: %w", err)
	}
	return n, nil
}

// countRun counts a run. It uses R1 and R2.
func countRun() asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R1, 0, 0).WithReference(countsMap),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
	}
}

// counting is a program that counts those of its runs that test lets by, and then does
// what is in then. The context is in R6; tests leave by jumping to "out", which returns 1.
func counting(typ ebpf.ProgramType, at ebpf.AttachType, test, then asm.Instructions) Program {
	insns := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	insns = append(insns, test...)
	insns = append(insns, countRun()...)
	insns = append(insns, then...)
	if len(test) > 0 { // else nobody gets there, and the verifier minds
		insns = append(insns, asm.Mov.Imm(asm.R0, 1).WithSymbol("out"), asm.Return())
	}
	return Program{
		Spec: &ebpf.ProgramSpec{Type: typ, AttachType: at, License: "GPL", Instructions: insns},
		Maps: map[string]*ebpf.MapSpec{countsMap: countsSpec(1)},
	}
}

// deny ends with the answer that cgroup hooks give as EPERM.
func deny() asm.Instructions { return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()} }

func unlessField(offset int16, size asm.Size, want int32) asm.Instructions {
	return asm.Instructions{asm.LoadMem(asm.R1, asm.R6, offset, size), asm.JNE.Imm(asm.R1, want, "out")}
}

// denied expects the helper's act to end with an errno.
func denied(t *trial, h *netlab.Helper, a netlab.Act, want unix.Errno) error {
	d, err := h.Do(a)
	if err != nil {
		return &unclearError{err.Error()}
	}
	if d.Errno != want {
		t.wrong("%s: the program denies it, and it ended with %s", a.Deed, errnoText(d.Errno))
	}
	return nil
}

// allowed expects it to go well.
func allowed(t *trial, h *netlab.Helper, a netlab.Act) error {
	d, err := h.Do(a)
	if err != nil {
		return &unclearError{err.Error()}
	}
	if d.Errno != 0 || d.Silent {
		t.wrong("%s: the program has nothing against it, and it ended with %s (nothing came: %v)", a.Deed, errnoText(d.Errno), d.Silent)
	}
	return nil
}

// cgroupSKB drops datagrams whose first byte says so: the sender is told EPERM, the
// receiver hears nothing.
func cgroupSKB(t *trial, at ebpf.AttachType) error {
	// The context of these programs begins at the IP header.
	const payload = 20 + 8
	test := asm.Instructions{
		asm.LoadMem(asm.R7, asm.R6, 76, asm.Word), asm.LoadMem(asm.R8, asm.R6, 80, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R7), asm.Add.Imm(asm.R1, payload+8), asm.JGT.Reg(asm.R1, asm.R8, "out"),
		asm.LoadMem(asm.R1, asm.R7, 9, asm.Byte), asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "out"),
	}
	then := asm.Instructions{asm.LoadMem(asm.R1, asm.R7, payload, asm.Byte), asm.JNE.Imm(asm.R1, actDrop, "out")}
	to := netip.MustParseAddrPort("127.0.0.1:2222")
	pass := netlab.Act{Deed: netlab.LoopUDP, To: to, Data: []byte("pass it on")}
	drop := netlab.Act{Deed: netlab.LoopUDP, To: to, Data: []byte("drop it...")}
	return t.inRoom(inRoom{
		program: counting(ebpf.CGroupSKB, at, test, append(then, deny()...)), at: at, control: pass, ran: 2,
		during: func(t *trial, h *netlab.Helper) error {
			d, err := h.Do(drop)
			if err != nil {
				return &unclearError{err.Error()}
			}
			if at == ebpf.AttachCGroupInetEgress {
				expect(t, "errno of a send that is dropped", d.Errno, unix.EPERM)
			} else {
				expect(t, "a received datagram is dropped", d.Silent, true)
			}
			d, err = h.Do(pass)
			if err != nil {
				return &unclearError{err.Error()}
			}
			if d.Errno != 0 || !bytes.Equal(d.Data, pass.Data) {
				t.wrong("a datagram that is passed: %q, %s", d.Data, errnoText(d.Errno))
			}
			return nil
		},
	})
}

// cgroupSocket denies raw sockets and no others.
func cgroupSocket(t *trial) error {
	raw := netlab.Act{Deed: netlab.Socket, Family: unix.AF_INET, Kind: unix.SOCK_RAW, Number: unix.IPPROTO_UDP}
	udp := netlab.Act{Deed: netlab.Socket, Family: unix.AF_INET, Kind: unix.SOCK_DGRAM}
	const offType = 8 // in struct bpf_sock
	return t.inRoom(inRoom{
		program: counting(ebpf.CGroupSock, ebpf.AttachCGroupInetSockCreate, unlessField(offType, asm.Word, unix.SOCK_RAW), deny()),
		at:      ebpf.AttachCGroupInetSockCreate, control: raw, ran: 1,
		during: func(t *trial, h *netlab.Helper) error {
			return cmpError(denied(t, h, raw, unix.EPERM), allowed(t, h, udp))
		},
	})
}

// Offsets in struct bpf_sock_addr.
const (
	sockAddrIP4  = 4
	sockAddrIP6  = 8
	sockAddrPort = 24
)

// cgroupConnect sends connections to a port where nobody is to one where the lab listens.
func cgroupConnect(t *trial, at ebpf.AttachType, local string) error {
	listener, bound, err := listen(t, local)
	if err != nil {
		return err
	}
	asked := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), 99)
	then := asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(native32(netip.MustParseAddr("127.0.0.1")))), asm.StoreMem(asm.R6, sockAddrIP4, asm.R1, asm.Word),
	}
	if at == ebpf.AttachCGroupInet6Connect {
		asked = netip.AddrPortFrom(netip.MustParseAddr("2001:db8::9"), 99)
		then = nil
		for i, b := range [4]uint16{3: 1} {
			then = append(then, asm.Mov.Imm(asm.R1, int32(native16(b))<<16), asm.StoreMem(asm.R6, sockAddrIP6+int16(4*i), asm.R1, asm.Word))
		}
	}
	// The port is in the map: it is another one each time, and the program is not.
	then = append(then,
		asm.LoadMapValue(asm.R1, 0, 0).WithReference("port"), asm.LoadMem(asm.R1, asm.R1, 0, asm.Word),
		asm.StoreMem(asm.R6, sockAddrPort, asm.R1, asm.Word),
	)
	p := counting(ebpf.CGroupSockAddr, at, unlessField(sockAddrPort, asm.Word, int32(native16(99))), then)
	p.Maps["port"] = &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	t.prepare = func(maps map[string]*ebpf.Map) error {
		return maps["port"].Put(uint32(0), uint32(native16(bound.Port())))
	}
	return t.inRoom(inRoom{
		program: p, at: at, control: netlab.Act{Deed: netlab.Connect, To: bound}, ran: 1,
		during: func(t *trial, h *netlab.Helper) error {
			d, err := h.Do(netlab.Act{Deed: netlab.Connect, To: asked})
			if err != nil {
				return &unclearError{err.Error()}
			}
			expect(t, "errno of connect", d.Errno, 0)
			expect(t, "where the connection got to", d.Peer, bound)
			return accepted(t, listener, 2) // the control's and this one
		},
	})
}

// cgroupBind moves a bind to another port.
func cgroupBind(t *trial) error {
	const asked, given = 4444, 5555
	then := asm.Instructions{asm.Mov.Imm(asm.R1, int32(native16(given))), asm.StoreMem(asm.R6, sockAddrPort, asm.R1, asm.Word)}
	at := ebpf.AttachCGroupInet4Bind
	local := netip.MustParseAddr("127.0.0.1")
	bind := netlab.Act{Deed: netlab.Bind, To: netip.AddrPortFrom(local, asked)}
	return t.inRoom(inRoom{
		program: counting(ebpf.CGroupSockAddr, at, unlessField(sockAddrPort, asm.Word, int32(native16(asked))), then), at: at, control: bind, ran: 1,
		during: func(t *trial, h *netlab.Helper) error {
			d, err := h.Do(bind)
			if err != nil {
				return &unclearError{err.Error()}
			}
			expect(t, "errno of bind", d.Errno, 0)
			expect(t, "where the socket is bound", d.Peer, netip.AddrPortFrom(local, given))
			return nil
		},
	})
}

// cgroupDevice denies reading of /dev/zero and nothing else.
func cgroupDevice(t *trial) error {
	// struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor.
	test := append(unlessField(4, asm.Word, 1), unlessField(8, asm.Word, 5)...)
	zero := netlab.Act{Deed: netlab.OpenFile, Path: "/dev/zero"}
	return t.inRoom(inRoom{
		program: counting(ebpf.CGroupDevice, ebpf.AttachCGroupDevice, test, deny()), at: ebpf.AttachCGroupDevice, control: zero, ran: 1,
		during: func(t *trial, h *netlab.Helper) error {
			return cmpError(denied(t, h, zero, unix.EPERM), allowed(t, h, netlab.Act{Deed: netlab.OpenFile, Path: "/dev/null"}))
		},
	})
}

// cgroupSysctl denies reading of any sysctl; the one that is read changes nothing.
func cgroupSysctl(t *trial) error {
	read := netlab.Act{Deed: netlab.ReadFile, Path: "/proc/sys/kernel/ostype"}
	return t.inRoom(inRoom{
		program: counting(ebpf.CGroupSysctl, ebpf.AttachCGroupSysctl, unlessField(0, asm.Word, 0), deny()), at: ebpf.AttachCGroupSysctl, control: read, ran: 1,
		during: func(t *trial, h *netlab.Helper) error { return denied(t, h, read, unix.EPERM) },
	})
}

// cgroupSockopt denies one option.
func cgroupSockopt(t *trial, at ebpf.AttachType) error {
	act := netlab.Act{Deed: netlab.SetOpt, Family: unix.SOL_SOCKET, Kind: unix.SO_PRIORITY, Number: 3}
	other := netlab.Act{Deed: netlab.SetOpt, Family: unix.SOL_SOCKET, Kind: unix.SO_RCVBUF, Number: 4096}
	if at == ebpf.AttachCGroupGetsockopt {
		act.Deed, other.Deed = netlab.GetOpt, netlab.GetOpt
	}
	// struct bpf_sockopt: three pointers, then level and option.
	test := append(unlessField(24, asm.Word, unix.SOL_SOCKET), unlessField(28, asm.Word, unix.SO_PRIORITY)...)
	return t.inRoom(inRoom{
		program: counting(ebpf.CGroupSockopt, at, test, deny()), at: at, control: act, ran: 1,
		during: func(t *trial, h *netlab.Helper) error {
			return cmpError(denied(t, h, act, unix.EPERM), allowed(t, h, other))
		},
	})
}

// cgroupLSM denies any bind by an LSM hook. These hooks take 1 for yes, as cgroup
// programs do.
func cgroupLSM(t *trial) error {
	bind := netlab.Act{Deed: netlab.Bind, To: netip.MustParseAddrPort("127.0.0.1:4445")}
	p := counting(ebpf.LSM, ebpf.AttachLSMCgroup, nil, deny())
	p.Spec.AttachTo = "socket_bind"
	return t.inRoom(inRoom{
		program: p, at: ebpf.AttachLSMCgroup, control: bind, ran: 1,
		during: func(t *trial, h *netlab.Helper) error { return denied(t, h, bind, unix.EPERM) },
	})
}
