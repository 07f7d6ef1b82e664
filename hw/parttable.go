package hw

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"lastgood/internal/snapshot"
)

// table reads the partition table, GPT before DOS: a GPT is guarded by a DOS table
// with one partition over all.
func (c *content) table(m *medium) {
	for _, block := range []int64{512, 4096} {
		if c.gpt(m, block) {
			return
		}
	}
	c.dos(m)
}

// maxPartitions bounds the entries that are looked at: 128 is what every tool makes.
const maxPartitions = 256

// gpt reads a GUID partition table (UEFI specification, 5.3) at the second block,
// where its checksum is right.
func (c *content) gpt(m *medium, block int64) bool {
	b := m.at(block, 512)
	if b == nil || string(b[:8]) != "EFI PART" {
		return false
	}
	le := binary.LittleEndian
	size := le.Uint32(b[12:])
	if size < 92 || size > 512 || le.Uint64(b[24:]) != 1 {
		return false
	}
	head := append([]byte{}, b[:size]...)
	copy(head[16:20], []byte{0, 0, 0, 0}) // the checksum is over itself as zeros
	if crc32.ChecksumIEEE(head) != le.Uint32(b[16:]) {
		return false
	}
	c.Table, c.TableUUID, c.Parts = "gpt", guid(b[56:72]), map[int]string{}
	first, count, each := le.Uint64(b[72:]), le.Uint32(b[80:]), le.Uint32(b[84:])
	if first > uint64(m.size/block) || each < 128 || each > 4096 {
		return true
	}
	for n := range min(int64(count), maxPartitions) {
		entry := m.at(int64(first)*block+n*int64(each), 128)
		if entry == nil {
			break
		}
		if uuid(entry[:16]) != "" { // its type
			c.Parts[int(n)+1] = guid(entry[16:32])
		}
	}
	return true
}

// dos reads the signature of a DOS partition table. The kernel takes it for part of
// each partition's PARTUUID, and numbers logical partitions from 5 (block/partitions/msdos.c).
func (c *content) dos(m *medium) {
	b := m.at(0, 512)
	if b == nil || b[510] != 0x55 || b[511] != 0xaa {
		return
	}
	used := false
	for n := range 4 {
		entry := b[446+16*n:]
		if entry[0]&0x7f != 0 { // neither bootable nor not: the boot sector of a file system
			return
		}
		if entry[4] == 0xee { // it guards a GPT that could not be read
			return
		}
		used = used || (entry[4] != 0 && binary.LittleEndian.Uint32(entry[12:]) != 0)
	}
	signature := binary.LittleEndian.Uint32(b[440:])
	if !used {
		return
	}
	c.Table = "dos"
	if signature != 0 {
		c.TableUUID = fmt.Sprintf("%08x", signature)
	}
}

// partUUID is the PARTUUID of partition n, "" where the table does not tell.
func (c *content) partUUID(n int) string {
	if c.Table == "dos" && c.TableUUID != "" && n > 0 {
		return fmt.Sprintf("%s-%02x", c.TableUUID, n)
	}
	return c.Parts[n]
}

// keepTable sets what partition table was found. A disk that was not read, for it sleeps, say,
// is as well as one that was: its partitions say why what they hold is not known.
func (d *device) keepTable() {
	switch {
	case d.held.why != nil:
	case d.held.Table == "":
		d.Set("table", snapshot.Text("none"))
	default:
		d.Set("table", snapshot.Text(d.held.Table))
		d.Set("table_id", snapshot.Text(d.held.TableUUID))
	}
}
