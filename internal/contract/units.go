package contract

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const unitKind = "service.unit"

var _ = catalogue.Add(source.Source{
	Name: "units",
	Doc: `systemd's units: active, failed, restarting

Asks systemd over D-Bus, or by its private socket. Left out is what comes and goes: scopes, transient units, units of
sessions, mounts and swap (which have sources of their own).`,
	Kinds: []snapshot.Kind{unitDeclared},
	Tier:  source.Native,
	Read:  readUnits,
})

const unitHint = "systemctl status {name}; journalctl -b -u {name}. Where the result is start-limit-hit systemd does not try again: systemctl reset-failed {name}, then start it"

var healthyUnit = []string{"active"}

var unitDeclared = snapshot.Kind{
	Name:     unitKind,
	Doc:      "a unit of systemd: a service, socket, timer or path that is no session's and not transient.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "state", Order: []string{"active", "activating", "inactive", "restarting", "failed"}, Doc: "active, activating, restarting (it ended and systemd waits to start it again), failed, inactive"},
		{Name: "sub", Noise: snapshot.Evidence, Doc: "systemd's finer state: running, exited, listening, auto-restart …"},
		{Name: "starts", Doc: "boot where it is enabled, demand where a socket, timer, path or bus name starts it, other where another unit pulls it in"},
		{Name: "result", Doc: "of a service, how its last run ended: success, exit-code, signal, timeout, start-limit-hit …"},
		{Name: "restarts", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "of a service, how often systemd restarted it"},
		{Name: "load", Doc: "loaded, masked, not-found, error"},
		{Name: "file", Doc: "enabled, disabled, static, masked …"},
		{Name: "fragment", Noise: snapshot.Evidence, Doc: "its file"},
	},
	Rules: []snapshot.Rule{
		{Code: "unit-failed", On: snapshot.OnBecomes, Attr: "state", From: healthyUnit, To: []string{"failed"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Cause: true,
			Message: "{name} failed ({attr:result}), was active", Hint: unitHint},
		{Code: "unit-restarting", On: snapshot.OnBecomes, Attr: "state", From: healthyUnit, To: []string{"restarting"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Cause: true,
			Message: "{name} does not stay up: systemd restarts it ({attr:restarts} times so far, last result {attr:result})", Hint: unitHint},
		{Code: "unit-stopped", On: snapshot.OnBecomes, Attr: "state", From: healthyUnit, To: []string{"inactive"}, Where: map[string]string{"starts": "boot"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Cause: true, Message: "{name} is enabled and does not run, did", Hint: unitHint},
		{Code: "unit-stopped", On: snapshot.OnBecomes, Attr: "state", From: healthyUnit, To: []string{"inactive"}, Where: map[string]string{"starts": "other"}, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "{name} does not run, did", Hint: unitHint},
		{Code: "unit-missing", On: snapshot.OnMissing, Where: map[string]string{"state": "active", "starts": "boot"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "{name} ran at the last good boot and is not loaded now", Hint: "was its package removed, or its enablement? systemctl cat {name}"},
		{Code: "unit-missing", On: snapshot.OnMissing, Where: map[string]string{"state": "active", "starts": "other"}, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "{name} ran at the last good boot and is not loaded now"},
		{Code: "unit-fails-now", On: snapshot.OnBecomes, Attr: "state", From: []string{"inactive", "activating"}, To: []string{"failed", "restarting"}, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "{name} is {new} ({attr:result}), was {old}", Hint: unitHint},
		{Code: "unit-new-failed", On: snapshot.OnNew, Where: map[string]string{"state": "failed"}, Severity: snapshot.Info, Class: snapshot.ClassService,
			Message: "{name} is new and failed ({attr:result})", Hint: unitHint},
		{Code: "unit-restarts-more", On: snapshot.OnGrowth, Attr: "restarts", Ratio: 2, Floor: 3, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "systemd restarted {name} {new} times, {old} times by the last good boot", Hint: unitHint},
		{Code: "unit-disabled", On: snapshot.OnBecomes, Attr: "file", From: []string{"enabled"}, To: []string{"disabled", "masked"}, Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Message: "{name} is {new}, was {old}"},
	},
}

// passing are units that come and go with sessions, boots and devices.
var passing = regexp.MustCompile(`^(run-|user@|user-runtime-dir@|session-|cri-|docker-|libpod-|systemd-fsck@|systemd-backlight@|systemd-coredump@|systemd-cryptsetup@run|getty@|serial-getty@|dbus-:|snap\.|app-|var-lib-docker-|drkonqi-|lastgood)`)

// kept reports whether a unit of that name is looked at.
func keptUnit(u systemd.UnitStatus) bool {
	types := []string{".service", ".socket", ".timer", ".path"}
	if !slices.Contains(types, path.Ext(u.Name)) || passing.MatchString(u.Name) || u.Followed != "" {
		return false
	}
	// What a unit only refers to and what was never on this host is listed as not-found.
	return u.LoadState != "not-found" || u.ActiveState == "failed" || u.ActiveState == "active"
}

func readUnits(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	if !h.Root.Live() {
		return nil, errNotLive
	}
	runs, err := h.Root.Exists(ctx, booted)
	if err != nil {
		return nil, err
	}
	if !runs {
		return []snapshot.Subject{{Kind: unitKind, ID: "systemd", Outcome: snapshot.Unsupported, Reason: "this host does not run systemd: there is no " + booted}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, busWhole)
	defer cancel()
	conn, err := dialSystemd(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return unitsOf(ctx, conn)
}

// booted is there where systemd is the first process (sd_booted(3)).
const booted = "/run/systemd/system"

func unitsOf(ctx context.Context, conn *systemd.Conn) ([]snapshot.Subject, error) {
	why, errState := starting(ctx, conn)
	facts, err := askUnits(ctx, conn, keptUnit)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	for _, u := range facts {
		// A transient unit's file lies beneath /run/systemd/transient (systemd.unit(5)).
		if strings.HasPrefix(u.Fragment, "/run/systemd/transient/") {
			continue
		}
		out = append(out, unitSubject(&u, why))
	}
	if errState != nil {
		return out, errState
	}
	if why != "" {
		return out, errors.New(why)
	}
	return out, nil
}

// unitState is systemd's state in the five words that are compared.
func unitState(u *unitFacts) string {
	switch u.ActiveState {
	case "active", "reloading", "refreshing":
		return "active"
	case "failed":
		return "failed"
	case "activating":
		if strings.HasPrefix(u.SubState, "auto-restart") {
			return "restarting"
		}
		return "activating"
	case "inactive", "deactivating", "maintenance":
		if u.JobType == "start" { // it waits for its turn, behind a gate perhaps
			return "activating"
		}
		return "inactive"
	}
	return u.ActiveState
}

func unitSubject(u *unitFacts, starting string) snapshot.Subject {
	s := snapshot.Subject{Kind: unitKind, ID: u.Name, Outcome: snapshot.Measured}
	s.Set("state", snapshot.Text(unitState(u)))
	s.Set("sub", snapshot.Text(u.SubState))
	s.Set("load", snapshot.Text(u.LoadState))
	if u.err != nil {
		s.Outcome, s.Reason = snapshot.Inconclusive, u.err.Error()
		return s
	}
	s.Set("fragment", snapshot.Text(u.Fragment))
	s.Set("file", snapshot.Text(u.File))
	starts := "other"
	switch {
	case u.Triggered:
		starts = "demand"
	case u.File == "enabled" || u.File == "enabled-runtime":
		starts = "boot"
	}
	s.Set("starts", snapshot.Text(starts))
	if u.Result != "" {
		s.Set("result", snapshot.Text(u.Result))
	}
	if u.Restarts >= 0 {
		s.Set("restarts", snapshot.Int(u.Restarts))
	}
	if st := unitState(u); starting != "" && (st == "inactive" || st == "activating") {
		s.Outcome, s.Reason = snapshot.Inconclusive, fmt.Sprintf("%s is %s: %s", u.Name, st, starting)
	}
	return s
}
