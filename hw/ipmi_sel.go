package hw

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// selInfo is the answer to Get SEL Info (IPMI 2.0, 31.2).
type selInfo struct {
	entries, free int
	added, erased uint32
	overflow      bool
}

func parseSELInfo(b []byte) (selInfo, error) {
	if err := enough("event log information", b, 14); err != nil {
		return selInfo{}, err
	}
	le := binary.LittleEndian
	return selInfo{entries: int(le.Uint16(b[1:])), free: int(le.Uint16(b[3:])), added: le.Uint32(b[5:]), erased: le.Uint32(b[9:]), overflow: b[13]&0x80 != 0}, nil
}

// selEntry is one record of the event log (IPMI 2.0, 32.1). Its event is only set
// where kind is a system event.
type selEntry struct {
	id                    uint16
	kind                  uint8
	stamp                 uint32 // seconds since 1970, or since the controller started
	generator             uint16
	sensorType, sensor    uint8
	eventType             uint8
	deasserted            bool
	data                  [3]byte
	oem                   []byte // what an entry of the maker's own holds
	severity, description string
}

const (
	selBytes      = 16
	selSystem     = 0x02 // a system event record
	selOEMStamped = 0xc0 // from here on the maker's own with a time stamp, from 0xe0 without
	selOEMBare    = 0xe0
)

// parseSELEntry reads the answer to Get SEL Entry (31.5): the next record's id and
// the record.
func parseSELEntry(b []byte) (e selEntry, next uint16, err error) {
	if err := enough("event log entry", b, 2+selBytes); err != nil {
		return selEntry{}, 0, err
	}
	le := binary.LittleEndian
	next, b = le.Uint16(b), b[2:2+selBytes]
	e = selEntry{id: le.Uint16(b), kind: b[2]}
	switch {
	case e.kind >= selOEMBare:
		e.oem = append(e.oem, b[3:]...)
	case e.kind >= selOEMStamped:
		e.stamp = le.Uint32(b[3:])
		e.oem = append(e.oem, b[7:]...)
	default:
		e.stamp, e.generator = le.Uint32(b[3:]), le.Uint16(b[7:])
		e.sensorType, e.sensor = b[10], b[11]
		e.eventType, e.deasserted = b[12]&0x7f, b[12]&0x80 != 0
		e.data = [3]byte(b[13:16])
	}
	e.severity, e.description = e.judge()
	return e, next, nil
}

// Below this a time stamp counts from the controller's start (IPMI 2.0, 37); all bits
// set stand for none.
const (
	selSinceStart = 0x20000000
	selNoTime     = 0xffffffff
)

// selTime writes a time stamp, which the controller keeps without a time zone.
func selTime(stamp uint32) string {
	switch {
	case stamp == selNoTime || stamp == 0:
		return "no time"
	case stamp < selSinceStart:
		return fmt.Sprintf("%ds after its start", stamp)
	}
	return time.Unix(int64(stamp), 0).UTC().Format("2006-01-02 15:04:05")
}

// String is the entry in a line, the same whenever it is read.
func (e *selEntry) String() string {
	return fmt.Sprintf("#%d %s %s", e.id, selTime(e.stamp), e.description)
}

// selTail is how many of the newest entries are read. A log may hold thousands, and
// each takes some milliseconds to some tens of them.
const selTail = 64

// readSEL asks for the newest entries, the newest first. whole is false where time
// ran out or the controller stopped short, so that what is missing is not known to
// be absent.
func readSEL(ctx context.Context, c ipmiClient, entries int) (tail []selEntry, whole bool, err error) {
	const newest, maxGap = 0xffff, 8
	id, gap := uint16(newest), 0
	for len(tail) < min(selTail, entries) {
		b, err := c.send(ctx, ipmiSELEntry, 0, 0, byte(id), byte(id>>8), 0, 0xff)
		if code := completionCode(err); code == ipmiNotPresent && id == newest {
			return nil, true, nil // empty, whatever the information said
		} else if code == ipmiNotPresent && gap < maxGap && id > 1 {
			gap++ // numbers need not follow one another
			id--
			continue
		} else if code == ipmiNotPresent {
			return tail, false, nil
		}
		if err != nil {
			return tail, false, err
		}
		e, _, err := parseSELEntry(b)
		if err != nil {
			return tail, false, err
		}
		tail = append(tail, e)
		if e.id <= 1 { // 0 is no number of an entry
			return tail, len(tail) == entries, nil
		}
		id, gap = e.id-1, 0
	}
	return tail, true, nil
}

// walkSEL reads from the oldest entry on by the numbers that each gives of the next,
// and keeps the newest. It is for controllers whose numbers have gaps.
func walkSEL(ctx context.Context, c ipmiClient, entries int) (tail []selEntry, err error) {
	const oldest, end = 0x0000, 0xffff
	id := uint16(oldest)
	for range entries + selTail { // entries may be added meanwhile; a ring would have no end
		b, err := c.send(ctx, ipmiSELEntry, 0, 0, byte(id), byte(id>>8), 0, 0xff)
		if err != nil {
			return nil, err
		}
		e, next, err := parseSELEntry(b)
		if err != nil {
			return nil, err
		}
		tail = append([]selEntry{e}, tail[:min(len(tail), selTail-1)]...)
		if next == end {
			return tail, nil
		}
		id = next
	}
	return nil, fmt.Errorf("read event log: it has no end after %d entries", entries+selTail)
}
