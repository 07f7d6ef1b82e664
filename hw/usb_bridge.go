package hw

import "lastgood/internal/snapshot"

// bridge is a chip that makes a USB disk of an NVMe or SATA drive. tunnel is the way
// to the drive's own SMART data behind it, as smartmontools calls it: sntrealtek,
// sntjmicron and sntasmedia carry NVMe commands, sat carries ATA's.
type bridge struct{ ids, chip, tunnel string }

// bridges are known by their ids, where the maker of an enclosure left the chip's own
// (usb.ids, smartmontools' drivedb.h, drivers/usb/storage/unusual_uas.h).
var bridges = []bridge{
	{"0bda:9201", "Realtek RTL9210B in SATA mode", "sat"},
	{"0bda:9210", "Realtek RTL9210", "sntrealtek"},
	{"0bda:9211", "Realtek RTL9211", "sntrealtek"},
	{"2eb9:9211", "Realtek RTL9211", "sntrealtek"},
	{"0bda:9220", "Realtek RTL9220", "sntrealtek"},
	{"152d:0583", "JMicron JMS583", "sntjmicron"},
	{"152d:0586", "JMicron JMS586", "sntjmicron"},
	{"152d:0539", "JMicron JMS539", "sat"},
	{"152d:0567", "JMicron JMS567", "sat"},
	{"152d:0578", "JMicron JMS578", "sat"},
	{"174c:2362", "ASMedia ASM2362", "sntasmedia"},
	{"174c:2364", "ASMedia ASM2364", "sntasmedia"},
	{"174c:1153", "ASMedia ASM1153", "sat"},
	{"174c:5106", "ASMedia ASM1051", "sat"},
	// One id for four chips; the kernel tells them apart by what power they ask for
	// and how many streams they have (drivers/usb/storage/uas-detect.h).
	{"174c:55aa", "ASMedia ASM1051/1053/1153", "sat"},
	{"2109:0711", "VIA VL711", "sat"},
	{"2109:0715", "VIA VL715", "sat"},
	{"2109:0716", "VIA VL716", "sat"},
	{"2537:1066", "Norelsys NS1066", "sat"},
	{"2537:1068", "Norelsys NS1068", "sat"},
}

// hubs are chips of hubs that stand between a disk and its socket in many docks.
var hubs = []bridge{
	{"2109:0817", "VIA VL817 hub", ""},
	{"2109:2817", "VIA VL817 hub", ""},
}

// usbChip sets the chip that a USB device's ids stand for, and gives its name.
func (d *device) usbChip(ids string) string {
	for _, table := range [][]bridge{bridges, hubs} {
		for _, b := range table {
			if b.ids != ids {
				continue
			}
			d.Set("bridge", snapshot.Text(b.chip))
			if b.tunnel != "" {
				d.Set("smart_tunnel", snapshot.Text(b.tunnel))
			}
			return b.chip
		}
	}
	return ""
}
