package hw

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// commander sends one SCSI command that transfers nothing, or reads into in.
type commander interface {
	command(cdb, in []byte) (scsiReply, error)
}

// scsiReply is what a device answered.
type scsiReply struct {
	status byte // SAM status: 0 good, 2 check condition
	sense  []byte
	got    int // bytes that were transferred
}

// SG_IO of include/scsi/sg.h.
const (
	sgIO          = 0x2285
	sgFromDevice  = -3
	sgNoTransfer  = -1
	statusGood    = 0x00
	statusCheck   = 0x02
	senseMax      = 64
	driverSense   = 0x08
	commandExpiry = 20 * time.Second
)

// errCommand is wrapped by the error of a command that did not reach its device, or
// the answer to which did not come back.
var errCommand = errors.New("command failed on its way")

// sgHeader is struct sg_io_hdr.
type sgHeader struct {
	interfaceID    int32
	direction      int32
	cdbLen         uint8
	senseLen       uint8
	iovecs         uint16
	dataLen        uint32
	data           unsafe.Pointer
	cdb            unsafe.Pointer
	sense          unsafe.Pointer
	timeout        uint32 // ms
	flags          uint32
	packID         int32
	user           unsafe.Pointer
	status         uint8
	maskedStatus   uint8
	messageStatus  uint8
	senseWritten   uint8
	hostStatus     uint16
	driverStatus   uint16
	residual       int32
	durationMillis uint32
	info           uint32
}

// sgNode is an open block device that takes SCSI commands. What is asked of it is on
// the kernel's own list of harmless commands, or needs CAP_SYS_RAWIO.
type sgNode int

// command waits for the answer. The expiry is long on purpose: when it passes the
// kernel aborts the command and may reset the bus, which no reader of ours may cause
// on a disk that is merely slow. Who asks does not wait that long.
func (fd sgNode) command(cdb, in []byte) (scsiReply, error) {
	r := scsiReply{sense: make([]byte, senseMax)}
	h := &sgHeader{
		interfaceID: 'S', direction: sgNoTransfer, cdbLen: uint8(len(cdb)), senseLen: senseMax,
		cdb: unsafe.Pointer(&cdb[0]), sense: unsafe.Pointer(&r.sense[0]), timeout: uint32(commandExpiry.Milliseconds()),
	}
	var pin runtime.Pinner // the header holds addresses that only the kernel follows
	defer pin.Unpin()
	pin.Pin(&cdb[0])
	pin.Pin(&r.sense[0])
	if len(in) > 0 {
		pin.Pin(&in[0])
		h.direction, h.dataLen, h.data = sgFromDevice, uint32(len(in)), unsafe.Pointer(&in[0])
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), sgIO, uintptr(unsafe.Pointer(h))); errno != 0 {
		return r, errno
	}
	if h.hostStatus != 0 || h.driverStatus&^driverSense != 0 {
		return r, fmt.Errorf("%w: host status %#x, driver status %#x", errCommand, h.hostStatus, h.driverStatus)
	}
	r.status, r.sense, r.got = h.status, r.sense[:min(int(h.senseWritten), senseMax)], len(in)-int(h.residual)
	if r.got < 0 || r.got > len(in) {
		r.got = len(in)
	}
	return r, nil
}

// senseCodes are the sense key and the additional sense code and qualifier, of both
// formats of sense data (SPC-4, 4.5). ok is false where there are none.
func senseCodes(b []byte) (key, asc, ascq byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, 0, false
	}
	switch b[0] & 0x7f {
	case 0x70, 0x71:
		if len(b) >= 14 {
			return b[2] & 0xf, b[12], b[13], true
		}
	case 0x72, 0x73:
		if len(b) >= 4 {
			return b[1] & 0xf, b[2], b[3], true
		}
	}
	return 0, 0, 0, false
}

// ataRegisters are what an ATA device left in its registers.
type ataRegisters struct{ failure, count, lbaMid, lbaHigh, status byte }

// ataReturn takes the registers out of sense data: a descriptor of its own (SAT-4,
// 12.2.2.6), or the fixed format as libata writes it (ata_gen_passthru_sense of
// drivers/ata/libata-scsi.c).
func ataReturn(b []byte) (ataRegisters, bool) {
	if len(b) == 0 {
		return ataRegisters{}, false
	}
	switch b[0] & 0x7f {
	case 0x72, 0x73:
		for at := 8; at+1 < len(b); at += 2 + int(b[at+1]) {
			if d := b[at:]; d[0] == 0x09 && len(d) >= 14 {
				return ataRegisters{failure: d[3], count: d[5], lbaMid: d[9], lbaHigh: d[11], status: d[13]}, true
			}
		}
	case 0x70, 0x71:
		if len(b) >= 14 && b[12] == 0 && b[13] == 0x1d { // ATA pass through information available
			return ataRegisters{failure: b[3], status: b[4], count: b[6], lbaMid: b[10], lbaHigh: b[11]}, true
		}
	}
	return ataRegisters{}, false
}

// Fields of ATA PASS-THROUGH (16) (SAT-4, 12.2.2).
const (
	passThrough16 = 0x85
	protoNoData   = 3 << 1
	protoPIOIn    = 4 << 1
	checkCond     = 0x20 // the registers are wanted
	readOneBlock  = 0x0e // from the device, in blocks, as many as the count says
)

// ataCommand makes the CDB of an ATA command of 28 bits.
func ataCommand(proto, flags, feature, count, lbaMid, lbaHigh, command byte) []byte {
	return []byte{passThrough16, proto, flags, 0, feature, 0, count, 0, 0, 0, lbaMid, 0, lbaHigh, 0, command, 0}
}

const (
	checkPowerMode = 0xe5
	unknownCommand = 0x20 // additional sense code: invalid command operation code
)

var errNoATA = errors.New("the disk, or the bridge before it, says that it passes no ATA commands on")

// power says what a disk answered when asked whether its platters turn.
type power int

const (
	powerUnknown power = iota
	powerAwake
	powerStandby
)

// ataPower asks an ATA disk for its power mode, which wakes none (ACS-4, 7.2).
func ataPower(dev commander) (power, error) {
	r, err := dev.command(ataCommand(protoNoData, checkCond, 0, 0, 0, 0, checkPowerMode), nil)
	if err != nil {
		return powerUnknown, err
	}
	if key, asc, _, ok := senseCodes(r.sense); r.status == statusCheck && ok && key == illegalRequest && asc == unknownCommand {
		return powerUnknown, errNoATA
	}
	regs, ok := ataReturn(r.sense)
	if !ok || regs.status&1 != 0 {
		return powerUnknown, fmt.Errorf("check power mode: %w: status %#x, no registers or an error in them", errCommand, r.status)
	}
	switch regs.count {
	case 0x00, 0x01, 0x40: // standby_z, standby_y, spun down behind a cache that does not wear out
		return powerStandby, nil
	}
	return powerAwake, nil
}

// scsiPower asks a SCSI disk for its sense data, which tells a low power condition
// and wakes none (SPC-4, 5.11; SBC-3, 4.20).
func scsiPower(dev commander) (power, error) {
	in := make([]byte, 18)
	r, err := dev.command([]byte{0x03, 0, 0, 0, byte(len(in)), 0}, in)
	if err != nil {
		return powerUnknown, err
	}
	_, asc, ascq, ok := senseCodes(in[:r.got])
	if r.status != statusGood || !ok {
		return powerUnknown, fmt.Errorf("request sense: %w: status %#x", errCommand, r.status)
	}
	switch {
	case asc == 0x5e && (ascq == 0x02 || ascq == 0x04 || ascq == 0x09 || ascq == 0x0a): // standby, by timer or command
		return powerStandby, nil
	case asc == 0x04 && ascq == 0x02: // stopped, waits to be told to start
		return powerStandby, nil
	}
	return powerAwake, nil
}
