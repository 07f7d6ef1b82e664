package hw

import (
	"context"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const machineKind = "hw.machine"

var _ = catalogue.Add(source.Source{
	Name:  "dmi",
	Doc:   "the machine and its firmware\n\nReads /sys/class/dmi/id; without serial numbers, which say who and not what.",
	Kinds: []snapshot.Kind{machine},
	Read:  readDMI,
})

var machine = snapshot.Kind{
	Name: machineKind,
	Doc:  "the machine, as its firmware describes it (SMBIOS)",
	Attrs: []snapshot.Attr{
		{Name: "vendor", Doc: "maker of the machine"},
		{Name: "product", Doc: "model of the machine"},
		{Name: "product_version", Doc: "version of the model"},
		{Name: "bios_vendor", Doc: "maker of the firmware"},
		{Name: "bios_version", Doc: "version of the firmware"},
		{Name: "bios_date", Doc: "date of the firmware"},
		{Name: "ec_firmware", Doc: "release of the embedded controller's firmware"},
		{Name: "board_vendor", Doc: "maker of the mainboard"},
		{Name: "board", Doc: "model of the mainboard"},
		{Name: "board_version", Doc: "version of the mainboard"},
		{Name: "chassis_type", Doc: "kind of case, a number of SMBIOS table 17"},
	},
	Rules: []snapshot.Rule{
		{Code: "firmware-changed", On: snapshot.OnChanged, Attr: "bios_version", Topic: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of the machine is {new}, was {old}", Hint: "two things changed at once: what else is found may come from either"},
		{Code: "firmware-changed", On: snapshot.OnChanged, Attr: "bios_date", Topic: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of the machine is of {new}, was of {old}"},
		{Code: "firmware-changed", On: snapshot.OnChanged, Attr: "ec_firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of the embedded controller is {new}, was {old}"},
		{Code: "machine-changed", On: snapshot.OnChanged, Attr: "vendor", Topic: "machine", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "this is another machine: the maker is {new}, was {old}"},
		{Code: "machine-changed", On: snapshot.OnChanged, Attr: "product", Topic: "machine", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "this is another machine: the model is {new}, was {old}"},
		{Code: "board-changed", On: snapshot.OnChanged, Attr: "board", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the mainboard is {new}, was {old}"},
	},
}

// dmiFiles are the files of the attributes.
var dmiFiles = []struct{ attr, file string }{
	{"vendor", "sys_vendor"}, {"product", "product_name"}, {"product_version", "product_version"}, {"bios_vendor", "bios_vendor"},
	{"bios_version", "bios_version"}, {"bios_date", "bios_date"}, {"ec_firmware", "ec_firmware_release"}, {"board_vendor", "board_vendor"},
	{"board", "board_name"}, {"board_version", "board_version"}, {"chassis_type", "chassis_type"},
}

func readDMI(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	const folder = "/sys/class/dmi/id"
	files, err := list(ctx, h, folder)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, nil // no SMBIOS: many Arm and RISC-V boards, s390
	}
	d := &device{ctx: ctx, root: h.Root.OneDevice(), dir: folder}
	d.Kind, d.ID, d.Outcome = machineKind, "machine", snapshot.Measured
	for _, f := range dmiFiles {
		d.keep(f.attr, f.file)
	}
	d.Label = strings.TrimSpace(d.Text("vendor") + " " + d.Text("product"))
	return []snapshot.Subject{d.Subject}, nil
}
