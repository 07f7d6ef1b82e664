package hw

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"

	"lastgood/internal/sysfs"
)

const mdMagic = 0xa92b4efc // MD_SB_MAGIC of include/uapi/linux/raid/md_p.h

// md looks for the superblock of an array's member. Behind a partition table the
// end of a disk is the end of its last partition, and what lies there is that one's.
func (c *content) md(m *medium) bool {
	places := []int64{0, 4096}
	if c.Table == "" {
		places = append(places, md10(m.size))
	}
	for _, at := range places {
		if c.md1(m, at) {
			return true
		}
	}
	return c.Table == "" && c.md0(m)
}

// md1: mdp_superblock_1. It says where it lies, in sectors.
func (c *content) md1(m *medium, at int64) bool {
	b := m.at(at, 256)
	if b == nil || binary.LittleEndian.Uint32(b) != mdMagic || binary.LittleEndian.Uint32(b[4:]) != 1 ||
		binary.LittleEndian.Uint64(b[144:]) != uint64(at/sectorBytes) {
		return false
	}
	c.Set, c.Label = uuid(b[16:32]), cstring(b[32:64])
	return c.set("raid", "md", uuid(b[168:184]))
}

// md0: mdp_superblock_t of format 0.90, words in the byte order of the machine that
// made it; the set's UUID is words 5 and 13 to 15. Members have no UUID of their own.
func (c *content) md0(m *medium) bool {
	b := m.at(md090(m.size), 256)
	if b == nil {
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(b) != mdMagic {
		order = binary.BigEndian
	}
	if order.Uint32(b) != mdMagic || order.Uint32(b[4:]) != 0 || order.Uint32(b[8:]) != 90 {
		return false
	}
	var set []byte
	for _, word := range []int{5, 13, 14, 15} {
		set = binary.BigEndian.AppendUint32(set, order.Uint32(b[4*word:]))
	}
	c.Set = uuid(set)
	return c.set("raid", "md", "")
}

// LVM2's on-disk format: a label in one of the first four sectors, then the physical
// volume's header with its areas, then the text of the metadata, which begins with
// the name of the volume group.
const (
	lvmSectors  = 4
	lvmMagic    = " LVM2 x[5A%r0N*>"
	lvmAreas    = 8   // lists of areas are short
	maxNameText = 130 // a volume group's name has 127 characters at most
)

var groupName = regexp.MustCompile(`^([a-zA-Z0-9+_.-]{1,127})\s*\{`)

func (c *content) lvm(m *medium, more *[]sysfs.Span) bool {
	for sector := range int64(lvmSectors) {
		b := m.at(sector*sectorBytes, sectorBytes)
		if b == nil || string(b[:8]) != "LABELONE" || string(b[24:32]) != "LVM2 001" || binary.LittleEndian.Uint64(b[8:]) != uint64(sector) {
			continue
		}
		at := binary.LittleEndian.Uint32(b[20:])
		if at < 32 || at > sectorBytes-40 {
			return c.set("lvm", "LVM2", "")
		}
		pv := b[at:]
		c.Group = lvmGroup(m, metadataArea(pv[40:]), more)
		return c.set("lvm", "LVM2", lvmUUID(pv[:32]))
	}
	return false
}

// metadataArea is where the first metadata area begins: the second of two lists of
// offset and size, each ended by zeros. 0 where there is none.
func metadataArea(b []byte) int64 {
	lists := 0
	for n := 0; n < 2*lvmAreas && len(b) >= 16; n++ {
		off := binary.LittleEndian.Uint64(b)
		empty := off == 0 && binary.LittleEndian.Uint64(b[8:]) == 0
		b = b[16:]
		switch {
		case empty:
			lists++
		case lists == 1 && off < 1<<62:
			return int64(off)
		}
		if lists > 1 {
			break
		}
	}
	return 0
}

// lvmGroup reads the volume group's name where the metadata was read, and else asks
// for the part that it stands in.
func lvmGroup(m *medium, area int64, more *[]sysfs.Span) string {
	if area <= 0 || area > m.size-sectorBytes {
		return ""
	}
	head := m.at(area, sectorBytes)
	if head == nil {
		*more = append(*more, sysfs.Span{Off: area, Len: sectorBytes})
		return ""
	}
	off := binary.LittleEndian.Uint64(head[40:])
	if string(head[4:20]) != lvmMagic || off == 0 || off >= 1<<40 {
		return "" // no metadata here
	}
	at := area + int64(off)
	if at > m.size-sectorBytes {
		return ""
	}
	text := m.at(at, maxNameText)
	if text == nil {
		*more = append(*more, sysfs.Span{Off: at, Len: sectorBytes})
		return ""
	}
	if name := groupName.FindSubmatch(text); name != nil {
		return string(name[1])
	}
	return ""
}

var lvmID = regexp.MustCompile(`^[a-zA-Z0-9]{32}$`)

// lvmUUID writes an identifier of LVM's as its tools do, 6-4-4-4-4-4-6.
func lvmUUID(b []byte) string {
	if !lvmID.Match(b) {
		return ""
	}
	var out bytes.Buffer
	for _, n := range []int{6, 4, 4, 4, 4, 4, 6} {
		if out.Len() > 0 {
			out.WriteByte('-')
		}
		fmt.Fprintf(&out, "%s", b[:n])
		b = b[n:]
	}
	return out.String()
}
