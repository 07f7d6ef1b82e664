package hw

import (
	"regexp"
	"strings"

	"lastgood/internal/snapshot"
)

const dmKind = "hw.dm"

var dmVolume = snapshot.Kind{
	Name:        dmKind,
	Doc:         "a volume of the device mapper: LVM, encryption, multipath; known by its uuid, or else its name. LVM's hidden layers are left out",
	AliasAttr:   "aliases",
	WeakAliases: []string{"name"},
	Attrs: append([]snapshot.Attr{
		{Name: "name", Doc: "its name under /dev/mapper"},
		{Name: "uuid", Doc: "what its maker knows it by: LVM-…, CRYPT-…, mpath-…"},
		{Name: "maker", Doc: "lvm, crypt, multipath, partition or other, by its uuid"},
		{Name: "snapshot", Doc: "yes for an LVM snapshot, which backups make and remove"},
		{Name: "node", Noise: snapshot.Evidence, Doc: "what the kernel calls it today"},
		{Name: "suspended", Doc: "yes where it keeps all work waiting"},
		{Name: "ro", Doc: "yes where it cannot be written"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "size"},
		{Name: "on", Better: snapshot.HigherBetter, Ref: true, Doc: "the partitions, disks, arrays or volumes that it lies on"},
		{Name: "removable", Doc: "yes where a disk beneath can be taken out, or did not say"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	}, contentAttrs()...),
	Rules: append(append(dmMissing(),
		snapshot.Rule{Code: "dm-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "volume {attr:name} is gone"},
		snapshot.Rule{Code: "dm-suspended", On: snapshot.OnBecomes, Attr: "suspended", From: []string{"no"}, To: []string{"yes"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "volume {attr:name} is suspended: all work on it waits", Hint: "who suspended it is at work, or died: dmsetup info {attr:name}"},
		snapshot.Rule{Code: "dm-read-only", On: snapshot.OnBecomes, Attr: "ro", From: []string{"no"}, To: []string{"yes"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "volume {attr:name} is read-only now"},
		snapshot.Rule{Code: "dm-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "volume {attr:name} has {new}, had {old}"},
		snapshot.Rule{Code: "dm-path-lost", On: snapshot.OnWorse, Attr: "on", Where: map[string]string{"maker": "multipath"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "volume {attr:name} lost the path {lost}"},
	), contentRules("dm", "volume")...),
}

// dmMissing makes the rules for what does not come and go in a day's work.
func dmMissing() []snapshot.Rule {
	var rules []snapshot.Rule
	for _, maker := range []string{"lvm", "crypt", "multipath"} {
		rules = append(rules, snapshot.Rule{Code: "dm-missing", On: snapshot.OnMissing, Where: map[string]string{"maker": maker, "snapshot": "no", "removable": "no"},
			Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "volume {attr:name} is gone", Hint: "is what it lies on there, and its driver? See `dmsetup ls`, `vgchange -ay`"})
	}
	return rules
}

// readDM reads what drivers/md/dm-sysfs.c shows.
func (s *stack) readDM(d *device) bool {
	name, uuid := d.keep("name", "dm", "name"), d.keep("uuid", "dm", "uuid")
	if name == "" && uuid == "" && len(d.Errs) == 0 {
		return false
	}
	d.Set("node", snapshot.Text(d.name))
	d.Set("maker", snapshot.Text(dmMaker(uuid)))
	d.flag("suspended", "dm", "suspended")
	d.flag("ro", "ro")
	d.number("size_bytes", sectorBytes, "size")
	d.Label = name
	if uuid != "" {
		d.alias("uuid", joinWords(uuid))
	} else if why := d.Errs["uuid"]; why != "" {
		d.doubt(textError(why))
	}
	d.place = "name:" + joinWords(name)
	d.Set("snapshot", snapshot.Text("no"))
	for _, below := range s.under(d) {
		if u, err := d.root.Attr(d.ctx, classBlock, below, "dm", "uuid"); err == nil && strings.HasSuffix(u, "-cow") {
			d.Set("snapshot", snapshot.Text("yes"))
		}
	}
	return true
}

type textError string

func (e textError) Error() string { return string(e) }

func dmMaker(uuid string) string {
	switch {
	case strings.HasPrefix(uuid, "LVM-"):
		return "lvm"
	case strings.HasPrefix(uuid, "CRYPT-"):
		return "crypt"
	case strings.HasPrefix(uuid, "mpath-"):
		return "multipath"
	case dmPartition.MatchString(uuid):
		return "partition"
	}
	return "other"
}

var (
	dmPartition = regexp.MustCompile(`^part[0-9]+-`)
	// hiddenLVM is a layer beneath a logical volume: the uuids of group and volume have
	// 32 characters each, and a suffix names the layer (lib/activate/dev_manager.c of LVM2).
	hiddenLVM = regexp.MustCompile(`^LVM-[a-zA-Z0-9]{64}-`)
)

// hiddenDM reports whether a device is one of LVM's hidden layers.
func (d *device) hiddenDM() bool { return d.Kind == dmKind && hiddenLVM.MatchString(d.Text("uuid")) }
