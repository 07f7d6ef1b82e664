package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"lastgood/internal/baseline"
	"lastgood/internal/bootloader"
	"lastgood/internal/gate"
	"lastgood/internal/notify"
)

func doctorCommand() command {
	return command{
		name: "doctor", summary: "what of lastgood is in place on this host, and what is not",
		long: `Asks, one line each: is it so? yes, no, or could not tell, with a hint where there is a way out.
The exit status is 0 where nothing that was asked for is missing, 1 where something is, and
3 where something could not be told.`,
		example: "lastgood doctor",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return g.doctor(ctx, s)
			}
		},
	}
}

// answerLine is one question of doctor's with its answer.
type answerLine struct {
	Question string      `json:"question"`
	Answer   gate.Answer `json:"answer"`
	// Wanted is false where no is as good as yes.
	Wanted bool   `json:"wanted"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

func (g *gateRun) doctor(ctx context.Context, s *session) (int, error) {
	format, err := s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	if err := g.open(ctx, s); err != nil {
		return exitUsage, err
	}
	var lines []answerLine
	for _, ask := range []func(context.Context) []answerLine{
		g.askState, g.askBaseline, g.askGate, g.askUnits, g.askHeldUnits, g.askCycles, g.askLoader, g.askPolicy, g.askNotify, g.askGreenboot,
	} {
		lines = append(lines, ask(ctx)...)
	}
	status := exitOK
	for _, l := range lines {
		switch {
		case l.Wanted && l.Answer == gate.No:
			status = exitRegressed
		case l.Answer == gate.Unknown && status == exitOK:
			status = exitIncomplete
		}
	}
	if format == "json" {
		enc := json.NewEncoder(s.env.Out)
		enc.SetIndent("", " ")
		return status, enc.Encode(lines)
	}
	for _, l := range lines {
		mark := " "
		if l.Wanted && l.Answer != gate.Yes {
			mark = "!"
		}
		fmt.Fprintf(s.env.Out, "%s %-14s %s\n", mark, l.Answer, strings.TrimSpace(l.Question+detail(l.Detail)))
		if l.Hint != "" && l.Answer != gate.Yes {
			fmt.Fprintf(s.env.Out, "  %-14s %s\n", "", l.Hint)
		}
	}
	return status, nil
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// told is an answer by an error: what is not there is a no, and what could not be read is
// no answer.
func told(question string, there bool, err error, hint string) answerLine {
	l := answerLine{Question: question, Answer: gate.No, Wanted: true, Hint: hint}
	switch {
	case err != nil:
		l.Answer, l.Detail = gate.Unknown, err.Error()
	case there:
		l.Answer = gate.Yes
	}
	return l
}

// minFree is what a state folder wants: its history is pruned to 64 MiB.
const minFree = 128 << 20

func (g *gateRun) askState(context.Context) []answerLine {
	dir := g.s.stateDir
	err := unix.Access(dir, unix.W_OK)
	l := told("the state folder "+dir+" can be written", err == nil, nil, "it is made by the first `lastgood check` as root")
	if err != nil {
		l.Detail = err.Error()
		return []answerLine{l}
	}
	var st unix.Statfs_t
	err = unix.Statfs(dir, &st)
	free := uint64(st.Bavail) * uint64(st.Bsize)
	room := told(fmt.Sprintf("it has room for %d MiB", minFree>>20), free >= minFree, err, "make room on its file system, or keep fewer boots (keep: in the configuration)")
	damaged, derr := os.ReadDir(filepath.Join(dir, "damaged"))
	if errors.Is(derr, os.ErrNotExist) {
		derr = nil
	}
	whole := told("nothing in it was found damaged", len(damaged) == 0, derr, "look at "+filepath.Join(dir, "damaged")+" and at the disk (dmesg), then remove it")
	return []answerLine{l, room, whole}
}

func (g *gateRun) askBaseline(ctx context.Context) []answerLine {
	store, err := g.s.openStore(ctx)
	if err != nil {
		return []answerLine{told("there is a last good boot", false, err, "")}
	}
	snap, rec, err := store.LastGood()
	if errors.Is(err, baseline.ErrNone) {
		return []answerLine{told("there is a last good boot", false, nil, "`lastgood check` learns it; until then there is nothing to hold a boot to")}
	}
	l := told("there is a last good boot", err == nil, err, "")
	if err == nil {
		g.base = &snap.Identity
		l.Detail = fmt.Sprintf("kernel %s, accepted %s by %s", rec.Release, rec.Accepted.Format("2006-01-02"), rec.By)
	} else {
		l.Hint = "`lastgood list` shows what there is, `lastgood accept` chooses"
	}
	return []answerLine{l}
}

func (g *gateRun) askGate(ctx context.Context) []answerLine {
	st, err := g.keeper.Load()
	state := told("what the gate remembers can be read", err == nil && st.Lost == "", err, "`lastgood bless` begins anew, if this boot is fine")
	state.Detail = cmp.Or(state.Detail, st.Describe())
	_, err = os.Lstat(string(g.hold))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	} else if err == nil {
		err = os.ErrExist
	}
	hold := told("workloads may start", !errors.Is(err, os.ErrExist), nil, "`lastgood check -v` shows why, `lastgood release` starts them")
	if err != nil && !errors.Is(err, os.ErrExist) {
		hold = told("workloads may start", false, err, "")
	}
	if b, rerr := os.ReadFile(string(g.hold)); rerr == nil {
		hold.Detail = "held: " + firstLine(string(b))
	}
	skip := told("the gate is on", !g.skipped(ctx), nil, "take "+gate.SkipWord+" off the kernel's command line")
	return []answerLine{state, hold, skip}
}

// units are those of the package and where each is enabled.
var serviceUnits = []struct{ name, wantedBy string }{
	{gate.GateUnit, "multi-user.target.wants"},
	{"lastgood-assess.service", "boot-complete.target.requires"},
	{"lastgood-bless.service", "basic.target.wants"},
	{"lastgood-decide.service", ""},
	{"lastgood-intent.service", "multi-user.target.wants"},
	{"lastgood-notify.timer", "timers.target.wants"},
}

func (g *gateRun) askUnits(ctx context.Context) []answerLine {
	sd := told("systemd runs this host", false, nil, "without it nothing runs at boot by itself: run `lastgood check` from what does")
	there, err := g.s.root.Exists(ctx, "/run/systemd/system")
	sd = told(sd.Question, there, err, sd.Hint)
	out := []answerLine{sd}
	for _, u := range serviceUnits {
		installed, err := g.anyOf(ctx, "/etc/systemd/system/"+u.name, "/usr/lib/systemd/system/"+u.name, "/lib/systemd/system/"+u.name)
		if err != nil || !installed || u.wantedBy == "" {
			out = append(out, told(u.name+" is installed", installed, err, "install the package, or deploy/systemd of the source"))
			continue
		}
		enabled, err := g.anyOf(ctx, "/etc/systemd/system/"+u.wantedBy+"/"+u.name, "/usr/lib/systemd/system/"+u.wantedBy+"/"+u.name)
		out = append(out, told(u.name+" is enabled", enabled, err, "systemctl enable "+u.name))
	}
	return out
}

func (g *gateRun) anyOf(ctx context.Context, names ...string) (bool, error) {
	var errs []error
	for _, n := range names {
		there, err := g.s.root.Exists(ctx, n)
		if there {
			return true, nil
		}
		errs = append(errs, err)
	}
	return false, errors.Join(errs...)
}

// neverHeld begin the names of units whose holding does harm: redundancy is lost for
// longer, guests are down.
var neverHeld = []string{"ceph", "libvirt", "virtqemud", "glusterd", "zfs", "drbd", "lvm2", "mdadm", "multipathd", "iscsi", "nfs", "sshd", "ssh.", "networkd", "NetworkManager", "systemd-"}

func (g *gateRun) askHeldUnits(ctx context.Context) []answerLine {
	var out []answerLine
	present := 0
	for _, u := range g.s.config.Gate.Units() {
		installed, err := g.anyOf(ctx, "/etc/systemd/system/"+u, "/usr/lib/systemd/system/"+u, "/lib/systemd/system/"+u)
		if err == nil && !installed {
			continue
		}
		present++
		made, merr := g.s.root.Exists(ctx, "/run/systemd/generator/"+u+".d/"+gate.DropIn)
		out = append(out, told(u+" waits for the gate", made, errors.Join(err, merr), "systemctl daemon-reload runs the generator, /usr/lib/systemd/system-generators/lastgood-generator"))
		for _, p := range neverHeld {
			if strings.HasPrefix(u, p) {
				out = append(out, told(u+" may be held without harm", false, nil, "take it out of gate.hold: a host whose storage, network or login waits for a verdict cannot be helped"))
			}
		}
	}
	if present == 0 {
		l := told("a unit of gate.hold is installed here", false, nil, "name the units that depend on the kernel in gate.hold, if there are any")
		l.Wanted = false
		out = append(out, l)
	}
	return out
}

func (g *gateRun) askCycles(ctx context.Context) []answerLine {
	const question = "systemd started this boot without breaking an ordering cycle"
	if !g.live {
		return []answerLine{told(question, false, errors.New("this is a recorded host, or a trial run"), "")}
	}
	found, err := gate.Cycles(ctx, []string{"/usr/bin/journalctl", "/bin/journalctl"})
	l := told(question, len(found) == 0, err, "a unit of this boot was not started for it, and at the next boot it may be another one: `systemd-analyze verify default.target`")
	if len(found) > 0 {
		l.Detail = strings.Join(found, "; ")
	}
	return []answerLine{l}
}

func (g *gateRun) askLoader(ctx context.Context) []answerLine {
	st, errs := bootloader.Read(ctx, g.s.root)
	next := told("it is known what boots next", st.NextEntry() != nil, errors.Join(errs...), "")
	if e := st.NextEntry(); e != nil {
		next.Detail = cmp.Or(e.Release, e.Title) + " by " + st.Why
	} else if next.Detail == "" {
		next.Detail = st.Why
	}
	answer, why := g.writable(ctx)
	set := answerLine{Question: "the boot loader can be set", Answer: answer, Wanted: true, Detail: why,
		Hint: "without it a bad boot is told and held, and never undone by itself"}
	if answer == gate.Yes {
		set.Detail = st.Loader
	}
	return []answerLine{next, set}
}

func (g *gateRun) askPolicy(ctx context.Context) []answerLine {
	p := g.s.config.Gate
	roll := told("a regression is rolled back by itself", p.OnRegression == gate.Rollback, nil, "gate.on_regression is "+string(p.OnRegression))
	roll.Wanted = false
	why := g.inhibited()
	free := told("nothing inhibits it", why == "", nil, "")
	free.Detail, free.Wanted = why, p.OnRegression == gate.Rollback
	out := []answerLine{roll, free}
	if g.base == nil {
		return out
	}
	w := g.world(ctx)
	var other []string
	for _, t := range w.Targets {
		if t.Good && t.Installed == gate.Yes && t.Kernel.Release != g.boot.Kernel.Release {
			other = append(other, t.Kernel.Release)
		}
	}
	back := told("there is another kernel that was good, to go back to", len(other) > 0, nil, "keep the last good kernel installed when the next one is")
	back.Detail, back.Wanted = strings.Join(other, ", "), p.OnRegression == gate.Rollback
	return append(out, back)
}

func (g *gateRun) askNotify(context.Context) []answerLine {
	names := g.s.config.Notify.Names()
	who := told("somebody is told over the network", len(names) > 0, nil, "add notify: to "+g.s.configPath+", then `lastgood notify --test`")
	who.Detail, who.Wanted = strings.Join(names, ", "), false
	waiting, err := g.spool.Waiting()
	sent := told("everything that was to be told was sent", len(waiting) == 0, err, "`lastgood notify` lists it, `lastgood notify --now` tries again")
	if len(waiting) > 0 {
		sent.Detail = fmt.Sprintf("%d wait, the oldest: %s", len(waiting), waiting[0])
	}
	out := []answerLine{who, sent}
	if m := g.s.config.Notify.Mail; m != nil {
		program := cmp.Or(m.Sendmail, notify.SendmailPath)
		err := unix.Access(program, unix.X_OK)
		l := told(program+" is there", err == nil, nil, "install a mail transport agent")
		out = append(out, l)
	}
	return out
}

// askGreenboot: two that decide about one boot undo each other.
func (g *gateRun) askGreenboot(ctx context.Context) []answerLine {
	there, err := g.anyOf(ctx, "/usr/lib/systemd/system/greenboot-healthcheck.service")
	if err == nil && !there {
		return nil
	}
	both, berr := g.anyOf(ctx, "/etc/systemd/system/basic.target.wants/lastgood-bless.service", "/etc/systemd/system/boot-complete.target.requires/lastgood-assess.service")
	return []answerLine{told("greenboot alone decides about a boot", !both, errors.Join(err, berr), "systemctl disable lastgood-bless.service lastgood-assess.service; deploy/greenboot has what it calls")}
}
