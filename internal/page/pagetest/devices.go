package pagetest

import (
	"fmt"

	"lastgood/internal/snapshot"
)

// sensors are those of the regressed host, as warm as they are at a good boot.
var sensors = []struct {
	id, label, parent string
	celsius           float64
	limit, critical   float64
}{
	{"coretemp.0/Package id 0", "coretemp Package id 0", "hw.machine/machine", 62, 85, 95},
	{"coretemp.1/Package id 1", "coretemp Package id 1", "hw.machine/machine", 59, 85, 95},
	{"pci0000:00/04.0/00.0/nvme/Composite", "nvme Composite", "hw.pci/pci0000:00/04.0/00.0", 49, 69.9, 84.9},
	{"dimm/A1", "DIMM A1", "hw.machine/machine", 41, 80, 0},
	{"inlet", "Inlet", "hw.machine/machine", 24, 38, 42},
	{"pci0000:00/05.0/00.0/i40e/loc1", "i40e", "hw.pci/pci0000:00/05.0/00.0", 55, 0, 105},
	{"acpitz", "acpitz", "hw.machine/machine", 28, 0, 0},
}

// hotter is by how much the newest kernel runs hotter.
var hotter = map[string]float64{"coretemp.0/Package id 0": 27, "coretemp.1/Package id 1": 19}

func temperatures(boot int) []snapshot.Subject {
	var out []snapshot.Subject
	for _, s := range sensors {
		v := warm(s.id, boot*3)
		if boot == 8 {
			v += hotter[s.id]
		}
		attrs := map[string]any{"type": "temperature", "reading": "good", "value_celsius": v, "location": "platform", "alarms": []string{}}
		if s.limit > 0 {
			attrs["limit_celsius"] = s.limit
		}
		if s.critical > 0 {
			attrs["crit_celsius"] = s.critical
		}
		out = append(out, subject("hw.sensor", s.id, s.label, s.parent, attrs))
	}
	return out
}

// devices are the hardware of the regressed host; worse is how the newest kernel sees it.
func devices(worse bool) []snapshot.Subject {
	const raid, xhci, nvme, nic = "pci0000:00/03.0/00.0", "pci0000:00/02.0/00.0", "pci0000:00/04.0/00.0", "pci0000:00/05.0/00.0"
	out := []snapshot.Subject{
		subject("hw.machine", "machine", "Dell PowerEdge R740", "", map[string]any{"bios_version": "2.19.1", "bios_date": "06/01/2023", "board": "06WXJT"}),
		subject("hw.cpu", "cpus", "the CPUs", "", map[string]any{"online": 24, "present": 24, "cores": 24, "sockets": 2, "smt": "on", "governor": "performance"}),
		subject("hw.memory", "node/0", "NUMA node 0", "", map[string]any{"cpus": "0-11", "size_bytes": 101_200_000_000}),
		subject("hw.memory", "node/1", "NUMA node 1", "", map[string]any{"cpus": "12-23", "size_bytes": 101_200_000_000}),
		pci(raid, "RAID controller 1000:0079", "megaraid_sas", 8), pci(nvme, "NVMe 144d:a808", "nvme", 4), pci(xhci, "USB controller 8086:a12f", "xhci_hcd", 1), pci(nic, "network 8086:1572", "i40e", 8),
		subject("hw.xhci", xhci, "xHCI 0000:01:00.0", "hw.pci/"+xhci, map[string]any{"state": "running", "ports": 16}),
		subject("hw.raid", raid, "(megaraid_sas 0000:02:00.0)", "hw.pci/"+raid, map[string]any{"address": "0000:02:00.0", "driver": "megaraid_sas", "host_state": "running"}),
		disk("nvme:Samsung_S5Z7NE0N905140", "Samsung SSD 970", "nvme0n1", "hw.pci/"+nvme, 1_000_204_886_016, "S5Z7NE0N905140"),
	}
	names := []string{"sda", "sdb", "sdc", "sdd"}
	for i := range 4 {
		name := names[i]
		if worse {
			name = names[(i+1)%4]
		}
		out = append(out, disk(fmt.Sprintf("wwid:naa.500000000000090%d", i), "PERC H740P", name, "hw.raid/"+raid, 4_000_787_030_016, fmt.Sprintf("00A1%02d", i)))
	}
	speed, driver := 5_000_000_000, "uas"
	if worse {
		speed, driver = 480_000_000, "usb-storage"
	}
	bridge := subject("hw.usb", xhci+"/usb/2/0bda:9210", "Realtek RTL9210B-CG 0bda:9210 (2-2)", "hw.xhci/"+xhci, map[string]any{"name": "2-2", "driver": driver, "speed_bits": speed, "serial": "012345678904", "function": "storage", "bridge": "RTL9210B"})
	out = append(out, bridge, disk("at:usb2/RTL9210B-CG", "RTL9210B-CG", map[bool]string{true: "sde", false: "sdf"}[worse], "hw.usb/"+bridge.ID, 512_110_190_592, "UD90TB0002"))
	if !worse {
		gone := subject("hw.usb", xhci+"/usb/5/0781:5583", "SanDisk Ultra Fit 0781:5583 (1-5)", "hw.xhci/"+xhci, map[string]any{"name": "1-5", "driver": "usb-storage", "speed_bits": 480_000_000, "serial": "4C530001"})
		out = append(out, gone, disk("at:usb5/Ultra_Fit", "Ultra Fit", "sdg", "hw.usb/"+gone.ID, 30_752_636_928, "4C530001"))
	} else {
		out = append(out, subject("hw.usb", xhci+"/usb/7/046d:c31c", "Logitech Keyboard 046d:c31c (1-7)", "hw.xhci/"+xhci, map[string]any{"name": "1-7", "driver": "usbhid", "speed_bits": 1_500_000}),
			subject("kernel.message", "usb-reset/"+bridge.ID, "USB device was reset", "hw.usb/"+bridge.ID, map[string]any{"pattern": "usb-reset", "severity": "warning", "means": "the device had to be reset", "device": "usb 2-2", "count": 14, "per_hour": 10,
				"first": "usb 2-2: reset high-speed USB device number 4 using xhci_hcd"}))
	}
	for i, name := range []string{"eno1", "eno2"} {
		out = append(out, subject("net.interface", fmt.Sprintf("at:%s.%d", nic, i), name, "hw.pci/"+nic, map[string]any{"name": name, "driver": "i40e", "carrier": "yes", "operstate": "up", "speed_bits": 10_000_000_000, "mac": fmt.Sprintf("3c:fd:fe:00:00:0%d", i), "aliases": []string{fmt.Sprintf("at:%s.%d", nic, i)}}))
	}
	return out
}

func pci(at, label, driver string, lanes int) snapshot.Subject {
	address := "0000:" + at[11:13] + ":00.0"
	return subject("hw.pci", at, label+" ("+address+")", "", map[string]any{"address": address, "driver": driver, "class": "device", "location": at, "link_width": lanes, "link_speed_max_bits": 8_000_000_000})
}

func disk(id, model, name, parent string, size int, serial string) snapshot.Subject {
	return subject("hw.disk", id, model+" ("+name+")", parent, map[string]any{"aliases": []string{id}, "model": model, "name": name, "serial": serial, "size_bytes": size, "state": "running", "ro": "no", "location": parent})
}
