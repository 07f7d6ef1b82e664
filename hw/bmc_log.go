package hw

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const (
	selKind     = "hw.sel"
	chassisKind = "hw.chassis"
)

var _ = catalogue.Add(source.Source{
	Name: "bmc_log", Tier: source.Native,
	Doc: `what the management controller has logged, and the state of the chassis

Asks the controller through /dev/ipmi0, by commands that only read, for the information on its event log, the newest entries and the chassis
status. It gets three seconds for that.`,
	Kinds: []snapshot.Kind{sel, chassis},
	Read:  readBMCLog,
})

var sel = snapshot.Kind{
	Name: selKind,
	Doc:  "the event log of the management controller (SEL)",
	Attrs: []snapshot.Attr{
		{Name: "critical", Better: snapshot.LowerBetter, Doc: "critical events among the newest entries: number, time, sensor and what happened"},
		{Name: "warning", Better: snapshot.LowerBetter, Doc: "events among the newest entries that are no more than a warning"},
		{Name: "entries", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "entries in the log"},
		{Name: "overflow", Doc: "yes where an event was lost because the log was full"},
		{Name: "free_bytes", Unit: snapshot.Bytes, Noise: snapshot.Evidence, Doc: "room left"},
		{Name: "newest_id", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "number of the newest entry"},
		{Name: "newest_time", Noise: snapshot.Evidence, Doc: "when an entry was last added, by the controller's clock"},
		{Name: "erased_time", Noise: snapshot.Evidence, Doc: "when the log was last cleared, by the controller's clock"},
		{Name: "read", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "how many of the newest entries were read"},
		{Name: "recent_critical", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "how many of these are critical"},
		{Name: "recent_warning", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "how many of these are warnings"},
		{Name: "recent_info", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "how many of these are neither"},
		{Name: "tail", Noise: snapshot.Evidence, Doc: "the newest twenty entries"},
	},
	Rules: []snapshot.Rule{
		{Code: "sel-critical", On: snapshot.OnWorse, Attr: "critical", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "the management controller has logged: {gained}", Hint: "`ipmitool sel elist` shows the whole log"},
		{Code: "sel-warning", On: snapshot.OnWorse, Attr: "warning", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the management controller has logged: {gained}"},
		{Code: "sel-cleared", On: snapshot.OnWorse, Attr: "entries", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the management controller's event log has {new} entries, had {old}: it was cleared"},
		{Code: "sel-full", On: snapshot.OnBecomes, Attr: "overflow", From: []string{"no"}, To: []string{"yes"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the management controller's event log is full and events are lost", Hint: "save it and clear it: `ipmitool sel save FILE`, `ipmitool sel clear`"},
	},
}

var chassis = snapshot.Kind{
	Name: chassisKind,
	Doc:  "the chassis, as the management controller sees it",
	Attrs: []snapshot.Attr{
		{Name: "power_restore", Doc: "what the host does when power returns: off, previous, on, unknown"},
		{Name: "intrusion", Doc: "yes where the chassis is open"},
		{Name: "power_fault", Doc: "yes where there is a fault of the main power"},
		{Name: "power_overload", Doc: "yes where the host was switched off for overload"},
		{Name: "fan_fault", Doc: "yes where there is a fault of the cooling"},
		{Name: "drive_fault", Doc: "yes where there is a fault of a drive"},
		{Name: "last_power_down", Noise: snapshot.Evidence, Doc: "why the host was last without power: input_lost, overload, interlock, fault, none"},
	},
	Rules: chassisRules(),
}

func chassisRules() []snapshot.Rule {
	rules := []snapshot.Rule{
		{Code: "chassis-power-restore-changed", On: snapshot.OnChanged, Attr: "power_restore", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "when power returns the host now does: {new}, was {old}", Hint: "`ipmitool chassis policy`"},
	}
	faults := []struct{ attr, message string }{
		{"intrusion", "the chassis is open"}, {"power_fault", "the management controller sees a fault of the main power"},
		{"power_overload", "the management controller says that the host was switched off for overload"},
		{"fan_fault", "the management controller sees a fault of the cooling"}, {"drive_fault", "the management controller sees a fault of a drive"},
	}
	for _, f := range faults {
		rules = append(rules, snapshot.Rule{Code: "chassis-fault", On: snapshot.OnBecomes, Attr: f.attr, From: []string{"no"}, To: []string{"yes"},
			Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: f.message})
	}
	return rules
}

// ipmiPatience is how long a source may take to ask the controller. One that works
// answers within tens of milliseconds.
const ipmiPatience = 3 * time.Second

func readBMCLog(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	log := snapshot.Subject{Kind: selKind, ID: "bmc", Label: "event log of the management controller", Parent: bmcKind + "/bmc", Outcome: snapshot.Measured}
	box := snapshot.Subject{Kind: chassisKind, ID: "bmc", Label: "chassis", Parent: bmcKind + "/bmc", Outcome: snapshot.Measured}
	if ok, err := askable(ctx, h); !ok {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ipmiPatience)
	defer cancel()
	a, err := askBMC(ctx, h, gatherLog)
	if err != nil {
		log.Outcome, log.Reason = snapshot.Inconclusive, err.Error()
		box.Outcome, box.Reason = snapshot.Inconclusive, err.Error()
		return []snapshot.Subject{log, box}, err
	}
	a.fill(&log, &box)
	return []snapshot.Subject{log, box}, nil
}

// askable tells whether there is a controller to ask.
func askable(ctx context.Context, h source.Host) (bool, error) {
	if !h.Root.Live() {
		return false, source.ErrSkipped
	}
	_, err := ipmiNumber(ctx, h)
	if errors.Is(err, errNoIPMI) {
		return false, nil
	}
	return err == nil, err
}

// logAnswers is what the controller said. A part that it did not say has its error.
type logAnswers struct {
	info       selInfo
	tail       []selEntry // newest first
	whole      bool
	infoErr    error
	tailErr    error
	chassis    []byte
	chassisErr error
}

// gatherLog asks for all of it. A controller that gives no answer at all is an error.
func gatherLog(ctx context.Context, c ipmiClient) (logAnswers, error) {
	var a logAnswers
	if _, err := c.send(ctx, ipmiDeviceID); err != nil {
		return a, err // it must answer this, whatever else it can
	}
	if a.chassis, a.chassisErr = c.send(ctx, ipmiChassisStatus); a.chassisErr == nil {
		a.chassisErr = enough("chassis status", a.chassis, 3)
	}
	b, err := c.send(ctx, ipmiSELInfo)
	if err == nil {
		a.info, err = parseSELInfo(b)
	}
	if err != nil {
		a.infoErr, a.tailErr = err, err
		return a, nil
	}
	a.tail, a.whole, a.tailErr = readSEL(ctx, c, a.info.entries)
	if a.tailErr == nil && !a.whole {
		if a.tail, a.tailErr = walkSEL(ctx, c, a.info.entries); a.tailErr == nil {
			a.whole = true
		}
	}
	return a, nil
}

func (a *logAnswers) fill(log, box *snapshot.Subject) {
	a.fillChassis(box)
	if a.infoErr != nil {
		log.Outcome, log.Reason = snapshot.Inconclusive, a.infoErr.Error()
		return
	}
	log.Set("entries", snapshot.Int(a.info.entries))
	log.Set("overflow", yesNo(a.info.overflow))
	log.Set("free_bytes", snapshot.Int(a.info.free))
	log.Set("newest_time", snapshot.Text(selTime(a.info.added)))
	log.Set("erased_time", snapshot.Text(selTime(a.info.erased)))
	if a.tailErr != nil || !a.whole {
		// What was not read is not gone, and would look new at the next boot.
		err := a.tailErr
		if err == nil {
			err = fmt.Errorf("only %d entries could be read", len(a.tail))
		}
		log.Fail("critical", err)
		log.Fail("warning", err)
	}
	a.fillTail(log)
}

// selShown is how many entries are kept as evidence.
const selShown = 20

func (a *logAnswers) fillTail(log *snapshot.Subject) {
	lines := map[string][]string{}
	var shown []string
	for i := range a.tail {
		e := &a.tail[i]
		lines[e.severity] = append(lines[e.severity], e.String())
		if i < selShown {
			shown = append(shown, e.String())
		}
	}
	if len(a.tail) > 0 {
		log.Set("newest_id", snapshot.Int(a.tail[0].id))
		log.Set("tail", snapshot.List(shown...))
	}
	log.Set("read", snapshot.Int(len(a.tail)))
	for _, severity := range []string{selCritical, selWarning, selNotice} {
		log.Set("recent_"+severity, snapshot.Int(len(lines[severity])))
		if severity != selNotice && log.Errs[severity] == "" {
			log.Set(severity, snapshot.List(lines[severity]...))
		}
	}
}

func (a *logAnswers) fillChassis(box *snapshot.Subject) {
	if a.chassisErr != nil {
		box.Outcome, box.Reason = snapshot.Inconclusive, a.chassisErr.Error()
		if completionCode(a.chassisErr) == ipmiInvalidCommand {
			box.Outcome = snapshot.Unsupported
		}
		return
	}
	// IPMI 2.0, 28.2: current power state, last power event, misc. chassis state.
	now, last, misc := a.chassis[0], a.chassis[1], a.chassis[2]
	box.Set("power_restore", snapshot.Text([]string{"off", "previous", "on", "unknown"}[now>>5&3]))
	box.Set("power_fault", yesNo(now&(1<<3|1<<4) != 0))
	box.Set("power_overload", yesNo(now&(1<<1) != 0))
	box.Set("intrusion", yesNo(misc&(1<<0) != 0))
	box.Set("drive_fault", yesNo(misc&(1<<2) != 0))
	box.Set("fan_fault", yesNo(misc&(1<<3) != 0))
	why := "none"
	for bit, text := range []string{"input_lost", "overload", "interlock", "fault"} {
		if last&(1<<bit) != 0 {
			why = text
			break
		}
	}
	box.Set("last_power_down", snapshot.Text(why))
}
