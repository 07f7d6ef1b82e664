package boot

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"lastgood/internal/bootloader"
	"lastgood/internal/kernels"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// Prior is what the sources of this file lean on beside the host's files. Each may be nil.
type Prior struct {
	// Intent gives what the boot before left; nil without an error where it left nothing.
	Intent func() (*Intent, error)
	// NextBoot says why the next boot would fail, and what of it could not be told.
	NextBoot func(context.Context, source.Host) (faults, gaps []string)
	// Run runs programs of the host; nil means HostRunner.
	Run Runner
}

// Truth are the sources that say how this boot came about and what it is made of. They are of no
// use in a VM that only measures.
func Truth(p Prior) []source.Source {
	return []source.Source{outcomeSource(p), entrySource, componentSource(p), transactionSource(p)}
}

// OutcomeKind and PastKind are the kinds of how this boot came about, and of the one before.
const (
	OutcomeKind = "boot.outcome"
	PastKind    = "boot.history"
	// ThisBoot is the only subject of OutcomeKind, Before that of PastKind.
	ThisBoot = "this-boot"
	Before   = "previous"
)

func outcomeSource(p Prior) source.Source {
	return source.Source{
		Name:  "boot_outcome",
		Doc:   "Whether this boot is the one that was meant, and how the boot before it ended.",
		Kinds: []snapshot.Kind{outcomeKind, pastKind},
		Read: func(ctx context.Context, host source.Host) ([]snapshot.Subject, error) {
			s, gaps := situation(ctx, host, p)
			return []snapshot.Subject{outcomeSubject(Classify(s), &s, gaps), pastSubject(&s)}, nil
		},
	}
}

var outcomeKind = snapshot.Kind{
	Name: OutcomeKind,
	Doc: "How this boot came about: what the loader was set to boot at the last shutdown (`intent.json`) against what runs. " +
		"A kernel that is not the one that was meant makes the verdict invalid, whatever its rules say.",
	Attrs: []snapshot.Attr{
		{Name: "class", Doc: "as intended, fell back, not the default, wrong loader configuration"},
		{Name: "intended", Doc: "release of the kernel that was to run"},
		{Name: "intended_entry", Noise: snapshot.Evidence, Doc: "boot entry that was to be booted"},
		{Name: "running", Noise: snapshot.Evidence, Doc: "release of the kernel that runs"},
		{Name: "basis", Doc: "what the class rests on: intent (written at the last shutdown) or loader (what it would boot now)"},
		{Name: "reboot_pending", Doc: "whether something waits for a reboot: yes or no"},
		{Name: "modules", Doc: "whether the module tree of the running kernel is there: yes or no"},
		{Name: "next_boot", Doc: "whether what boots next has image, initramfs and modules: well or fails"},
		{Name: "between", Noise: snapshot.Evidence, Doc: "boots after the one that had the intent and before this one"},
		{Name: "asked_by", Noise: snapshot.Evidence, Doc: "who asked for the reboot, where it was scheduled"},
		{Name: "why", Noise: snapshot.Evidence, Doc: "what the class rests on, in words"},
		{Name: "grubenv", Noise: snapshot.Evidence, Doc: "what GRUB's environment block says of defaults, one-shot entries and boot counting"},
		{Name: "next_faults", Noise: snapshot.Evidence, Doc: "why the next boot would fail"},
	},
	Rules: []snapshot.Rule{{
		Code: "boot-fell-back", On: snapshot.OnBecomes, Attr: "class", To: []string{string(FellBack)}, Severity: snapshot.Critical, Class: snapshot.ClassConfig,
		Message: "{attr:intended} was to boot, and {attr:running} runs",
		Hint:    "see why {attr:intended} did not come up (`lastgood show current`, the console, /sys/fs/pstore) before it is booted again",
	}, {
		Code: "boot-not-default", On: snapshot.OnBecomes, Attr: "class", To: []string{string(NotDefault)}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
		Message: "the loader's default is {attr:intended}, and {attr:running} runs",
		Hint:    "run `lastgood __intent` at shutdown (lastgood-intent.service), and a fallback can be told from a choice",
	}, {
		Code: "boot-wrong-loader", On: snapshot.OnBecomes, Attr: "class", To: []string{string(WrongLoader)}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
		Message: "this boot did not come by the loader configuration that is on this host",
		Hint:    "look for a second EFI system partition or copy of /boot: `efibootmgr -v`, `lsblk -o NAME,PARTTYPENAME,MOUNTPOINTS`",
	}, {
		Code: "reboot-pending", On: snapshot.OnBecomes, Attr: "reboot_pending", From: []string{string(No)}, To: []string{string(Yes)}, Severity: snapshot.Info, Class: snapshot.ClassConfig,
		Message: "a reboot is pending: what is installed is not what runs",
	}, {
		Code: "running-modules-gone", On: snapshot.OnBecomes, Attr: "modules", From: []string{string(Yes)}, To: []string{string(No)}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
		Message: "the modules of the running kernel {attr:running} are gone: nothing that is not loaded yet can be loaded",
		Hint:    "reboot, or install the kernel's package again",
	}, {
		Code: "next-boot-fails", On: snapshot.OnBecomes, Attr: "next_boot", From: []string{"well"}, To: []string{"fails"}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
		Message: "the next boot will fail",
		Hint:    "`lastgood preflight` tells more; mend it before this host is rebooted",
	}},
}

var pastKind = snapshot.Kind{
	Name: PastKind,
	Doc:  "How the boot before this one ended, by the journal and wtmp, and what pstore and the watchdogs kept of crashes.",
	Attrs: []snapshot.Attr{
		{Name: "release", Noise: snapshot.Evidence, Doc: "kernel of the boot before"},
		{Name: "ended", Doc: "clean, or no record: a crash, a power cut or a watchdog"},
		{Name: "how", Noise: snapshot.Evidence, Doc: "reboot, poweroff, halt or kexec"},
		{Name: "by", Noise: snapshot.Evidence, Doc: "who asked for it, as far as the logs say"},
		{Name: "uptime_seconds", Unit: snapshot.Seconds, Noise: snapshot.Ambient, Doc: "how long the boot before ran"},
		{Name: "crashes", Better: snapshot.LowerBetter, Doc: "records of panics that pstore kept"},
		{Name: "watchdogs", Better: snapshot.LowerBetter, Doc: "why watchdogs say that the machine was reset"},
	},
	Rules: []snapshot.Rule{{
		Code: "previous-boot-no-shutdown", On: snapshot.OnBecomes, Attr: "ended", From: []string{EndClean}, To: []string{EndNone}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
		Message: "the boot before left no shutdown record: crash, power or watchdog",
		Hint:    "`journalctl -b -1 -e`, the BMC's event log and /sys/fs/pstore may tell which",
	}, {
		Code: "panic-recorded", On: snapshot.OnWorse, Attr: "crashes", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "a panic was recorded since the last good boot: {gained}",
	}, {
		Code: "watchdog-reset", On: snapshot.OnWorse, Attr: "watchdogs", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
		Message: "a watchdog says why the machine was reset: {gained}",
	}},
}

// situation reads all that a boot is classified by; gaps say what could not be read.
func situation(ctx context.Context, host source.Host, p Prior) (Situation, []string) {
	r := &reader{ctx: ctx, root: host.Root, errs: map[string]string{}}
	s := Situation{Boot: fact(r, "boot_id", bootID), Running: fact(r, "release", release)}
	s.Image = bootImage(fact(r, "cmdline", cmdline))
	var gaps []string
	if p.Intent != nil {
		in, err := p.Intent()
		if err != nil {
			gaps = append(gaps, err.Error())
		}
		s.Intent = in.For(s.Boot)
	}
	st, errs := readLoader(ctx, host.Root)
	s.Loader = st
	for _, err := range errs {
		s.LoaderErrs = append(s.LoaderErrs, err.Error())
	}
	installed, errs := kernels.Installed(ctx, host.Root)
	for _, k := range installed {
		if k.Image != "" {
			s.Installed = append(s.Installed, k.Release)
		}
	}
	if len(errs) > 0 {
		s.Installed = nil
	}
	s.Modules = modulesThere(ctx, host.Root, s.Running)
	s.Required = rebootRequired(ctx, host.Root)
	if p.NextBoot != nil && st.Loader != "" {
		var g []string
		s.NextFaults, g = p.NextBoot(ctx, host)
		gaps = append(gaps, g...)
	}
	run := p.Run
	if run == nil {
		run = HostRunner(host.Root)
	}
	s.History = ReadHistory(ctx, host.Root, run, s.Boot)
	return s, append(gaps, s.LoaderErrs...)
}

// readLoader reads the loader's state, and fills in the releases of entries whose image is called
// after a package: Arch's module trees say in pkgbase whose they are.
func readLoader(ctx context.Context, root *sysfs.Root) (bootloader.State, []error) {
	st, errs := bootloader.Read(ctx, root)
	var of map[string]string
	for i := range st.Entries {
		e := &st.Entries[i]
		name, ok := strings.CutPrefix(path.Base(e.Linux), "vmlinuz-")
		if e.Release != "" || !ok {
			continue
		}
		if of == nil {
			of = packageReleases(ctx, root)
		}
		e.Release = of[name]
	}
	return st, errs
}

// packageReleases is the release of each package that has exactly one module tree.
func packageReleases(ctx context.Context, root *sysfs.Root) map[string]string {
	out := map[string]string{}
	seen := map[string]int{}
	releases, _ := root.List(ctx, "/usr/lib/modules") // what cannot be read stays unknown
	for _, r := range releases {
		if base, err := root.Attr(ctx, "/usr/lib/modules", r, "pkgbase"); err == nil && base != "" {
			out[base] = r
			seen[base]++
		}
	}
	for base, n := range seen {
		if n > 1 {
			delete(out, base)
		}
	}
	return out
}

// bootImage is the release that BOOT_IMAGE names, which GRUB and extlinux set; "" where it has none.
func bootImage(cmdline string) string {
	for w := range strings.FieldsSeq(cmdline) {
		if w == "--" {
			return ""
		}
		name, ok := strings.CutPrefix(w, "BOOT_IMAGE=")
		if !ok {
			continue
		}
		if r, ok := strings.CutPrefix(path.Base(name), "vmlinuz-"); ok && r != "" && r[0] >= '0' && r[0] <= '9' {
			return r
		}
	}
	return ""
}

func modulesThere(ctx context.Context, root *sysfs.Root, release string) Answer {
	if release == "" || strings.ContainsRune(release, '/') {
		return ""
	}
	built := false // a kernel without modules has no tree, and is whole
	if ok, err := root.Exists(ctx, "/proc/modules"); err != nil || !ok {
		built = true
	}
	for _, dir := range []string{"/usr/lib/modules", "/lib/modules"} {
		names, err := root.List(ctx, dir, release)
		switch {
		case err == nil && slices.Contains(names, "modules.dep"):
			return Yes
		case err != nil && !sysfs.Absent(err):
			return ""
		}
	}
	if built {
		return ""
	}
	return No
}

// rebootRequired looks for what dpkg's hooks leave in /run, which is empty when a boot begins.
func rebootRequired(ctx context.Context, root *sysfs.Root) Answer {
	there, err := root.Exists(ctx, "/run/reboot-required")
	switch {
	case err != nil:
		return ""
	case there:
		return Yes
	}
	return No
}

func outcomeSubject(o Outcome, s *Situation, gaps []string) snapshot.Subject {
	sub := snapshot.Subject{Kind: OutcomeKind, ID: ThisBoot, Label: "this boot", Outcome: snapshot.Measured}
	set := func(name string, v string) {
		if v != "" {
			sub.Set(name, snapshot.Text(v))
		}
	}
	set("intended", o.Intended)
	set("intended_entry", o.IntendedEntry)
	set("running", o.Running)
	set("basis", o.Basis)
	set("why", o.Why)
	set("modules", string(s.Modules))
	if s.Intent != nil {
		set("asked_by", s.Intent.AskedBy)
	}
	if s.Required != "" || slices.Contains(o.Also, RebootPending) {
		set("reboot_pending", string(answer(slices.Contains(o.Also, RebootPending))))
	}
	switch {
	case len(s.NextFaults) > 0:
		set("next_boot", "fails")
		sub.Set("next_faults", snapshot.List(s.NextFaults...))
	case s.Loader.NextEntry() != nil && len(gaps) == 0:
		set("next_boot", "well")
	}
	var env []string
	for _, name := range []string{"saved_entry", "next_entry", "prev_saved_entry", "boot_counter", "boot_success", "boot_indeterminate", "recordfail", "boot_once"} {
		if v, ok := s.Loader.Env[name]; ok {
			env = append(env, name+"="+flatText(v))
		}
	}
	if len(env) > 0 {
		sub.Set("grubenv", snapshot.List(env...))
	}
	if len(o.Between) > 0 {
		set("between", strings.TrimPrefix(attempts(o.Between), "; "))
	}
	switch {
	case o.Class != CouldNotSay:
		set("class", string(o.Class))
	case s.Intent == nil && s.Loader.Loader == "" && len(s.LoaderErrs) == 0:
		sub.Outcome, sub.Reason = snapshot.Unsupported, o.Why
	default:
		sub.Fail("class", errors.New(o.Why))
	}
	for _, g := range gaps {
		sub.Fail("why", errors.New(g))
	}
	return sub
}

func answer(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

func pastSubject(s *Situation) snapshot.Subject {
	sub := snapshot.Subject{Kind: PastKind, ID: Before, Label: "the boot before", Outcome: snapshot.Measured}
	h := &s.History
	if p := h.Previous(); p != nil {
		for _, a := range []struct{ name, value string }{{"release", p.Release}, {"ended", p.Ended}, {"how", p.How}} {
			if a.value != "" {
				sub.Set(a.name, snapshot.Text(a.value))
			}
		}
		if len(p.By) > 0 {
			sub.Set("by", snapshot.List(p.By...))
		}
		if p.Seconds > 0 {
			sub.Set("uptime_seconds", snapshot.Float(p.Seconds))
		}
	}
	if len(h.Boots) == 0 {
		sub.Fail("ended", errors.New(cmp.Or(strings.Join(h.Gaps, "; "), "no boot before this one is on record")))
	}
	sub.Set("crashes", snapshot.List(h.Crashes...))
	sub.Set("watchdogs", snapshot.List(h.Watchdogs...))
	return sub
}
