package hw

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nvmeAdminCommand is NVME_IOCTL_ADMIN_CMD, _IOWR('N', 0x41, struct nvme_admin_cmd)
// of include/uapi/linux/nvme_ioctl.h.
const nvmeAdminCommand = 0xc0484e41

// nvmePassthru is struct nvme_passthru_cmd.
type nvmePassthru struct {
	opcode, flags      uint8
	reserved           uint16
	nsid, cdw2, cdw3   uint32
	metadata, addr     uint64
	metadataLen, len   uint32
	cdw10, cdw11       uint32
	cdw12, cdw13       uint32
	cdw14, cdw15       uint32
	timeoutMillis, res uint32
}

const (
	nvmeGetLogPage = 0x02
	nvmeLogHealth  = 0x02
	nvmeAllSpaces  = 0xffffffff
)

// nvmeGetHealth reads the health log page of the whole controller. The timeout is the
// kernel's own (0): when a shorter one passes, the kernel resets the controller, which
// is not for a reader to bring about.
func nvmeGetHealth(fd int) ([]byte, error) {
	page := make([]byte, nvmeLogBytes)
	var pin runtime.Pinner // the command holds an address that only the kernel follows
	defer pin.Unpin()
	pin.Pin(&page[0])
	cmd := &nvmePassthru{
		opcode: nvmeGetLogPage, nsid: nvmeAllSpaces, addr: uint64(uintptr(unsafe.Pointer(&page[0]))), len: nvmeLogBytes,
		cdw10: (nvmeLogBytes/4-1)<<16 | nvmeLogHealth, // how many words, less one
	}
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), nvmeAdminCommand, uintptr(unsafe.Pointer(cmd)))
	switch {
	case errno != 0:
		return nil, errno
	case status != 0:
		return nil, fmt.Errorf("get log page: %w: NVMe status %#x", errCommand, status)
	}
	return page, nil
}

// Commands of ATA's SMART feature set (ACS-4, 7.48): command, feature and the key in
// the registers of the address.
const (
	ataSMART         = 0xb0
	ataIdentify      = 0xec
	smartData        = 0xd0
	smartThresholds  = 0xd1
	smartStatus      = 0xda
	smartKeyMid      = 0x4f
	smartKeyHigh     = 0xc2
	smartFailingMid  = 0xf4
	smartFailingHigh = 0x2c
)

// ataHealth asks an ATA disk, unless it sleeps: its data, its thresholds and its verdict.
func ataHealth(dev commander) (*smartFacts, error) {
	switch p, err := ataPower(dev); {
	case err != nil:
		return nil, err // whether it would wake is not known
	case p == powerStandby:
		return nil, errAsleep
	}
	identity, err := ataRead(dev, ataIdentify, 0)
	if err != nil {
		return nil, fmt.Errorf("identify device: %w", err)
	}
	has, on, err := ataIdentity(identity)
	switch {
	case err != nil:
		return nil, fmt.Errorf("identify device: %w", err)
	case !has:
		return nil, errNoSMART
	case !on:
		return nil, errSMARTOff
	}
	data, err := ataRead(dev, ataSMART, smartData)
	if err != nil {
		return nil, fmt.Errorf("SMART read data: %w", err)
	}
	thresholds, _ := ataRead(dev, ataSMART, smartThresholds) // obsolete since ATA-4: many have none
	f, err := ataAttributes(data, thresholds)
	if err != nil {
		return nil, fmt.Errorf("SMART read data: %w", err)
	}
	failing, err := ataFailing(dev)
	if err == nil {
		f.told = true
		if failing {
			f.warnings = append(f.warnings, "failure is foretold")
		}
	}
	f.told = f.told || len(f.warnings) > 0
	return f, nil
}

// ataRead sends a command that gives one sector.
func ataRead(dev commander, command, feature byte) ([]byte, error) {
	in := make([]byte, ataSector)
	mid, high := byte(0), byte(0)
	if command == ataSMART {
		mid, high = smartKeyMid, smartKeyHigh
	}
	r, err := dev.command(ataCommand(protoPIOIn, readOneBlock, feature, 1, mid, high, command), in)
	if err != nil {
		return nil, err
	}
	if r.status != statusGood || r.got < ataSector {
		return nil, fmt.Errorf("%w: status %#x, %d bytes", errCommand, r.status, r.got)
	}
	return in, nil
}

// ataFailing asks for the disk's own verdict, which it leaves in the address registers.
func ataFailing(dev commander) (bool, error) {
	r, err := dev.command(ataCommand(protoNoData, checkCond, smartStatus, 0, smartKeyMid, smartKeyHigh, ataSMART), nil)
	if err != nil {
		return false, err
	}
	regs, ok := ataReturn(r.sense)
	switch {
	case ok && regs.lbaMid == smartKeyMid && regs.lbaHigh == smartKeyHigh:
		return false, nil
	case ok && regs.lbaMid == smartFailingMid && regs.lbaHigh == smartFailingHigh:
		return true, nil
	}
	return false, fmt.Errorf("SMART return status: %w: neither of its two answers", errCommand)
}

// realtekTunnel is the command by which Realtek's USB bridges pass an NVMe admin
// command on: its length, its opcode and the low byte of its first argument.
const realtekTunnel = 0xe4

// realtekHealth reads the health log page of the NVMe drive behind such a bridge.
func realtekHealth(dev commander) (*smartFacts, error) {
	in := make([]byte, nvmeLogBytes)
	cdb := make([]byte, 16)
	cdb[0], cdb[1], cdb[2], cdb[3], cdb[4] = realtekTunnel, nvmeLogBytes&0xff, nvmeLogBytes>>8, nvmeGetLogPage, nvmeLogHealth
	r, err := dev.command(cdb, in)
	if err != nil {
		return nil, err
	}
	if key, _, _, ok := senseCodes(r.sense); r.status == statusCheck && ok && key == illegalRequest {
		return nil, errNoLogs // one in SATA mode, or with firmware that does not know it
	}
	if r.status != statusGood || r.got < nvmeLogBytes || !slices.ContainsFunc(in, func(b byte) bool { return b != 0 }) {
		return nil, fmt.Errorf("get log page through the bridge: %w: status %#x, %d bytes", errCommand, r.status, r.got)
	}
	return nvmeHealth(in)
}

// scsiPages are the log pages that tell of a disk's health.
var scsiPages = []byte{logWriteErrors, logReadErrors, logVerifyErrors, logTemperature, logSolidState, logBackground, logInformational}

const logBytes = 1024

// scsiHealth asks a SCSI disk for those pages that it says it has, unless it sleeps.
func scsiHealth(dev commander) (*smartFacts, error) {
	if p, err := scsiPower(dev); err == nil && p == powerStandby {
		return nil, errAsleep
	}
	list, err := logSense(dev, logSupported)
	if err != nil {
		return nil, err
	}
	if len(list) < 4 || list[0]&0x3f != logSupported {
		return nil, fmt.Errorf("log sense: %w", errPage)
	}
	list = list[4:min(len(list), 4+int(binary.BigEndian.Uint16(list[2:])))]
	f := newFacts()
	told := false
	for _, page := range scsiPages {
		if !slices.Contains(list, page) {
			continue
		}
		b, err := logSense(dev, page)
		if err != nil {
			return nil, err
		}
		if err := f.scsiPage(page, b); err != nil {
			return nil, fmt.Errorf("log page %#x: %w", page, err)
		}
		told = true
	}
	if !told {
		return nil, errNoLogs
	}
	return f, nil
}

const illegalRequest = 0x05

// logSense reads one log page, as it is now.
func logSense(dev commander, page byte) ([]byte, error) {
	in := make([]byte, logBytes)
	r, err := dev.command([]byte{0x4d, 0, 1<<6 | page, 0, 0, 0, 0, logBytes >> 8, logBytes & 0xff, 0}, in)
	if err != nil {
		return nil, err
	}
	if r.status != statusGood {
		if key, _, _, ok := senseCodes(r.sense); ok && key == illegalRequest && page == logSupported {
			return nil, errNoLogs
		}
		return nil, fmt.Errorf("log sense %#x: %w: status %#x", page, errCommand, r.status)
	}
	return in[:r.got], nil
}
