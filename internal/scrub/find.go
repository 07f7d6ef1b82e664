package scrub

import (
	"path"
	"regexp"
	"strings"

	"lastgood/internal/sysfs"
)

// meaning is what the files of some name hold.
var meaning = []struct {
	path  *regexp.Regexp
	class Class
}{
	{regexp.MustCompile(`/(?:[a-z_]+_)?(?:serial|serial_number|serialno|asset_tag|uniq|sn)$`), Serial},
	{regexp.MustCompile(`/(?:wwid|wwn|nguid|eui|port_name|node_name|sas_address|fabric_name|node_guid|sys_image_guid)$`), WWN},
	{regexp.MustCompile(`/(?:cid)$`), Serial},
	{regexp.MustCompile(`^/(?:etc|var/lib/dbus)/machine-id$|^/proc/sys/kernel/random/boot_id$|/hostid$`), UUID},
	{regexp.MustCompile(`^/etc/hostname$|^/proc/sys/kernel/(?:hostname|domainname)$`), Host},
}

// Lines that say what they hold.
var (
	// A USB device's serial number in the kernel's log (announce_device of drivers/usb/core/hub.c),
	// and other drivers' ways of writing one.
	saidSerial = regexp.MustCompile(`(?im)\b(?:serial[ _-]?number|serial[ _-]?no\.?|serial#|s/n)\s*[:=]\s*"?([^\s",;]+(?: [^\s",;:=]+)*)`)
	saidHost   = regexp.MustCompile(`(?im)\b(?:hostname set to|set hostname to|hostname|host_name|nodename)\s*[:=]?\s*<?([A-Za-z0-9][A-Za-z0-9.-]{2,})>?`)
	saidSSID   = regexp.MustCompile(`(?im)\b(?:essid|ssid|wpa-ssid|wireless-essid)\s*[:= ]\s*"?([^"\s,]{3,})`)
	udevSerial = regexp.MustCompile(`(?m)^E:(?:ID_SERIAL_SHORT|ID_USB_SERIAL_SHORT|ID_SCSI_SERIAL|SCSI_IDENT_SERIAL|DM_SERIAL|ID_ATA_SERIAL|UNIQ|HID_UNIQ)=(.+)$`)
	udevWWN    = regexp.MustCompile(`(?m)^E:(?:ID_WWN|ID_WWN_WITH_EXTENSION|ID_SERIAL_SHORT|DM_WWN)=(?:0x)?([0-9a-fA-F]{16,32})$`)
	udevType   = regexp.MustCompile(`(?m)^E:(?:ID_PART_ENTRY_TYPE|ID_PART_GPT_TYPE_UUID)=([0-9a-fA-F-]{36})$`)
	udevShort  = regexp.MustCompile(`(?m)^E:(?:ID_FS_UUID|ID_FS_UUID_ENC|ID_PART_TABLE_UUID)=([0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}|[0-9a-f]{8})$`)
)

// find enters what an entry holds.
func (s *scrubber) find(p string, e *sysfs.Entry) {
	s.shapes(e.Link)
	if e.Dir || e.Link != "" {
		return
	}
	if found, ok := binaries[kindOf(p)]; ok {
		for _, v := range found.serials(e.Data) {
			s.serial(v)
		}
		return
	}
	text := string(e.Data)
	value := strings.Trim(text, " \t\r\n\x00")
	for _, m := range meaning {
		if m.path.MatchString(p) && value != "" {
			s.whole(m.class, value)
		}
	}
	s.shapes(text)
	if strings.HasPrefix(p, "/run/udev/") {
		s.udev(text)
	}
	if freeText(p) {
		s.addresses(text)
		s.said(text)
	}
}

// freeText reports whether people or the kernel write sentences and settings there.
func freeText(p string) bool {
	return strings.HasPrefix(p, "/etc/") || p == "/console.log" || p == "/proc/cmdline" || path.Base(p) == "uevent"
}

// whole enters all that a file holds.
func (s *scrubber) whole(class Class, value string) {
	switch class {
	case Serial:
		s.serial(value)
	case UUID:
		s.uuid(value)
	case Host:
		s.host(value)
	case WWN:
		s.wwid(value)
	}
}

// wwid takes apart what the kernel writes for a disk: a scheme, and what the maker gave.
func (s *scrubber) wwid(value string) {
	scheme, rest, found := strings.Cut(value, ".")
	switch {
	case !found:
		digits := strings.TrimPrefix(strings.NewReplacer(" ", "", "-", "", ":", "").Replace(value), "0x")
		if isHex(digits) {
			s.wwn(digits)
		}
	case scheme == "t10": // maker, model and serial number, with blanks between
		if words := strings.Fields(rest); len(words) > 1 {
			s.serial(words[len(words)-1])
		}
	case scheme == "uuid":
		s.uuid(rest)
	case scheme == "nvme": // shapes knows it
	default:
		s.wwn(rest)
	}
}

func (s *scrubber) said(text string) {
	for _, m := range saidSerial.FindAllStringSubmatch(text, -1) {
		s.serial(m[1])
	}
	for _, m := range saidHost.FindAllStringSubmatch(text, -1) {
		s.host(m[1])
	}
	for _, m := range saidSSID.FindAllStringSubmatch(text, -1) {
		s.add(Network, m[1], asWord)
	}
}

func (s *scrubber) udev(text string) {
	for _, m := range udevType.FindAllStringSubmatch(text, -1) {
		s.keep[strings.ToLower(strings.ReplaceAll(m[1], "-", ""))] = true
	}
	for _, m := range udevWWN.FindAllStringSubmatch(text, -1) {
		s.wwn(m[1])
	}
	for _, m := range udevSerial.FindAllStringSubmatch(text, -1) {
		s.serial(m[1])
	}
	for _, m := range udevShort.FindAllStringSubmatch(text, -1) {
		s.add(UUID, m[1], asWord)
	}
}

// commonHosts are names that say nothing of a host, and words of the kernel's own.
var commonHosts = map[string]bool{"localhost": true, "none": true, "(none)": true, "localdomain": true, "local": true, "lan": true, "linux": true, "debian": true, "ubuntu": true,
	"fedora": true, "com": true, "net": true, "org": true, "for": true, "and": true, "the": true, "not": true}

// host enters a host's name and the names of its domain.
func (s *scrubber) host(name string) {
	for _, label := range strings.Split(name, ".") {
		if commonHosts[strings.ToLower(label)] || len(label) < 3 {
			continue
		}
		where := asWord
		if kernelWords[strings.ToLower(label)] {
			where = inContext
		}
		s.add(Host, label, where)
	}
}

// kernelWords are names of hosts that stand in the kernel's own names too: they are
// replaced only where they are said to be a host's.
var kernelWords = map[string]bool{"pci": true, "usb": true, "block": true, "disk": true, "root": true, "host": true, "node": true, "server": true, "virtual": true,
	"storage": true, "net": true, "system": true, "device": true, "machine": true, "kernel": true, "class": true, "bus": true, "sys": true, "proc": true, "devices": true, "bridge": true, "raid": true, "nvme": true}
