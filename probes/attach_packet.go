package probes

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"lastgood/internal/netlab"
)

// What the program does with a frame is said by the first byte of the datagram in it.
const (
	actPass     = 'p'
	actDrop     = 'd'
	actRedirect = 'r' // out of the other pair
	actRewrite  = 'w' // addresses, port and both checksums
	actReturn   = 't' // out of where it came from; XDP only
)

// Places in the map of counts, 8 bytes each.
const (
	countPackets  = 0
	countBytes    = 1
	countRedirect = 2 // index of the interface to redirect to
	counts        = 3
)

const countsMap = "counts"

// packetLength is that of every frame sent.
const packetLength = netlab.OffPayload + 32

var (
	nobody      = net.HardwareAddr{0x02, 0x6c, 0x67, 0x00, 0x01, 0x01} // so that the stack leaves the frames alone
	sender      = net.HardwareAddr{0x02, 0x6c, 0x67, 0x00, 0x02, 0x01}
	newSender   = net.HardwareAddr{0x02, 0x6c, 0x67, 0x00, 0x02, 0x99}
	packetFrom  = netip.MustParseAddrPort("192.0.2.1:1111")
	packetTo    = netip.MustParseAddrPort("192.0.2.2:2222")
	packetNewTo = netip.MustParseAddrPort("198.51.100.77:33333")
)

// packetOf is the n-th frame, before or after it was rewritten.
func packetOf(act byte, n int, rewritten bool) []byte {
	payload := append([]byte{act, byte(n)}, "lastgood counts what comes thru"[:30]...)
	u := netlab.UDP{SourceMAC: sender, DestMAC: nobody, Source: packetFrom, Dest: packetTo, Payload: payload}
	if rewritten {
		u.SourceMAC, u.Dest = newSender, packetNewTo
	}
	return u.Frame()
}

// flavour is what programs on packets differ in from hook to hook.
type flavour struct {
	typ        ebpf.ProgramType
	at         ebpf.AttachType
	data, end  int16 // offsets of the packet's bounds in the context
	pass, drop int32
	rewrite    func() asm.Instructions // the packet is in R7, the context in R6
}

// Return codes of linux/pkt_cls.h and linux/bpf.h.
const (
	tcOK, tcShot              = 0, 2
	xdpDrop, xdpPass, xdpBack = 1, 2, 3
)

func skbFlavour(at ebpf.AttachType) flavour {
	return flavour{typ: ebpf.SchedCLS, at: at, data: 76, end: 80, pass: tcOK, drop: tcShot, rewrite: rewriteSKB}
}

func xdpFlavour() flavour {
	return flavour{typ: ebpf.XDP, at: ebpf.AttachXDP, data: 0, end: 4, pass: xdpPass, drop: xdpDrop, rewrite: rewriteXDP}
}

// program counts the lab's own frames, to the byte, and does with each what it says.
func (f *flavour) program() Program {
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, f.data, asm.Word),
		asm.LoadMem(asm.R8, asm.R6, f.end, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Add.Imm(asm.R1, packetLength),
		asm.JGT.Reg(asm.R1, asm.R8, "pass"),
		asm.LoadMem(asm.R1, asm.R7, 0, asm.Word),
		asm.JNE.Imm(asm.R1, int32(binary.NativeEndian.Uint32(nobody)), "pass"),
		asm.LoadMem(asm.R1, asm.R7, 4, asm.Half),
		asm.JNE.Imm(asm.R1, int32(binary.NativeEndian.Uint16(nobody[4:])), "pass"),
		asm.LoadMem(asm.R9, asm.R7, netlab.OffPayload, asm.Byte),
		asm.LoadMapValue(asm.R1, 0, 0).WithReference(countsMap),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 8*countPackets),
		asm.Mov.Reg(asm.R2, asm.R8),
		asm.Sub.Reg(asm.R2, asm.R7),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 8*countBytes),
		asm.JEq.Imm(asm.R9, actDrop, "drop"),
		asm.JEq.Imm(asm.R9, actRedirect, "redirect"),
		asm.JEq.Imm(asm.R9, actRewrite, "rewrite"),
	}
	if f.typ == ebpf.XDP {
		insns = append(insns, asm.JEq.Imm(asm.R9, actReturn, "return"))
	}
	insns = append(insns,
		asm.Mov.Imm(asm.R0, f.pass).WithSymbol("pass"), asm.Return(),
		asm.Mov.Imm(asm.R0, f.drop).WithSymbol("drop"), asm.Return(),
		asm.LoadMem(asm.R1, asm.R1, 8*countRedirect, asm.DWord).WithSymbol("redirect"),
		asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return(),
	)
	if f.typ == ebpf.XDP {
		insns = append(insns, asm.Mov.Imm(asm.R0, xdpBack).WithSymbol("return"), asm.Return())
	}
	rewrite := f.rewrite()
	rewrite[0] = rewrite[0].WithSymbol("rewrite")
	insns = append(insns, rewrite...)
	insns = append(insns, asm.Mov.Imm(asm.R0, f.pass), asm.Return())
	return Program{
		Spec: &ebpf.ProgramSpec{Type: f.typ, AttachType: f.at, License: "GPL", Instructions: insns},
		Maps: map[string]*ebpf.MapSpec{countsMap: countsSpec(counts)},
	}
}

// countsSpec is a map of one value with n counters.
func countsSpec(n int) *ebpf.MapSpec {
	return &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(8 * n), MaxEntries: 1}
}

// native32 and native16 are bytes of a packet as a load gives them.
func native32(a netip.Addr) uint32 {
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

func native16(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

// stackNew puts the new sender at -8, the new address at -16 and the new port behind it.
func stackNew() asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.R10, -8, int64(int32(binary.NativeEndian.Uint32(newSender))), asm.Word),
		asm.StoreImm(asm.R10, -4, int64(binary.NativeEndian.Uint16(newSender[4:])), asm.Word),
		asm.StoreImm(asm.R10, -16, int64(int32(native32(packetNewTo.Addr()))), asm.Word),
		asm.StoreImm(asm.R10, -12, int64(native16(packetNewTo.Port())), asm.Word),
	}
}

// rewriteSKB goes by the helpers that classifiers use.
func rewriteSKB() asm.Instructions {
	const pseudo = 0x10 // BPF_F_PSEUDO_HDR
	from, to := int64(native32(packetTo.Addr())), int64(native32(packetNewTo.Addr()))
	replace := func(fn asm.BuiltinFunc, offset int32, from, to int64, flags int32) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, offset),
			asm.LoadImm(asm.R3, from, asm.DWord), asm.LoadImm(asm.R4, to, asm.DWord),
			asm.Mov.Imm(asm.R5, flags), fn.Call(), asm.JNE.Imm(asm.R0, 0, "drop"),
		}
	}
	store := func(offset, stack, size int32) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, offset),
			asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, stack),
			asm.Mov.Imm(asm.R4, size), asm.Mov.Imm(asm.R5, 0), asm.FnSkbStoreBytes.Call(), asm.JNE.Imm(asm.R0, 0, "drop"),
		}
	}
	insns := stackNew()
	insns = append(insns, replace(asm.FnL4CsumReplace, netlab.OffUDPChecksum, from, to, pseudo|4)...)
	insns = append(insns, replace(asm.FnL4CsumReplace, netlab.OffUDPChecksum, int64(native16(packetTo.Port())), int64(native16(packetNewTo.Port())), 2)...)
	insns = append(insns, replace(asm.FnL3CsumReplace, netlab.OffIPChecksum, from, to, 4)...)
	insns = append(insns, store(netlab.OffDestination, -16, 4)...)
	insns = append(insns, store(netlab.OffDestPort, -12, 2)...)
	return append(insns, store(netlab.OffSourceMAC, -8, 6)...)
}

// rewriteXDP writes to the packet itself, with what bpf_csum_diff makes of the change.
func rewriteXDP() asm.Instructions {
	insns := stackNew()
	insns = append(insns,
		asm.StoreImm(asm.R10, -24, int64(int32(native32(packetTo.Addr()))), asm.Word),
		asm.StoreImm(asm.R10, -20, int64(native16(packetTo.Port())), asm.Word),
	)
	insns = append(insns, fixSum(netlab.OffIPChecksum, 4)...)
	insns = append(insns, fixSum(netlab.OffUDPChecksum, 8)...)
	for _, c := range []struct {
		stack, at int16
		size      asm.Size
	}{
		{-16, netlab.OffDestination, asm.Half}, {-14, netlab.OffDestination + 2, asm.Half}, {-12, netlab.OffDestPort, asm.Half},
		{-8, netlab.OffSourceMAC, asm.Half}, {-6, netlab.OffSourceMAC + 2, asm.Half}, {-4, netlab.OffSourceMAC + 4, asm.Half},
	} {
		insns = append(insns, asm.LoadMem(asm.R1, asm.R10, c.stack, c.size), asm.StoreMem(asm.R7, c.at, asm.R1, c.size))
	}
	return insns
}

// fixSum brings the checksum at an offset up to date with a change of size bytes, from
// what lies at -24 of the stack to what lies at -16 (RFC 1624, equation 3).
func fixSum(offset int16, size int32) asm.Instructions {
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -24), asm.Mov.Imm(asm.R2, size),
		asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -16), asm.Mov.Imm(asm.R4, size),
		asm.LoadMem(asm.R5, asm.R7, offset, asm.Half), asm.Xor.Imm(asm.R5, 0xffff),
		asm.FnCsumDiff.Call(),
	}
	for range 2 {
		insns = append(insns, asm.Mov.Reg32(asm.R1, asm.R0), asm.RSh.Imm32(asm.R1, 16), asm.And.Imm32(asm.R0, 0xffff), asm.Add.Reg32(asm.R0, asm.R1))
	}
	return append(insns, asm.Xor.Imm32(asm.R0, 0xffff), asm.StoreMem(asm.R7, offset, asm.R0, asm.Half))
}
