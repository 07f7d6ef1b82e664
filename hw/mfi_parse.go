package hw

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// What a MegaRAID firmware answers (MFI), in little endian and without padding. The
// structures are megasas_ctrl_info, MR_LD_LIST, MR_PD_LIST, MR_PD_INFO and
// megasas_evt_log_info of drivers/scsi/megaraid/megaraid_sas.h, and mfi_bbu_status of
// FreeBSD's sys/dev/mfi/mfireg.h.
const (
	mfiControllerBytes = 0x800
	mfiMaxVolumes      = 64  // MAX_LOGICAL_DRIVES
	mfiMaxDisks        = 256 // MEGASAS_MAX_PD
	mfiVolumeBytes     = 16
	mfiDiskRefBytes    = 24
	mfiDiskBytes       = 512
	mfiEventBytes      = 20
	mfiBatteryBytes    = 64
	mfiSectorBytes     = 512 // what sizes count in, whatever the block size
)

// shortError is an answer that ends before what must be in it.
type shortError struct {
	what       string
	have, want int
}

func (e *shortError) Error() string {
	return fmt.Sprintf("%s: %d bytes, want %d", e.what, e.have, e.want)
}

func enough(what string, b []byte, want int) error {
	if len(b) < want {
		return &shortError{what, len(b), want}
	}
	return nil
}

// asciiField is a text of a fixed width: up to its first zero byte, blanks folded,
// anything that is no printable ASCII left out.
func asciiField(b []byte) string {
	if i := strings.IndexByte(string(b), 0); i >= 0 {
		b = b[:i]
	}
	keep := func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}
	return strings.Join(strings.Fields(strings.Map(keep, string(b))), " ")
}

// mfiController is what is used of megasas_ctrl_info.
type mfiController struct {
	product, serial, pkg         string
	hasBattery                   bool
	volumes, disks               int // present, as the controller counts them
	memoryMiB                    int
	correctable, uncorrectable   int // errors of its own memory
	failedDisks, predictedFailed int
}

func parseMFIController(b []byte) (mfiController, error) {
	if err := enough("controller information", b, 0x6a0); err != nil {
		return mfiController{}, err
	}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }
	return mfiController{
		product: asciiField(b[0x540:0x590]), serial: asciiField(b[0x590:0x5b0]), pkg: asciiField(b[0x640:0x6a0]),
		hasBattery: b[0x5b0]&1 != 0,
		volumes:    u16(0x5c0), disks: u16(0x5c8), predictedFailed: u16(0x5ca), failedDisks: u16(0x5cc),
		memoryMiB: u16(0x5d0), correctable: u16(0x5d4), uncorrectable: u16(0x5d6),
	}, nil
}

// mfiVolume is one logical drive of MR_LD_LIST.
type mfiVolume struct {
	target int
	state  string
	bytes  uint64
}

// volumeStates are MFI_LD_STATE_*, by number.
var volumeStates = []string{"offline", "partially_degraded", "degraded", "optimal"}

func parseMFIVolumes(b []byte) ([]mfiVolume, error) {
	const head = 8
	if err := enough("list of volumes", b, head); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n < 0 || n > mfiMaxVolumes {
		return nil, fmt.Errorf("list of volumes: it says that there are %d", n)
	}
	if err := enough("list of volumes", b, head+n*mfiVolumeBytes); err != nil {
		return nil, err
	}
	var out []mfiVolume
	for i := range n {
		e := b[head+i*mfiVolumeBytes:]
		v := mfiVolume{target: int(e[0]), state: fmt.Sprintf("unknown_%d", e[4])}
		if int(e[4]) < len(volumeStates) {
			v.state = volumeStates[e[4]]
		}
		sectors := binary.LittleEndian.Uint64(e[8:])
		if sectors > 1<<54 {
			return nil, fmt.Errorf("list of volumes: volume %d has %d sectors", v.target, sectors)
		}
		v.bytes = sectors * mfiSectorBytes
		out = append(out, v)
	}
	return out, nil
}

// mfiDiskRef is one entry of MR_PD_LIST.
type mfiDiskRef struct {
	id, enclosure uint16 // the controller's numbers of today
	slot, kind    uint8  // kind is the SCSI device type
	sas           uint64
}

func parseMFIDisks(b []byte) ([]mfiDiskRef, error) {
	const head = 8
	if err := enough("list of disks", b, head); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n < 0 || n > mfiMaxDisks {
		return nil, fmt.Errorf("list of disks: it says that there are %d", n)
	}
	if err := enough("list of disks", b, head+n*mfiDiskRefBytes); err != nil {
		return nil, err
	}
	var out []mfiDiskRef
	for i := range n {
		e := b[head+i*mfiDiskRefBytes:]
		out = append(out, mfiDiskRef{
			id: binary.LittleEndian.Uint16(e), enclosure: binary.LittleEndian.Uint16(e[2:]), slot: e[5], kind: e[6],
			sas: binary.LittleEndian.Uint64(e[8:]),
		})
	}
	return out, nil
}

// mfiDisk is what is used of MR_PD_INFO.
type mfiDisk struct {
	id                       uint16
	vendor, model, rev       string
	serial                   string
	mediaErrors, otherErrors uint32
	predictions              uint32
	state                    string
	brokenPath               bool
	sas                      uint64
	bytes                    uint64
	enclosure                uint16
	slot                     uint8
}

// diskStates are MR_PD_STATE_*.
var diskStates = map[uint16]string{
	0x00: "unconfigured_good", 0x01: "unconfigured_bad", 0x02: "hot_spare", 0x10: "offline", 0x11: "failed",
	0x14: "rebuild", 0x18: "online", 0x20: "copyback", 0x40: "system",
}

func parseMFIDisk(b []byte) (mfiDisk, error) {
	if err := enough("disk information", b, 260); err != nil {
		return mfiDisk{}, err
	}
	le := binary.LittleEndian
	d := mfiDisk{
		id:          le.Uint16(b),
		mediaErrors: le.Uint32(b[168:]), otherErrors: le.Uint32(b[172:]), predictions: le.Uint32(b[176:]),
		brokenPath: b[193]&0x0f != 0, sas: le.Uint64(b[200:]), enclosure: le.Uint16(b[256:]), slot: b[259],
	}
	d.name(b[4:100], le.Uint16(b[188:])>>12 == mfiSATA)
	state := le.Uint16(b[184:])
	if d.state = diskStates[state]; d.state == "" {
		d.state = fmt.Sprintf("unknown_0x%02x", state)
	}
	if sectors := le.Uint64(b[232:]); sectors < 1<<54 {
		d.bytes = sectors * mfiSectorBytes
	}
	return d, nil
}

// mfiSATA is the interface of a SATA disk in MR_PD_DDF_TYPE.
const mfiSATA = 3

// name reads the INQUIRY data: as SPC lays them out, with the serial number in the
// maker's own bytes. Of a SATA disk that is not translated ("ATA" for a vendor, as SAT
// wants it) they are the texts of IDENTIFY DEVICE: serial number, model, revision.
func (d *mfiDisk) name(inquiry []byte, sata bool) {
	d.vendor = asciiField(inquiry[8:16])
	if sata && d.vendor != "ATA" {
		d.vendor, d.serial, d.model, d.rev = "", asciiField(inquiry[8:28]), asciiField(inquiry[28:68]), asciiField(inquiry[68:76])
		return
	}
	d.model, d.rev, d.serial = asciiField(inquiry[16:32]), asciiField(inquiry[32:36]), asciiField(inquiry[36:56])
}

// mfiEvents are the sequence numbers of the controller's own log.
type mfiEvents struct{ newest, oldest, boot uint32 }

func parseMFIEvents(b []byte) (mfiEvents, error) {
	if err := enough("event log information", b, mfiEventBytes); err != nil {
		return mfiEvents{}, err
	}
	le := binary.LittleEndian
	return mfiEvents{newest: le.Uint32(b), oldest: le.Uint32(b[4:]), boot: le.Uint32(b[16:])}, nil
}

// mfiBattery is the state of the battery or capacitor that keeps the write cache.
type mfiBattery struct {
	state      string // ok, charging, learning, low, hot, failed, missing, absent
	millivolts int
	celsius    int
	raw        uint32
}

// Bits of mfi_bbu_status.fw_status.
const (
	bbuMissing     = 1 << 0
	bbuVoltageLow  = 1 << 1
	bbuHot         = 1 << 2
	bbuCharging    = 1 << 3
	bbuDischarging = 1 << 4
	bbuLearning    = 1<<6 | 1<<5
	bbuBusError    = 1 << 9
	bbuReplace     = 1 << 10
	bbuCapacityLow = 1 << 11
)

func parseMFIBattery(b []byte) (mfiBattery, error) {
	if err := enough("battery status", b, 12); err != nil {
		return mfiBattery{}, err
	}
	le := binary.LittleEndian
	s := mfiBattery{millivolts: int(le.Uint16(b[2:])), celsius: int(le.Uint16(b[6:])), raw: le.Uint32(b[8:])}
	switch {
	case b[0] == 0:
		s.state = "absent"
	case s.raw&bbuMissing != 0:
		s.state = "missing"
	case s.raw&(bbuReplace|bbuCapacityLow|bbuBusError) != 0:
		s.state = "failed"
	case s.raw&bbuHot != 0:
		s.state = "hot"
	case s.raw&bbuLearning != 0:
		s.state = "learning" // it is run down and charged on purpose
	case s.raw&(bbuCharging|bbuDischarging) != 0:
		s.state = "charging"
	case s.raw&bbuVoltageLow != 0:
		s.state = "low"
	default:
		s.state = "ok"
	}
	return s, nil
}
