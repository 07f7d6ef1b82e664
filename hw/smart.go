package hw

import (
	"context"
	"errors"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const smartKind = "hw.smart"

var _ = catalogue.Add(source.Source{
	Name: "smart",
	Doc: `what disks say of their own health

Asks each disk through the kernel, and only reads: the health log page of NVMe, SMART
READ DATA of ATA, log pages of SCSI. A disk that sleeps is not asked, and one behind a
USB bridge only on request, for bridges exist that hang on it. A disk that gives no
answer within two seconds is left alone. A recorded host has no disks to ask.`,
	Kinds: []snapshot.Kind{smart},
	Tier:  source.Native,
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		if !h.Root.Live() {
			return nil, source.ErrSkipped
		}
		return readSMART(ctx, h, liveAsker{h.Root})
	},
})

var smart = snapshot.Kind{
	Name:        smartKind,
	Doc:         "the health of a disk, by its own word; known as the disk is",
	AliasAttr:   "aliases",
	WeakAliases: []string{"at", "table", "fs"},
	Attrs: []snapshot.Attr{
		{Name: "critical_warning", Better: snapshot.LowerBetter, Doc: "what the disk warns of: spare is low, temperature, reliability is degraded, read-only, failure is foretold … (an empty set: nothing)"},
		{Name: "available_spare", Unit: snapshot.Percent, Better: snapshot.HigherBetter, Doc: "spare blocks that are left"},
		{Name: "percentage_used", Unit: snapshot.Percent, Noise: snapshot.Sampled, Better: snapshot.LowerBetter, Doc: "how much of its foreseen life is used up; may exceed 100"},
		{Name: "media_errors", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "data that could not be read back (NVMe), uncorrectable errors that were reported (ATA attribute 187)"},
		{Name: "reallocated", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "sectors that spare ones took the place of (ATA attribute 5)"},
		{Name: "pending", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "sectors that wait to be written before they can be read (ATA attribute 197)"},
		{Name: "uncorrectable", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "sectors that no test could read (ATA attribute 198), errors that were not corrected (SCSI)"},
		{Name: "crc_errors", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "transfers that the cable spoilt (ATA attribute 199)"},
		{Name: "unsafe_shutdowns", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "times it lost its power without being told (NVMe)"},
		{Name: "power_on_hours", Noise: snapshot.Sampled, Cumulative: true, Doc: "hours that it ran"},
		{Name: "temperature_celsius", Unit: snapshot.Celsius, Noise: snapshot.Ambient, Better: snapshot.LowerBetter, Doc: "temperature"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that its disk can be known by"},
	},
	Rules: append([]snapshot.Rule{
		{Code: "smart-warning", On: snapshot.OnWorse, Attr: "critical_warning", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "disk {name} warns: {gained}", Hint: "save what is on it, then look with `smartctl -x` or `nvme smart-log`"},
		{Code: "smart-unsafe-shutdown", On: snapshot.OnWorse, Attr: "unsafe_shutdowns", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "disk {name} lost its power without being told {new} times, had {old}", Hint: "the last shutdown did not get to its end, or the power failed"},
	}, grown("media_errors", "reallocated", "pending", "uncorrectable", "crc_errors")...),
}

func grown(attrs ...string) []snapshot.Rule {
	var rules []snapshot.Rule
	for _, a := range attrs {
		words := strings.ReplaceAll(a, "_", " ")
		rules = append(rules, snapshot.Rule{Code: "smart-" + strings.ReplaceAll(a, "_", "-"), On: snapshot.OnWorse, Attr: a,
			Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "disk {name}: " + words + " {new}, had {old}"})
	}
	return rules
}

// Bounds on asking: how long one disk may take, all of them together, and how many
// are asked at a time.
const (
	smartPatience = 2 * time.Second
	smartBudget   = 2 * time.Second
	smartAskers   = 8
)

// asker puts questions to disks. Each method's answer is in before the patience is
// over, or sysfs.ErrHung.
type asker interface {
	// nvme reads the health log page through the controller's node.
	nvme(ctx context.Context, d *device, controller string) ([]byte, error)
	// scsi hands f the open disk.
	scsi(ctx context.Context, d *device, f func(commander) (*smartFacts, error)) (*smartFacts, error)
}

// Answers that settle the matter without a number.
var (
	errNoSMART   = errors.New("the disk says that it keeps no SMART data")
	errSMARTOff  = errors.New("the disk says that its SMART is turned off")
	errNoLogs    = errors.New("the disk says that it has no log pages of its health")
	errNoCommand = errors.New("a disk of this type takes no commands")
	errVolume    = errors.New("a volume of a RAID controller keeps no log of its health: its controller tells")
)

// readSMART asks every disk, each NVMe controller once.
func readSMART(ctx context.Context, h source.Host, ask asker) ([]snapshot.Subject, error) {
	silent := h
	silent.Log = nil
	disks, errs, _ := readDisks(ctx, silent, false)
	ctx, cancel := context.WithTimeout(ctx, smartBudget)
	defer cancel()
	var mu sync.Mutex
	var out []snapshot.Subject
	pool := make(chan struct{}, smartAskers)
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for _, d := range disks {
		controller, wanted := d.askable(h.Bridges)
		if !wanted || (controller != "" && seen[controller]) {
			continue
		}
		seen[controller] = true
		wg.Go(func() {
			s := d.health()
			select {
			case pool <- struct{}{}:
				d.askHealth(ctx, ask, controller, &s)
				<-pool
			case <-ctx.Done():
				s.Outcome, s.Reason = snapshot.Skipped, "the time for asking disks is over"
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, s)
		})
	}
	wg.Wait()
	slices.SortFunc(out, func(a, b snapshot.Subject) int { return a.Key().Compare(b.Key()) })
	return out, errors.Join(errs...)
}

var nvmeOfDisk = regexp.MustCompile(`^(nvme[0-9]+)(?:c[0-9]+)?n[0-9]+$`)

// askable names the NVMe controller that a disk is asked through, "" for another disk,
// and says whether it is to be asked at all.
func (d *device) askable(bridges bool) (controller string, wanted bool) {
	if d.unsure != nil || (onUSB(d.dir) && !bridges) {
		return "", false
	}
	if !nvmeOfDisk.MatchString(d.name) {
		return "", true
	}
	if c := path.Base(path.Dir(d.controllerFolder())); nvmeController.MatchString(c) {
		return c, true
	}
	return nvmeOfDisk.FindStringSubmatch(d.name)[1], true
}

// health is the subject that stands for the health of a disk.
func (d *device) health() snapshot.Subject {
	s := snapshot.Subject{Kind: smartKind, ID: d.ID, Label: d.Label, Parent: d.Key().String(), Outcome: snapshot.Measured}
	s.Set("aliases", d.Attrs["aliases"])
	return s
}

// askHealth asks one disk and enters the answer, or what stands in its way.
func (d *device) askHealth(ctx context.Context, ask asker, controller string, s *snapshot.Subject) {
	var facts *smartFacts
	var err error
	switch {
	case controller != "":
		var page []byte
		if page, err = ask.nvme(ctx, d, controller); err == nil {
			facts, err = nvmeHealth(page)
		}
	case !strings.HasPrefix(d.name, "sd"):
		err = errNoCommand
	case d.raidVolume():
		err = errVolume // the SCSI layer counts a question that it refuses as a failure
	case d.suspended():
		err = errAsleep
	case d.realtekNVMe():
		facts, err = ask.scsi(ctx, d, realtekHealth)
	case d.speaksATA():
		facts, err = ask.scsi(ctx, d, ataHealth)
	default:
		facts, err = ask.scsi(ctx, d, scsiHealth)
	}
	switch {
	case err == nil:
		facts.keep(s)
	case errors.Is(err, errAsleep):
		s.Outcome, s.Reason = snapshot.Skipped, err.Error()
	case errors.Is(err, errNoSMART), errors.Is(err, errSMARTOff), errors.Is(err, errNoLogs), errors.Is(err, errNoCommand), errors.Is(err, errNoATA), errors.Is(err, errVolume):
		s.Outcome, s.Reason = snapshot.Unsupported, err.Error()
	default:
		s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
	}
}

// speaksATA tells a disk that ATA commands are passed through to: libata, and SAS
// adapters and bridges that translate, give "ATA" for the vendor (SAT-4, 10.3.2); of
// bridges that give the maker's name only a disk that knows SAT answers.
func (d *device) speaksATA() bool {
	vendor, err := d.root.Attr(d.ctx, d.dir, "device", "vendor")
	return (err == nil && vendor == "ATA") || onUSB(d.dir)
}

// raidChannel is the first SCSI channel that megaraid_sas puts volumes on, and not disks
// (MEGASAS_MAX_PD_CHANNELS of its megaraid_sas.h).
const raidChannel = 2

var scsiUnit = regexp.MustCompile(`/[0-9]+:([0-9]+):[0-9]+:[0-9]+/`)

func (d *device) raidVolume() bool {
	m := scsiUnit.FindStringSubmatch(d.dir)
	if m == nil || d.Text("driver") != "megaraid_sas" {
		return false
	}
	channel, err := strconv.Atoi(m[1])
	return err == nil && channel >= raidChannel
}

// realtekBridge are USB ids of Realtek's NVMe bridges that pass a health log page on.
var realtekBridge = regexp.MustCompile(`^(0bda:(9210|9211|9220)|2eb9:9211)$`)

func (d *device) realtekNVMe() bool {
	for dir := d.dir; len(dir) > len("/sys/devices"); dir = path.Dir(dir) {
		if usbPort.MatchString(path.Base(dir)) {
			vendor, err1 := d.root.Attr(d.ctx, dir, "idVendor")
			product, err2 := d.root.Attr(d.ctx, dir, "idProduct")
			return err1 == nil && err2 == nil && realtekBridge.MatchString(vendor+":"+product)
		}
	}
	return false
}

// liveAsker asks the disks of this host.
type liveAsker struct{ root *sysfs.Root }

func (l liveAsker) nvme(ctx context.Context, d *device, controller string) ([]byte, error) {
	number, err := d.root.Attr(ctx, "/sys/class/nvme", controller, "dev")
	if err != nil {
		return nil, err
	}
	return sysfs.Node(ctx, l.root, smartPatience, true, number, "/dev/"+controller, nvmeGetHealth)
}

func (l liveAsker) scsi(ctx context.Context, d *device, f func(commander) (*smartFacts, error)) (*smartFacts, error) {
	number, err := d.root.Attr(ctx, d.dir, "dev")
	if err != nil {
		return nil, err
	}
	return sysfs.Node(ctx, l.root, smartPatience, false, number, node(d.name), func(fd int) (*smartFacts, error) { return f(sgNode(fd)) })
}
