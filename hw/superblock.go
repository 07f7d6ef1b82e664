package hw

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"lastgood/internal/sysfs"
)

// content is what a block device says it holds, by the superblocks on it.
type content struct {
	Type  string // ext4, xfs, LVM2, crypto_LUKS, md, swap …; "" where nothing known was found
	Holds string // filesystem, lvm, encrypted, raid, swap or unknown
	// UUID is the file system's, the physical volume's, the container's; for a member
	// of an array or of a btrfs of several disks it is Set that they share, and UUID
	// the member's own.
	UUID, Set string
	Label     string
	Group     string         // LVM volume group
	Table     string         // gpt, dos or ""
	TableUUID string         // disk GUID, or the signature as eight hexadecimal digits
	Parts     map[int]string // PARTUUID by number, as far as the table was read
}

// page is a part of a block device that was read.
type page struct {
	off  int64
	data []byte
}

// medium is what was read of a block device of so many bytes.
type medium struct {
	size  int64
	pages []page
}

// at gives n bytes from off, nil where they were not read as one.
func (m *medium) at(off int64, n int) []byte {
	for _, p := range m.pages {
		if off >= p.off && off-p.off <= int64(len(p.data)) && int64(n) <= int64(len(p.data))-(off-p.off) {
			return p.data[off-p.off:][:n]
		}
	}
	return nil
}

// Where superblocks lie. The first kilobytes hold a partition table with 128
// entries even where a block has 4,096 bytes.
const (
	headBytes  = 24 << 10
	btrfsAt    = 64 << 10 // BTRFS_SUPER_INFO_OFFSET of include/uapi/linux/btrfs_tree.h
	blockBytes = 4096
	md090Align = 64 << 10 // MD_RESERVED_BYTES of include/uapi/linux/raid/md_p.h
)

// superblockSpans are the parts to read of a device of so many bytes.
func superblockSpans(size int64) []sysfs.Span {
	spans := []sysfs.Span{{Off: 0, Len: headBytes}, {Off: btrfsAt - 512, Len: 512 + blockBytes}}
	if old := md090(size); old > 0 {
		spans = append(spans, sysfs.Span{Off: old, Len: blockBytes})
	}
	if end := md10(size); end > 0 {
		spans = append(spans, sysfs.Span{Off: end, Len: blockBytes})
	}
	return spans
}

// md090 and md10 are where the superblocks of format 0.90 and 1.0 lie, at the
// device's end (MD_NEW_SIZE_SECTORS of include/uapi/linux/raid/md_p.h,
// super_1_load of drivers/md/md.c).
func md090(size int64) int64 { return size&^(md090Align-1) - md090Align }
func md10(size int64) int64  { return (size - 8<<10) &^ (blockBytes - 1) }

// identifySuperblock tells what a device holds, and which parts more it would have
// to read to tell the rest. Members of arrays come first: a mirror of format 0.90
// or 1.0 looks like its file system from the front.
func identifySuperblock(m *medium) (content, []sysfs.Span) {
	var c content
	var more []sysfs.Span
	c.table(m)
	switch {
	case c.md(m), c.luks(m):
	case c.lvm(m, &more):
	case c.xfs(m), c.btrfs(m), c.ext(m), c.swap(m):
	case c.Table == "" && c.vfat(m):
	default:
		c.Holds = "unknown"
	}
	c.Label = printable(c.Label)
	return c, more
}

func (c *content) set(holds, typ, uuid string) bool {
	c.Holds, c.Type, c.UUID = holds, typ, uuid
	return true
}

// luks: the headers of version 1 and 2 (LUKS on-disk format specifications).
func (c *content) luks(m *medium) bool {
	b := m.at(0, 512)
	if b == nil || string(b[:6]) != "LUKS\xba\xbe" {
		return false
	}
	if binary.BigEndian.Uint16(b[6:]) == 2 {
		c.Label = cstring(b[24:72])
	}
	return c.set("encrypted", "crypto_LUKS", textUUID(cstring(b[168:208])))
}

// xfs: xfs_dsb of fs/xfs/libxfs/xfs_format.h.
func (c *content) xfs(m *medium) bool {
	b := m.at(0, 512)
	if b == nil || string(b[:4]) != "XFSB" {
		return false
	}
	c.Label = cstring(b[108:120])
	return c.set("filesystem", "xfs", uuid(b[32:48]))
}

// btrfs: btrfs_super_block and btrfs_dev_item of include/uapi/linux/btrfs_tree.h.
func (c *content) btrfs(m *medium) bool {
	b := m.at(btrfsAt, blockBytes)
	if b == nil || string(b[0x40:0x48]) != "_BHRfS_M" {
		return false
	}
	c.Label = cstring(b[0x12b:0x22b])
	c.Set = uuid(b[0x20:0x30])
	return c.set("filesystem", "btrfs", uuid(b[0x10b:0x11b]))
}

// Features of fs/ext4/ext4.h: those that ext2 and ext3 know, and the journal.
const (
	extJournal     = 0x4 // compat
	extJournalDev  = 0x8 // incompat
	ext3Incompat   = 0x2 | 0x4 | 0x10
	ext3ReadOnlyOK = 0x1 | 0x2 | 0x4
)

// ext: ext4_super_block of fs/ext4/ext4.h.
func (c *content) ext(m *medium) bool {
	b := m.at(1024, 1024)
	if b == nil || binary.LittleEndian.Uint16(b[56:]) != 0xef53 {
		return false
	}
	compat, incompat, ro := binary.LittleEndian.Uint32(b[92:]), binary.LittleEndian.Uint32(b[96:]), binary.LittleEndian.Uint32(b[100:])
	typ := "ext2"
	switch {
	case incompat&extJournalDev != 0:
		typ = "jbd"
	case incompat&^ext3Incompat != 0 || ro&^ext3ReadOnlyOK != 0:
		typ = "ext4"
	case compat&extJournal != 0:
		typ = "ext3"
	}
	c.Label = cstring(b[120:136])
	return c.set("filesystem", typ, uuid(b[104:120]))
}

// swap: the signature stands at the end of the first page, of whatever size; one
// that hibernation replaced (kernel/power/swap.c, userland's own) is swap as well.
func (c *content) swap(m *medium) bool {
	for _, pageSize := range []int64{4 << 10, 8 << 10, 16 << 10, 64 << 10} {
		sig, head := m.at(pageSize-10, 10), m.at(1024, 44)
		if sig == nil || head == nil {
			continue
		}
		for _, s := range []string{"SWAPSPACE2", "S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"} {
			if strings.HasPrefix(string(sig), s) {
				c.Label = cstring(head[28:44])
				return c.set("swap", "swap", uuid(head[12:28]))
			}
		}
	}
	return false
}

// vfat: fat_boot_sector of include/uapi/linux/msdos_fs.h. The serial number stands
// for a UUID.
func (c *content) vfat(m *medium) bool {
	b := m.at(0, 512)
	if b == nil || b[510] != 0x55 || b[511] != 0xaa {
		return false
	}
	at := 0
	switch {
	case string(b[82:87]) == "FAT32":
		at = 67
	case string(b[54:59]) == "FAT16", string(b[54:59]) == "FAT12":
		at = 39
	default:
		return false
	}
	n := binary.LittleEndian.Uint32(b[at:])
	if label := strings.TrimSpace(string(b[at+4 : at+15])); label != "NO NAME" {
		c.Label = label
	}
	return c.set("filesystem", "vfat", fmt.Sprintf("%04X-%04X", n>>16, n&0xffff))
}

// uuid writes 16 bytes the usual way, "" where none is set.
func uuid(b []byte) string {
	if strings.Trim(string(b), "\x00") == "" {
		return ""
	}
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// textUUID takes a UUID that stands as text, "" where it is none.
func textUUID(s string) string {
	b, err := hex.DecodeString(strings.NewReplacer("-", "", ":", "").Replace(strings.ToLower(s)))
	if err != nil || len(b) != 16 {
		return ""
	}
	return uuid(b)
}

// guid writes a GUID of the EFI, the first three fields of which are little-endian.
func guid(b []byte) string {
	return uuid([]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]})
}

// cstring is the text before the first zero byte.
func cstring(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// printable makes a label of whatever stands where a label should.
func printable(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
}
