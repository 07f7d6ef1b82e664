package hw

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const edacKind = "hw.edac"

var _ = catalogue.Add(source.Source{
	Name:  "edac",
	Doc:   "errors of the memory that were corrected, or not\n\nReads the memory controllers in /sys/devices/system/edac/mc.",
	Kinds: []snapshot.Kind{edac},
	Read:  readEDAC,
})

var edac = snapshot.Kind{
	Name: edacKind,
	Doc:  "a memory controller that tells of errors (EDAC); its counters begin at boot, or when the driver was loaded",
	Attrs: []snapshot.Attr{
		{Name: "controller", Doc: "what the driver calls the controller"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Doc: "memory that it has"},
		{Name: "corrected", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "errors that were corrected since boot"},
		{Name: "uncorrected", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "errors that could not be corrected since boot"},
		{Name: "where", Noise: snapshot.Evidence, Doc: "modules that have had errors, with corrected and uncorrected ones"},
	},
	Rules: []snapshot.Rule{
		{Code: "edac-uncorrected", On: snapshot.OnWorse, Attr: "uncorrected", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "memory controller {name} has had {new} errors since boot that could not be corrected, had {old}", Hint: "data may be wrong: find the module in the evidence and replace it"},
		{Code: "edac-corrected", On: snapshot.OnGrowth, Attr: "corrected", Ratio: 10, Floor: 10, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "memory controller {name} has corrected {new} errors since boot, had {old}"},
		{Code: "edac-blind", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "nothing tells of errors of memory controller {name} now", Hint: "its EDAC driver is not loaded, or this kernel does not have it"},
	},
}

var (
	edacController = regexp.MustCompile(`^mc[0-9]+$`)
	edacModule     = regexp.MustCompile(`^(dimm|rank)[0-9]+$`)
)

// readEDAC reads the controllers. They are numbered by node, not by loading.
func readEDAC(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	const folder = "/sys/devices/system/edac/mc"
	names, err := list(ctx, h, folder)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	for _, name := range names {
		if !edacController.MatchString(name) {
			continue
		}
		d := &device{ctx: ctx, root: h.Root.OneDevice(), name: name, dir: path.Join(folder, name)}
		d.Kind, d.ID, d.Label, d.Outcome = edacKind, name, name, snapshot.Measured
		if c := d.keep("controller", "mc_name"); c != "" {
			d.Label = name + " (" + c + ")"
		}
		d.number("size_bytes", 1<<20, "size_mb")
		d.number("corrected", 1, "ce_count")
		d.number("uncorrected", 1, "ue_count")
		d.erring()
		if !d.vanished() {
			out = append(out, d.Subject)
		}
	}
	return out, nil
}

// erring lists the modules that have had errors.
func (d *device) erring() {
	files, err := d.root.List(d.ctx, d.dir)
	if err != nil {
		d.Fail("where", err)
		return
	}
	var where []string
	for _, f := range files {
		if !edacModule.MatchString(f) {
			continue
		}
		ce, err1 := d.root.Int(d.ctx, d.dir, f, "dimm_ce_count")
		ue, err2 := d.root.Int(d.ctx, d.dir, f, "dimm_ue_count")
		for _, err := range []error{err1, err2} {
			if err != nil && !sysfs.Absent(err) {
				d.Fail("where", err)
				return
			}
		}
		if ce == 0 && ue == 0 {
			continue
		}
		label := strings.TrimSpace(d.attr("where", f, "dimm_label"))
		where = append(where, fmt.Sprintf("%s: %d corrected, %d not", strings.TrimSpace(f+" "+label), ce, ue))
	}
	if _, failed := d.Errs["where"]; !failed && len(where) > 0 {
		d.Set("where", snapshot.List(where...))
	}
}
