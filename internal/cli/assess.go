package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/contract"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func assessCommand() command {
	return command{
		anyConfig: true,
		name:      "__assess", summary: "assess a boot that is under way, until its deadline", hidden: true,
		long: `What lastgood-assess.service runs beside the boot. A check is repeated while something that
is missing may still come, up to gate.assess_within after this command began; the last one
counts. The checks of the declared contract are tried side by side until each has held for
its stable_for, or its time is over, for 12 minutes at most. The exit status is 1 where this boot
is worse, else 0. Where it is worse a mark is left for lastgood-verdict.service, which keeps
boot-complete.target back: by a verdict and by nothing else, for a loader that counts boots
falls back for it.`,
		example: "lastgood __assess",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			f.StringVar(&g.against, "baseline", "", "compare with this snapshot (file, boot id or release) instead of the last good boot")
			every := f.Duration("every", 10*time.Second, "time between two checks")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return g.assess(ctx, s, *every)
			}
		},
	}
}

func (g *gateRun) assess(ctx context.Context, s *session, every time.Duration) (int, error) {
	if err := g.open(ctx, s); err != nil {
		return exitOK, err
	}
	if err := g.mayJudge(); err != nil {
		return exitOK, err
	}
	defer g.kick(ctx)
	if g.skipped(ctx) {
		return exitOK, nil
	}
	if s.configErr != nil { // what is to be judged by is not known, and the gate said so
		return exitOK, errors.Join(s.configErr, g.markWorse(""))
	}
	verdict, err := g.polled(ctx, gate.Assessed, time.Duration(s.config.Gate.AssessWithin), every)
	if err != nil {
		g.say(err)
	}
	if err := g.markWorse(verdict); err != nil {
		g.say(err)
	}
	if verdict == snapshot.Regressed {
		return exitRegressed, nil
	}
	return exitOK, nil
}

// markWorse leaves the mark by which boot-complete.target is kept back, or takes it away.
func (g *gateRun) markWorse(verdict snapshot.Verdict) error {
	mark := gate.Mark(filepath.Join(g.runDir, filepath.Base(gate.WorsePath)))
	if verdict != snapshot.Regressed {
		if err := mark.Clear(); err != nil {
			return fmt.Errorf("let boot-complete.target be reached: %w", err)
		}
		return nil
	}
	if err := mark.Set(g.summary()); err != nil {
		return fmt.Errorf("keep boot-complete.target back: %w", err)
	}
	return nil
}

// longestAssess bounds an assessment, whatever the contract gives its checks: lastgood-assess.service is killed after 15 minutes.
const longestAssess = 12 * time.Minute

// polled checks, and checks again while something that is missing may still come and there
// is time for it. The last verdict is taken in. An assessment also waits for the declared contract.
func (g *gateRun) polled(ctx context.Context, as gate.EventType, within, every time.Duration) (snapshot.Verdict, error) {
	deadline := time.Now().Add(within)
	var decided <-chan struct{}
	if as == gate.Assessed {
		stop := g.watchContract(ctx)
		defer stop()
		decided = g.s.contract.Done()
	}
	var err error
	for {
		select {
		case <-decided: // before the check: it is to judge what was found
			decided = nil
		default:
		}
		err = g.check(ctx, io.Discard)
		again := g.mayCome(as) && time.Until(deadline) > every
		if !again && decided == nil {
			break
		}
		var turn <-chan time.Time
		if again {
			turn = time.After(every)
		}
		g.sayWhy(ctx, again, every)
		select {
		case <-turn:
		case <-decided:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	if g.rep != nil {
		if perr := g.s.print(g.s.output, g.rep); perr != nil {
			g.say(perr)
		}
	}
	return g.conclude(ctx, as, err)
}

// watchContract begins to try the declared checks until each is decided.
func (g *gateRun) watchContract(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithTimeout(ctx, longestAssess)
	s := *g.s
	s.contract = contract.StartWatch(ctx, s.host(), s.observedBefore(ctx))
	_, _ = s.contract.Results(ctx) // once they are read: without any it is done
	g.s = &s
	return cancel
}

func (g *gateRun) sayWhy(ctx context.Context, again bool, every time.Duration) {
	if again {
		what := g.summary()
		if len(g.late) > 0 {
			what = "no container of " + strings.Join(g.late, ", ") + " runs yet; " + what
		}
		if line := fmt.Sprintf("lastgood: %s; looks again every %v\n", what, every); line != g.waits {
			fmt.Fprint(g.s.env.Err, line)
			g.waits = line
		}
		return
	}
	results, _ := g.s.contract.Results(ctx) // what could not be read is in the report
	var open []string
	for _, r := range results {
		if r.State == contract.Pending {
			open = append(open, r.ID)
		}
	}
	if len(open) > 0 {
		fmt.Fprintf(g.s.env.Err, "lastgood: %s; waits for the contract: %s\n", g.summary(), strings.Join(open, ", "))
	}
}

// summary is the newest report's, where there is one.
func (g *gateRun) summary() string {
	if g.rep == nil {
		return "there is no verdict"
	}
	return g.rep.Summary
}

// mayCome reports whether a later check may be better: a device or a service that is
// missing may be slow, what the kernel answers to a program is not. The declared contract is
// waited for by itself. The gate does not wait for what could not be told: it holds nothing for it.
func (g *gateRun) mayCome(as gate.EventType) bool {
	if g.rep == nil {
		return false
	}
	for _, f := range g.rep.Findings {
		ours := f.Class == snapshot.ClassHardware || f.Class == snapshot.ClassService
		if g.rep.Verdict == snapshot.Regressed && f.Severity == snapshot.Critical && ours && f.Subject.Kind != contract.CheckKind {
			return true
		}
	}
	if as == gate.Checked || g.rep.Verdict == snapshot.Invalid {
		return false
	}
	if len(g.late) > 0 && g.rep.Verdict != snapshot.Regressed {
		return true // containers come one by one, and none at all is known after some minutes only; of a boot that is held none comes
	}
	return slices.ContainsFunc(g.rep.Incomplete, func(gap snapshot.Gap) bool {
		return contract.ComesLater(&gap) || g.rep.Verdict == snapshot.Incomplete && gap.Counts && !ofContract(&gap)
	})
}

// ofContract reports whether a gap is of the declared contract.
func ofContract(g *snapshot.Gap) bool {
	return g.Kind == contract.CheckKind || g.Kind == snapshot.SourceKind && g.ID == contract.DeclaredSource
}

// onlyLater reports whether all that could not be told is of services, which come up beside the gate: the assessment tells.
func onlyLater(rep *report.Report) bool {
	if rep.Verdict != snapshot.Incomplete {
		return false
	}
	return !slices.ContainsFunc(rep.Incomplete, func(g snapshot.Gap) bool { return g.Counts && !contract.Looks(&g) })
}

// mostOf is the most that the findings of a report may lead to: what a declared check says of itself, "" (what the policy says)
// where anything else failed. A check that did not hold at the last good boot, or was not known there, is no regression: it is told.
func mostOf(rep *report.Report, snap *snapshot.Snapshot, failing snapshot.Severity) gate.Reaction {
	most := gate.Reaction("")
	for _, f := range rep.Findings {
		if f.Severity.Rank() < cmp.Or(failing, snapshot.Critical).Rank() {
			continue
		}
		if f.Subject.Kind != contract.CheckKind {
			return ""
		}
		r := gate.Notify
		if f.Code != contract.NotMet {
			s := snap.Subject(snapshot.Key{Kind: f.Subject.Kind, ID: f.Subject.ID})
			if s == nil {
				return ""
			}
			if said := gate.Reaction(s.Text("on_regression")); said.Valid() {
				r = said
			}
		}
		if most == "" || r.Rank() > most.Rank() {
			most = r
		}
	}
	return most
}
