package hw

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const raidKind = "hw.raid"

var _ = catalogue.Add(source.Source{
	Name:  "raid",
	Doc:   "RAID and SAS controllers\n\nReads what is bound to their drivers in /sys/bus/pci/devices, and /sys/class/scsi_host.",
	Kinds: []snapshot.Kind{raid},
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		hosts, err := scsiHosts(ctx, h)
		if err != nil {
			return nil, err
		}
		return scan(ctx, h, "/sys/bus/pci/devices", raidKind, func(d *device) bool { return d.readRAID(hosts) })
	},
})

// hostStates are the states of a SCSI host (drivers/scsi/scsi_sysfs.c, shost_states).
// A host in recovery is still there, and nothing is written meanwhile.
const hostRunning = "running"

var raid = snapshot.Kind{
	Name: raidKind,
	Doc:  "a RAID or SAS controller that a driver is bound to, known by the chain of slots that leads to it",
	Attrs: []snapshot.Attr{
		{Name: "model", Doc: "model, where its ids are known"},
		{Name: "ids", Doc: "vendor and device id of the chip"},
		{Name: "subsystem_ids", Doc: "vendor and device id of the board"},
		{Name: "driver", Doc: "driver that is bound to it"},
		{Name: "driver_version", Doc: "version that the driver gives itself"},
		{Name: "host_state", Doc: "state of its SCSI host: running, recovery, cancel, deleted and what lies between"},
		{Name: "firmware", Doc: "version of its firmware, where the driver tells it in sysfs"},
		{Name: "busy", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "requests under way"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "chain of slots from the root bus"},
		{Name: "address", Noise: snapshot.Evidence, Doc: "PCI address of today"},
		{Name: "host", Noise: snapshot.Evidence, Doc: "name of its SCSI host of today"},
	},
	Rules: []snapshot.Rule{
		{Code: "raid-missing", On: snapshot.OnMissing, Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "the driver of {name} has let go of it, or it is gone"},
		{Code: "raid-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "{name} is new"},
		{Code: "raid-driver-changed", On: snapshot.OnChanged, Attr: "driver", Severity: snapshot.Warning, Class: snapshot.ClassKernel, Message: "{name} is driven by {new}, was by {old}"},
		{Code: "raid-driver-version", On: snapshot.OnChanged, Attr: "driver_version", Unless: []string{"driver"}, Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the driver of {name} is {new}, was {old}"},
		{Code: "raid-firmware-changed", On: snapshot.OnChanged, Attr: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of {name} is {new}, was {old}", Hint: "two things changed at once: what else is found may come from either"},
		{Code: "raid-replaced", On: snapshot.OnChanged, Attr: "ids", Topic: "model", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "another controller is in the slot of {name}: was {old}, is {new}", Hint: "a chip that refuses its firmware shows other ids"},
		{Code: "raid-replaced", On: snapshot.OnChanged, Attr: "subsystem_ids", Topic: "model", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "another controller is in the slot of {name}: was {old}, is {new}"},
	},
}

// raidDrivers are the drivers of controllers whose disks hide behind a firmware.
var raidDrivers = []string{"megaraid_sas", "mpt3sas", "mpi3mr", "hpsa", "smartpqi", "aacraid"}

// raidClasses are the PCI classes that they have: SCSI, RAID, SAS.
var raidClasses = []string{"0x0100", "0x0104", "0x0107"}

// hostFolder is one entry of /sys/class/scsi_host.
type hostFolder struct{ name, dir string }

// scsiHosts lists the SCSI hosts with their folders below /sys/devices.
func scsiHosts(ctx context.Context, h source.Host) ([]hostFolder, error) {
	const folder = "/sys/class/scsi_host"
	names, err := list(ctx, h, folder)
	if err != nil {
		return nil, err
	}
	var hosts []hostFolder
	for _, n := range names {
		dir, err := h.Root.Target(ctx, folder, n)
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, hostFolder{n, dir})
	}
	return hosts, nil
}

// hostBelow is the SCSI host of the controller in dir: the first below it, and not
// below another function of a bridge in between.
func hostBelow(hosts []hostFolder, dir string) *hostFolder {
	i := slices.IndexFunc(hosts, func(h hostFolder) bool {
		rest, below := strings.CutPrefix(h.dir, dir+"/")
		return below && !strings.Contains(rest, ":") // a PCI or USB address
	})
	if i < 0 {
		return nil
	}
	return &hosts[i]
}

func (d *device) readRAID(hosts []hostFolder) bool {
	drv, err := d.root.Link(d.ctx, d.dir, "driver")
	if err != nil && !sysfs.Absent(err) {
		// Any function may be one of these; only the classes that they have count.
		code, err2 := d.root.Attr(d.ctx, d.dir, "class")
		if err2 == nil && !slices.ContainsFunc(raidClasses, func(c string) bool { return strings.HasPrefix(code, c) }) {
			return false
		}
		d.unsure = errors.Join(d.unsure, err)
		return true
	}
	if err != nil || !slices.Contains(raidDrivers, drv) {
		return false
	}
	d.settle(d.dir)
	d.Parent = pciKind + "/" + d.place
	d.Set("driver", snapshot.Text(drv))
	d.Set("address", snapshot.Text(d.name))
	ids := d.idPair("ids", "vendor", "device")
	board := d.idPair("subsystem_ids", "subsystem_vendor", "subsystem_device")
	model := modelOf(ids, board)
	if model != "" {
		d.Set("model", snapshot.Text(model))
	}
	d.driverVersion(drv)
	d.readHost(hosts)
	d.Label = strings.TrimSpace(model + " (" + drv + " " + d.name + ")")
	return true
}

// modelOf names a controller by its ids, "" where they are not in the table.
func modelOf(ids, board string) string {
	chip, ok1 := strings.CutPrefix(ids, "1000:")
	sub, ok2 := strings.CutPrefix(board, "1028:")
	if !ok1 || !ok2 {
		return ""
	}
	return percModels[chip+":"+sub]
}

func (d *device) driverVersion(drv string) {
	v, err := d.root.Attr(d.ctx, "/sys/module", drv, "version")
	switch {
	case err == nil && v != "":
		d.Set("driver_version", snapshot.Text(v))
	case err != nil && !sysfs.Absent(err):
		d.Fail("driver_version", err)
	}
}

// readHost reads by name: a read of fw_crash_buffer beside these makes megaraid_sas
// log an error.
func (d *device) readHost(hosts []hostFolder) {
	host := hostBelow(hosts, d.dir)
	if host == nil {
		return
	}
	at := strings.TrimPrefix(host.dir, d.dir+"/")
	d.Set("host", snapshot.Text(host.name))
	d.keep("host_state", at, "state")
	d.number("busy", 1, at, "host_busy")
	// mpt3sas, smartpqi, hpsa; megaraid_sas tells it through its ioctl alone.
	d.keepFirst("firmware", []string{path.Join(at, "version_fw")}, []string{path.Join(at, "firmware_version")}, []string{path.Join(at, "firmware_revision")})
}
