package hw

import (
	"encoding/binary"
	"errors"

	"lastgood/internal/snapshot"
)

// smartFacts are what a disk says of its own health. A number that it does not tell
// is absent.
type smartFacts struct {
	warnings []string // what it warns of; told is whether it said anything of it
	told     bool
	numbers  map[string]int64
}

func newFacts() *smartFacts { return &smartFacts{numbers: map[string]int64{}} }

// errPage is wrapped by the error of a page that is none of its kind.
var errPage = errors.New("no such page, or cut short")

// nvmeWarnings are the bits of Critical Warning (NVM Express base specification,
// SMART / Health Information log page).
var nvmeWarnings = []string{"spare is low", "temperature", "reliability is degraded", "read-only", "volatile memory backup failed", "persistent memory region is unreliable"}

const (
	nvmeLogBytes  = 512
	kelvinCelsius = 273
)

// nvmeHealth reads log page 02h.
func nvmeHealth(b []byte) (*smartFacts, error) {
	if len(b) < nvmeLogBytes {
		return nil, errPage
	}
	f := newFacts()
	f.told = true
	for bit, name := range nvmeWarnings {
		if b[0]&(1<<bit) != 0 {
			f.warnings = append(f.warnings, name)
		}
	}
	if k := int64(binary.LittleEndian.Uint16(b[1:])); k != 0 { // 0: it has no sensor
		f.numbers["temperature_celsius"] = k - kelvinCelsius
	}
	f.numbers["available_spare"] = int64(b[3])
	f.numbers["percentage_used"] = int64(b[5])
	for name, at := range map[string]int{"power_on_hours": 128, "unsafe_shutdowns": 144, "media_errors": 160} {
		f.numbers[name] = wide(b[at:])
	}
	return f, nil
}

// wide reads a little-endian number of 128 bits, of which no drive fills the half.
func wide(b []byte) int64 {
	low, high := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if high != 0 || low > 1<<62 {
		return 1 << 62
	}
	return int64(low)
}

// ATA SMART attributes that makers agree on, by number.
const (
	ataReallocated   = 5
	ataPowerOn       = 9
	ataReported      = 187
	ataAirflow       = 190
	ataTemperature   = 194
	ataPending       = 197
	ataUncorrectable = 198
	ataCRC           = 199
)

const ataSector = 512

// ataAttributes reads the answers to SMART READ DATA and SMART READ THRESHOLDS: up
// to thirty entries of twelve bytes, from byte 2 (SFF-8035i, ATA-3). An attribute that
// is at or below its threshold, and says that it foretells failure, is a warning.
func ataAttributes(data, thresholds []byte) (*smartFacts, error) {
	if len(data) < ataSector || !sumsUp(data) {
		return nil, errPage
	}
	f := newFacts()
	limits := map[byte]byte{}
	if len(thresholds) >= ataSector && sumsUp(thresholds) {
		for at := 2; at < 362; at += 12 {
			limits[thresholds[at]] = thresholds[at+1]
		}
	}
	for at := 2; at < 362; at += 12 {
		e := data[at : at+12]
		if e[0] == 0 {
			continue
		}
		f.ataAttribute(e[0], e[5:11])
		if limit := limits[e[0]]; limit > 0 && limit < 254 && e[3] <= limit && e[1]&1 != 0 { // prefailure
			f.warnings = append(f.warnings, "an attribute is below its threshold")
		}
	}
	return f, nil
}

// ataAttribute takes the raw value of one attribute. Of the six bytes makers put
// other things into the upper ones.
func (f *smartFacts) ataAttribute(id byte, raw []byte) {
	value := int64(binary.LittleEndian.Uint32(raw))
	switch id {
	case ataReallocated:
		f.numbers["reallocated"] = value
	case ataPowerOn:
		f.numbers["power_on_hours"] = value & 0xffffff
	case ataReported:
		f.numbers["media_errors"] = value
	case ataPending:
		f.numbers["pending"] = value
	case ataUncorrectable:
		f.numbers["uncorrectable"] = value
	case ataCRC:
		f.numbers["crc_errors"] = value
	case ataTemperature:
		f.numbers["temperature_celsius"] = int64(int8(raw[0]))
	case ataAirflow:
		if _, known := f.numbers["temperature_celsius"]; !known {
			f.numbers["temperature_celsius"] = int64(int8(raw[0]))
		}
	}
}

// sumsUp checks a sector's checksum: all bytes add up to zero.
func sumsUp(b []byte) bool {
	var sum byte
	for _, x := range b[:ataSector] {
		sum += x
	}
	return sum == 0
}

// ataIdentity says of IDENTIFY DEVICE data whether the disk has SMART and whether it
// is on (ACS-4, words 82, 83 and 85).
func ataIdentity(b []byte) (has, on bool, err error) {
	if len(b) < ataSector {
		return false, false, errPage
	}
	word := func(n int) uint16 { return binary.LittleEndian.Uint16(b[2*n:]) }
	if word(83)>>14 != 1 { // the words are not valid
		return false, false, errPage
	}
	return word(82)&1 != 0, word(85)&1 != 0, nil
}

// logParameters calls f for each parameter of a SCSI log page (SPC-4, 7.3).
func logParameters(b []byte, page byte, f func(code uint16, value []byte)) error {
	if len(b) < 4 || b[0]&0x3f != page {
		return errPage
	}
	b = b[4:min(len(b), 4+int(binary.BigEndian.Uint16(b[2:])))]
	for len(b) >= 4 {
		n := int(b[3])
		if 4+n > len(b) {
			return nil // the answer was cut at our bound
		}
		f(binary.BigEndian.Uint16(b), b[4:4+n])
		b = b[4+n:]
	}
	return nil
}

// SCSI log pages (SPC-4, SBC-3).
const (
	logSupported     = 0x00
	logWriteErrors   = 0x02
	logReadErrors    = 0x03
	logVerifyErrors  = 0x05
	logTemperature   = 0x0d
	logSolidState    = 0x11
	logBackground    = 0x15
	logInformational = 0x2f
)

// failureForetold is the additional sense code of a disk that expects to fail.
const failureForetold = 0x5d

// scsiPage enters what one log page says. An error count that a disk does not fill in
// is all ones or absent.
func (f *smartFacts) scsiPage(page byte, b []byte) error {
	return logParameters(b, page, func(code uint16, v []byte) {
		switch page {
		case logWriteErrors, logReadErrors, logVerifyErrors:
			if n, ok := bigEndian(v); code == 6 && ok { // total uncorrected errors
				f.numbers["uncorrectable"] += n
			}
		case logTemperature:
			if code == 0 && len(v) >= 2 && v[1] != 0xff {
				f.numbers["temperature_celsius"] = int64(v[1])
			}
		case logSolidState:
			if code == 1 && len(v) >= 4 {
				f.numbers["percentage_used"] = int64(v[3])
			}
		case logBackground:
			if code == 0 && len(v) >= 4 {
				f.numbers["power_on_hours"] = int64(binary.BigEndian.Uint32(v)) / 60 // told in minutes
			}
		case logInformational:
			if code == 0 && len(v) >= 1 {
				f.told = true
				if v[0] == failureForetold {
					f.warnings = append(f.warnings, "failure is foretold")
				}
			}
		}
	})
}

// bigEndian reads a counter of up to eight bytes; all ones is none.
func bigEndian(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	n, ones := uint64(0), true
	for _, x := range b {
		n, ones = n<<8|uint64(x), ones && x == 0xff
	}
	return int64(min(n, 1<<60)), !ones // a few of them are added up
}

// keep sets what the disk told.
func (f *smartFacts) keep(s *snapshot.Subject) {
	if f.told {
		s.Set("critical_warning", snapshot.List(f.warnings...))
	}
	for name, n := range f.numbers {
		if name == "temperature_celsius" {
			s.Set(name, snapshot.Float(float64(n)))
		} else {
			s.Set(name, snapshot.Int(n))
		}
	}
}
