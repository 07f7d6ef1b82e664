package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/boot"
	"lastgood/internal/bootloader"
	"lastgood/internal/gate"
	"lastgood/internal/notify"
	"lastgood/internal/preflight"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// runDir is where the gate's own files of one boot are.
const runDir = "/run/lastgood"

// gateRun is what the gate's commands have in common: the state, the loader, the hold
// file, and who is told.
type gateRun struct {
	s      *session
	runDir string
	settle time.Duration
	// against is what is compared with, "" for the last good boot.
	against string

	keeper  gate.Keeper
	hold    gate.HoldFile
	setter  *bootloader.Setter
	system  gate.Systemctl
	journal notify.Journal
	motd    notify.MOTD
	spool   *notify.Spool

	live    bool // this host's loader, units and log are meant
	boot    gate.Boot
	rep     *report.Report // of this run's check
	most    gate.Reaction  // the most that its findings may lead to, "" is what the policy says
	late    []string       // runtimes whose containers may still come
	base    *snapshot.Identity
	spooled bool

	forgets bool            // what is decided cannot be remembered, and somebody was told
	waits   string          // what was said last of why it is looked again
	said    map[string]bool // errors that were told in this run

	journalctl []string  // where the journal's reader may be
	accepted   time.Time // when the last good boot was made so, once that is asked
}

// gateFlags adds the flags that the gate's commands share.
func gateFlags(f *pflag.FlagSet) *gateRun {
	g := &gateRun{}
	f.StringVar(&g.runDir, "run-dir", runDir, "`DIR` of the hold file; another one than this touches no unit, loader or log of this host")
	return g
}

// open prepares the run, once; nothing is written.
func (g *gateRun) open(ctx context.Context, s *session) error {
	if g.s != nil {
		return nil
	}
	if err := s.ownState(); err != nil {
		return err
	}
	s.output = cmp.Or(s.output, "table")
	g.s, g.live = s, s.root.Live() && g.runDir == runDir
	g.journalctl = []string{"/usr/bin/journalctl", "/bin/journalctl"}
	g.keeper = gate.Keeper{Folder: baseline.OpenFolder(s.stateDir, nil)}
	g.hold = gate.HoldFile(filepath.Join(g.runDir, "hold"))
	g.motd = notify.MOTD(filepath.Join(g.runDir, "motd"))
	g.setter = &bootloader.Setter{Root: s.root, Obstacle: func(ctx context.Context, dir string) (string, error) {
		return preflight.GRUBCannotWrite(ctx, s.root, dir)
	}}
	if g.live {
		g.system, g.journal, g.motd = gate.HostSystemctl(), notify.HostJournal(), notify.MOTDPath
	}
	id, err := s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return hinted(err, "is /proc mounted here? In a chroot: mount -t proc proc /proc")
	}
	g.boot.ID = id
	g.spool = &notify.Spool{Folder: baseline.OpenFolder(filepath.Join(s.stateDir, "spool"), nil), Config: &s.config.Notify, Now: s.env.clock, BootID: id}
	return nil
}

// identify says which kernel runs: by the state where it is of this boot, else by reading it.
func (g *gateRun) identify(ctx context.Context) {
	if g.rep != nil && g.rep.Current != nil {
		g.boot.Kernel = kernelOf(g.rep.Current)
		return
	}
	if g.boot.Kernel.Release != "" {
		return
	}
	if s, err := g.keeper.Load(); err == nil && s.Boot.ID == g.boot.ID && s.Boot.Kernel.BuildID != "" {
		g.boot.Kernel = s.Boot.Kernel
		return
	}
	id := boot.Identify(ctx, g.s.root)
	g.boot.Kernel = kernelOf(&id)
}

func kernelOf(id *snapshot.Identity) gate.Kernel {
	return gate.Kernel{Release: id.Kernel.Release, BuildID: id.Kernel.BuildID}
}

// skipped reports whether lastgood.skip stands on the kernel's command line. A line that
// cannot be read has none.
func (g *gateRun) skipped(ctx context.Context) bool {
	line, err := g.s.root.Attr(ctx, "/proc/cmdline")
	return err == nil && gate.Skipped(line)
}

// world is what is so outside. What could not be read is told and never taken for a yes.
func (g *gateRun) world(ctx context.Context) gate.World {
	g.identify(ctx)
	w := gate.World{Skip: g.skipped(ctx), Inhibited: g.inhibited(), Writable: gate.Unknown}
	st, errs := bootloader.Read(ctx, g.s.root)
	if e := st.NextEntry(); e != nil && len(errs) == 0 && !st.Once() {
		w.Next = e.Release
	}
	w.Writable, w.Why = g.writable(ctx)
	store, err := g.s.openStore(ctx)
	if err != nil {
		g.say(err)
		return w
	}
	base, _, err := store.LastGood()
	if err == nil {
		g.base = &base.Identity
		old := kernelOf(&base.Identity)
		w.KernelChanged = old.Release != g.boot.Kernel.Release || old.BuildID != "" && g.boot.Kernel.BuildID != "" && old.BuildID != g.boot.Kernel.BuildID
	}
	w.Targets = g.targets(ctx, store, &st)
	return w
}

// writable says whether the loader can be set.
func (g *gateRun) writable(ctx context.Context) (gate.Answer, string) {
	if !g.live && g.setter.Prefix == "" {
		return gate.No, "this is a recorded host, or a trial run"
	}
	why, err := g.setter.Able(ctx)
	switch {
	case err != nil:
		return gate.Unknown, "it could not be told whether the boot loader can be set: " + err.Error()
	case why != "":
		return gate.No, why
	}
	return gate.Yes, ""
}

// inhibitors are the files that keep everything from being undone, but for a person.
func (g *gateRun) inhibitors() []string {
	return []string{filepath.Join(g.runDir, "inhibit"), "/etc/lastgood/inhibit"}
}

// inhibited says why nothing may be undone now, or "".
func (g *gateRun) inhibited() string {
	for _, name := range g.inhibitors() {
		b, err := os.ReadFile(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return "it could not be told whether that is inhibited: " + err.Error()
		default:
			return strings.TrimSpace(fmt.Sprintf("%s inhibits it. %s", name, firstLine(string(b))))
		}
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// targets are the kernels to go back to: the last good boot's first, then those of other
// boots that were good, newest first, then what else is installed.
func (g *gateRun) targets(ctx context.Context, store *baseline.Store, st *bootloader.State) []gate.Target {
	var out []gate.Target
	seen := map[string]bool{}
	add := func(k gate.Kernel, good bool) {
		if k.Release == "" || seen[k.Release] {
			return
		}
		seen[k.Release] = true
		out = append(out, gate.Target{Kernel: k, Good: good, Installed: g.bootable(ctx, st, k.Release)})
	}
	if g.base != nil {
		add(kernelOf(g.base), true)
	}
	entries, err := store.List()
	if err != nil {
		g.say(err)
	}
	for _, e := range entries {
		if e.Result == nil || e.Result.Verdict != snapshot.Good || seen[e.Release] {
			continue
		}
		if snap, err := store.Load(e.BootID); err == nil {
			add(kernelOf(&snap.Identity), true)
		}
	}
	for _, e := range st.Entries {
		add(gate.Kernel{Release: e.Release}, false)
	}
	return out
}

// bootable reports whether a kernel's entry, image, initramfs and modules are there.
func (g *gateRun) bootable(ctx context.Context, st *bootloader.State, release string) gate.Answer {
	answer := gate.No
	for _, e := range st.Entries {
		if e.Release != release || e.Linux == "" {
			continue
		}
		there := g.allThere(ctx, append([]string{e.Linux}, e.Initrd...))
		if there == gate.Yes {
			return g.modulesThere(ctx, release)
		}
		if there == gate.Unknown {
			answer = gate.Unknown
		}
	}
	return answer
}

func (g *gateRun) allThere(ctx context.Context, names []string) gate.Answer {
	for _, n := range names {
		there, err := g.s.root.Exists(ctx, n)
		if err != nil {
			return gate.Unknown
		}
		if !there {
			return gate.No
		}
	}
	return gate.Yes
}

// modulesThere looks for the list that depmod makes, which is there for every kernel that
// has modules; the folder alone stays behind when a kernel is removed.
func (g *gateRun) modulesThere(ctx context.Context, release string) gate.Answer {
	answer := gate.No
	for _, dir := range []string{"/usr/lib/modules", "/lib/modules"} {
		switch there := g.allThere(ctx, []string{filepath.Join(dir, release, "modules.dep")}); there {
		case gate.Yes:
			return there
		case gate.Unknown:
			answer = there
		}
	}
	return answer
}
