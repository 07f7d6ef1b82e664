package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"lastgood/internal/gate"
	"lastgood/internal/notify"
	"lastgood/internal/snapshot"
)

// statePatience is how long another gate command may hold the state.
const statePatience = 5 * time.Second

// happen takes an event in and does what is decided. The error is what could not be done;
// refused is why what was asked for is not done.
func (g *gateRun) happen(ctx context.Context, e gate.Event) (st gate.State, refused string, err error) {
	e.Boot, e.At = g.boot, g.s.env.clock().UTC()
	wait, cancel := context.WithTimeout(ctx, statePatience)
	defer cancel()
	st, acts, err := g.keeper.Happen(wait, e, g.s.config.Gate.Policy())
	if err != nil {
		err = fmt.Errorf("remember what is decided: %w", err)
		if !g.forgets {
			g.tell(ctx, gate.NoticeFailed, flat(err)+"; nothing is rolled back for want of memory")
		}
		g.forgets = true
		g.heard(err)
	}
	refused, aerr := g.perform(ctx, e, acts)
	return st, refused, errors.Join(err, aerr)
}

// perform does the actions in order. Where the loader cannot be set the rest is left, and
// that is an event in its turn.
func (g *gateRun) perform(ctx context.Context, e gate.Event, acts []gate.Action) (refused string, err error) {
	for _, a := range acts {
		if a.Act == gate.Refuse {
			return a.Text, err
		}
		aerr := g.act(ctx, a)
		if aerr == nil {
			continue
		}
		err = errors.Join(err, aerr)
		if e.Type == gate.Failed {
			continue // one failure is told once
		}
		_, _, ferr := g.happen(ctx, gate.Event{Type: gate.Failed, Act: a.Act, Summary: hintText(aerr), World: e.World})
		err = errors.Join(err, ferr)
		if a.Act == gate.SetDefault || a.Act == gate.SetOnce {
			return "", err
		}
	}
	return "", err
}

func (g *gateRun) act(ctx context.Context, a gate.Action) error {
	switch a.Act {
	case gate.SetHold:
		return g.hold.Set(a.Text)
	case gate.ClearHold:
		return g.hold.Clear()
	case gate.StartHeld:
		return g.startHeld(ctx)
	case gate.SetDefault:
		return g.setter.SetDefault(ctx, a.Kernel.Release)
	case gate.SetOnce:
		return g.setter.SetOnce(ctx, a.Kernel.Release)
	case gate.Reboot:
		return g.reboot(ctx, a.Text)
	case gate.Tell:
		g.tell(ctx, a.Notice, a.Text)
	}
	return nil
}

func (g *gateRun) startHeld(ctx context.Context) error {
	if !g.live || !g.booted() {
		return nil
	}
	started, err := g.system.StartHeld(ctx, g.s.config.Gate.Units())
	for _, u := range started {
		fmt.Fprintln(g.s.env.Err, "lastgood: starts", u)
	}
	return err
}

func (g *gateRun) reboot(ctx context.Context, why string) error {
	if !g.live {
		return errors.New("reboot: not on a recorded host, or in a trial run")
	}
	g.kick(ctx) // what is to be told has the time that the shutdown takes
	return g.system.Reboot(ctx, why)
}

// booted reports whether systemd runs this host (sd_booted(3)).
func (g *gateRun) booted() bool {
	info, err := os.Stat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// tell writes a message to the log, the message of the day and the spool. That somebody
// could not be told is said and keeps nothing from being done.
func (g *gateRun) tell(ctx context.Context, n gate.Notice, text string) {
	m, err := notify.New(string(n), text)
	if err != nil {
		g.say(err)
		return
	}
	g.fill(&m)
	g.send(ctx, &m)
}

func (g *gateRun) fill(m *notify.Message) {
	m.BootID, m.Kernel, m.Time = g.boot.ID, g.boot.Kernel.Release, g.s.env.clock().UTC()
	m.Host, _ = os.Hostname() // without a name it is told all the same
	if g.base != nil {
		m.BaselineKernel = g.base.Kernel.Release
	}
	if g.rep == nil {
		return
	}
	m.Verdict = string(g.rep.Verdict)
	var lines []string
	for _, f := range g.rep.Findings {
		if f.Severity != snapshot.Info {
			lines = append(lines, fmt.Sprintf("%s: %s %s: %s", f.Severity, f.Subject.Kind, f.Subject.ID, f.Message))
		}
	}
	m.AddFindings(lines)
}

func (g *gateRun) send(_ context.Context, m *notify.Message) {
	c := &g.s.config.Notify
	var logged bool
	if g.live {
		err := g.journal.Send(m)
		if logged = err == nil; !logged {
			g.say(err)
		}
	}
	// A unit's stderr is the journal (systemd.exec(5)): what stands there is not said twice.
	if !logged || g.s.env.Getenv("JOURNAL_STREAM") == "" {
		fmt.Fprintf(g.s.env.Err, "lastgood: %s: %s\n", m.Title, m.Text)
	}
	if c.MOTD == nil || *c.MOTD {
		if err := g.motd.Update(m); err != nil {
			g.say(err)
		}
	}
	if len(c.Names()) == 0 {
		return
	}
	var full *notify.FullError
	if err := g.spool.Add(m); err != nil {
		g.say(err)
		if !errors.As(err, &full) {
			return
		}
	}
	g.spooled = true
}

// notifyUnit sends what is in the spool.
const notifyUnit = "lastgood-notify.service"

// kick has the spool sent now, by a unit that may use the network.
func (g *gateRun) kick(ctx context.Context) {
	if !g.spooled || !g.live || !g.booted() {
		return
	}
	g.spooled = false
	if err := g.system.Start(ctx, notifyUnit); err != nil {
		g.say(err)
	}
}
