package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/bootloader"
	"lastgood/internal/contract"
	"lastgood/internal/gate"
	"lastgood/internal/notify"
	"lastgood/internal/snapshot"
)

func (g *gateRun) askLoader(ctx context.Context) []answerLine {
	st, errs := bootloader.Read(ctx, g.s.root)
	next := told("it is known what boots next", st.NextEntry() != nil, errors.Join(errs...), "`lastgood preflight` looks closer")
	if e := st.NextEntry(); e != nil {
		next.Detail = cmp.Or(e.Release, e.Title) + " by " + st.Why
	} else if next.Detail == "" {
		next.Detail = st.Why
	}
	answer, why := g.writable(ctx)
	set := answerLine{Question: "the boot loader can be set", Answer: answer, Wanted: true, Detail: why,
		Hint: "without it a bad boot is told and held, and never undone by itself; docs/gate.md says which loaders can"}
	if answer == gate.Yes {
		set.Detail = st.Loader
	}
	return []answerLine{next, set}
}

// askPolicy: what would be done about a bad boot, and whether it could be.
func (g *gateRun) askPolicy(ctx context.Context) []answerLine {
	p := g.s.config.Gate
	roll := unwanted(told("a regression is rolled back by itself", p.OnRegression == gate.Rollback, nil,
		"gate.on_regression is "+string(p.OnRegression)+"; rollback in "+g.s.configPath+" would have it done, where the next line is ok"))
	could := g.askRollback(ctx)
	could.Wanted = p.OnRegression == gate.Rollback
	return []answerLine{roll, could}
}

// askRollback asks the gate what it would do, were the next kernel worse.
func (g *gateRun) askRollback(ctx context.Context) answerLine {
	l := told("a rollback could be carried out", false, nil, "`lastgood rollback` and the boot loader's menu do it by hand")
	if g.base == nil {
		l.Detail, l.Hint = "there is no last good boot to go back to", ""
		return l
	}
	st, err := g.keeper.Load()
	if err != nil {
		return told(l.Question, false, err, l.Hint)
	}
	w := g.world(ctx)
	bad := g.boot.Kernel
	if !w.KernelChanged { // of the next one, then
		bad = gate.Kernel{Release: "another kernel"}
	}
	w.KernelChanged, w.Next = true, bad.Release
	here := gate.Boot{ID: g.boot.ID, Kernel: bad}
	trial := gate.State{Boot: here, Verdict: snapshot.Regressed, Wants: gate.Rollback, Struck: true, Strikes: 1, Bad: st.Bad, Lost: st.Lost}
	after, acts := gate.Decide(trial, gate.Event{Type: gate.Decided, Boot: here, World: w}, gate.Policy{OnRegression: gate.Rollback, MaxStrikes: g.s.config.Gate.MaxStrikes})
	for _, a := range acts {
		if a.Act == gate.Reboot {
			l.Answer, l.Detail = gate.Yes, "to kernel "+after.Back.To.Release
		} else if a.Act == gate.Tell && a.Notice == gate.NoticeRefused {
			l.Detail = strings.TrimPrefix(a.Text, "this boot is not undone: ")
		}
	}
	if w.Skip {
		l.Detail = gate.SkipWord + " is on the kernel's command line"
	}
	installed, err := g.anyOf(ctx, unitFiles("lastgood-decide.service")...)
	if l.Answer == gate.Yes && (err != nil || !installed) {
		l.Answer, l.Detail = gate.No, "lastgood-decide.service, which would do it, is not installed"
	}
	return l
}

// askContract: one file that cannot be read is a host that is held to less than somebody thinks.
func (g *gateRun) askContract(ctx context.Context) []answerLine {
	all, err := contract.Load(ctx, g.s.root, contract.Folder)
	if err == nil && len(all) == 0 {
		return []answerLine{unwanted(told("it is declared what this host must have", false, nil, "`lastgood contract learn > "+contract.Folder+"/host.yaml` writes a draft; without it a boot is held to the last good one alone"))}
	}
	read := told("the contracts in "+contract.Folder+" can be read", err == nil, nil, "`lastgood contract check` tells the same; the others are checked meanwhile")
	if err != nil {
		read.Detail = err.Error()
	}
	ours, err := contract.Applying(ctx, g.s.host(), all)
	checks := 0
	for i := range ours {
		checks += len(ours[i].Checks)
	}
	here := unwanted(told("some of it is for this host", len(ours) > 0, err, "`match:` of no contract fits this host"))
	if here.Answer == gate.Yes {
		here.Detail = fmt.Sprintf("%d of %d contracts, %d checks", len(ours), len(all), checks)
	}
	return []answerLine{read, here}
}

func (g *gateRun) askNotify(context.Context) []answerLine {
	names := g.s.config.Notify.Names()
	who := unwanted(told("somebody is told over the network", len(names) > 0, nil, "add notify: to "+g.s.configPath+", then `lastgood notify --test`"))
	who.Detail = strings.Join(names, ", ")
	waiting, err := g.spool.Waiting()
	sent := told("everything that was to be told was sent", len(waiting) == 0, err, "`lastgood notify` lists it, `lastgood notify --now` tries again")
	if len(waiting) > 0 {
		sent.Detail = fmt.Sprintf("%d wait, the oldest: %s", len(waiting), waiting[0])
	}
	out := []answerLine{who}
	if len(names) > 0 {
		out = append(out, g.askDelivered(names)...)
	}
	out = append(out, sent)
	if m := g.s.config.Notify.Mail; m != nil {
		program := cmp.Or(m.Sendmail, notify.SendmailPath)
		err := unix.Access(program, unix.X_OK)
		out = append(out, told(program+" is there", err == nil, nil, "install a mail transport agent"))
	}
	return out
}

// askDelivered: a target that never took a message may be misspelt.
func (g *gateRun) askDelivered(names []string) []answerLine {
	last, err := g.spool.Delivered()
	if err != nil {
		return []answerLine{told("each of them took a message before", false, err, "")}
	}
	taken := map[string]notify.Delivery{}
	for _, d := range last {
		taken[d.Target] = d
	}
	var out []answerLine
	for _, n := range names {
		d, ok := taken[n]
		l := told(n+" took a message", ok, nil, "`lastgood notify --test` sends one")
		if ok {
			l.Detail = fmt.Sprintf("%s, %s", d.Event, d.At.UTC().Format("2006-01-02 15:04 UTC"))
		}
		if strings.HasPrefix(n, "dead_man ") { // it is fetched when a boot is good, and never for a test
			l.Hint = "it is fetched at the next good boot"
		}
		out = append(out, unwanted(l))
	}
	return out
}
