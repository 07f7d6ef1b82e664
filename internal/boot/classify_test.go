package boot

import (
	"context"
	"time"

	"slices"
	"strings"
	"testing"

	"lastgood/internal/bootloader"
	"lastgood/internal/source"
)

const (
	oldKernel = "6.1.0-40-amd64"
	newKernel = "6.1.0-41-amd64"
	bootA     = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
	bootB     = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
	bootC     = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
)

// loaderTo is a GRUB with both kernels that boots one of them.
func loaderTo(next, why string) bootloader.State {
	st := bootloader.State{Loader: bootloader.GRUB, Dir: "/boot/grub", Next: -1, Why: why}
	for i, r := range []string{newKernel, oldKernel} {
		st.Entries = append(st.Entries, bootloader.Entry{ID: "gnulinux-" + r, Release: r, Linux: "/boot/vmlinuz-" + r})
		if r == next {
			st.Next = i
		}
	}
	return st
}

func intentFor(release string) *Intent {
	return &Intent{Schema: IntentSchema, BootID: bootA, Running: oldKernel, Release: release, Entry: "gnulinux-" + release, Why: "saved (saved_entry=gnulinux-" + release + ")", Records: 3}
}

// journal is a history of boots that the journal knows, oldest first.
func journal(boots ...Past) History { return History{Boots: boots, Records: -1} }

func past(id, release string, seconds float64, ended string) Past {
	return Past{ID: plainID(id), Release: release, Seconds: seconds, Ended: ended}
}

func TestClassify(t *testing.T) {
	direct := journal(past(bootA, oldKernel, 86400, EndClean))
	once := intentFor(newKernel)
	once.Once, once.Why = true, "one-shot (next_entry=1)"
	kexec := intentFor(newKernel)
	kexec.Kexec = true
	noRelease := intentFor("")
	both := []string{oldKernel, newKernel}
	for name, c := range map[string]struct {
		s     Situation
		class Class
		also  []Condition
		why   string // a part of it
	}{
		"as intended":            {s: Situation{Running: newKernel, Intent: intentFor(newKernel), Loader: loaderTo(newKernel, "saved"), History: direct}, class: AsIntended, why: newKernel},
		"tried once as intended": {s: Situation{Running: newKernel, Intent: once, Loader: loaderTo(oldKernel, "saved"), History: direct}, class: AsIntended},
		"fell back, no boot between": {s: Situation{Running: oldKernel, Intent: intentFor(newKernel), Loader: loaderTo(newKernel, "saved"), History: direct},
			class: FellBack, why: "fell back by itself"},
		"a try that fell back": {s: Situation{Running: oldKernel, Intent: once, Loader: loaderTo(oldKernel, "saved"), History: direct}, class: FellBack, why: "one-shot"},
		"fell back behind two short boots": {s: Situation{Running: oldKernel, Intent: intentFor(newKernel), Loader: loaderTo(newKernel, "saved"),
			History: journal(past(bootA, oldKernel, 86400, EndClean), past(bootB, newKernel, 40, EndNone), past("dd", newKernel, 42, EndNone))},
			class: FellBack, why: "in between ran " + newKernel + " for 40 s, no shutdown record; then " + newKernel + " for 42 s"},
		"a long boot between takes the intent's place": {s: Situation{Running: oldKernel, Intent: intentFor(newKernel), Loader: loaderTo(oldKernel, "saved"),
			History: journal(past(bootA, oldKernel, 86400, EndClean), past(bootB, newKernel, 9000, EndNone))}, class: AsIntended, why: "what the loader boots"},
		"an update was installed in a boot of its own": {s: Situation{Running: newKernel, Intent: intentFor(oldKernel), Loader: loaderTo(newKernel, "saved"),
			History: journal(past(bootA, oldKernel, 86400, EndClean), past(bootB, oldKernel, 200, EndClean))}, class: AsIntended, why: "what the loader boots"},
		"a clean boot between, and the default is still missed": {s: Situation{Running: oldKernel, Intent: intentFor(newKernel), Loader: loaderTo(newKernel, "saved"),
			History: journal(past(bootA, oldKernel, 86400, EndClean), past(bootB, newKernel, 200, EndClean))}, class: FellBack, why: newKernel + " for 200 s"},
		"no journal, wtmp says it was the last boot": {s: Situation{Running: oldKernel, Intent: once, Loader: loaderTo(oldKernel, "saved"), History: History{Records: 4, Boots: []Past{{Release: oldKernel, Ended: EndClean}}}},
			class: FellBack},
		"no journal, no wtmp, the lasting default was missed": {s: Situation{Running: oldKernel, Intent: intentFor(newKernel), Loader: loaderTo(newKernel, "saved"), History: History{Records: -1}}, class: FellBack},
		"no journal, no wtmp, the default is another since": {s: Situation{Running: oldKernel, Intent: intentFor(newKernel), Loader: loaderTo(oldKernel, "saved"), History: History{Records: -1, Gaps: []string{"run journalctl: program is not installed"}}},
			class: CouldNotSay, why: "program is not installed"},
		"kexec":                    {s: Situation{Running: oldKernel, Intent: kexec, Loader: loaderTo(oldKernel, "saved"), History: direct}, class: CouldNotSay, why: "kexec"},
		"an intent without kernel": {s: Situation{Running: oldKernel, Intent: noRelease, Loader: loaderTo(oldKernel, "first entry"), History: direct}, class: AsIntended, why: "first entry"},
		"no intent, the default":   {s: Situation{Running: newKernel, Loader: loaderTo(newKernel, "first entry"), History: direct}, class: AsIntended, why: "first entry"},
		"no intent, not the default": {s: Situation{Running: oldKernel, Loader: loaderTo(newKernel, "first entry"), Required: No, History: direct},
			class: NotDefault, why: "no intent was left"},
		"no intent, installed since": {s: Situation{Running: oldKernel, Loader: loaderTo(newKernel, "first entry"), Required: Yes, History: direct}, class: CouldNotSay, also: []Condition{RebootPending}},
		"no intent, one-shot set":    {s: Situation{Running: oldKernel, Loader: loaderTo(newKernel, "one-shot (next_entry=0)"), History: direct}, class: CouldNotSay},
		"intended, then another was installed": {s: Situation{Running: oldKernel, Intent: intentFor(oldKernel), Loader: loaderTo(newKernel, "first entry"), History: direct},
			class: AsIntended, also: []Condition{RebootPending}},
		"modules gone, next boot fails": {s: Situation{Running: oldKernel, Intent: intentFor(oldKernel), Loader: loaderTo(oldKernel, "saved"), Modules: No, NextFaults: []string{"kernel image is empty"}, History: direct},
			class: AsIntended, also: []Condition{ModulesGone, NextBootFails}},
		"loader says another kernel": {s: Situation{Running: oldKernel, Image: newKernel, Loader: loaderTo(newKernel, "saved"), History: direct}, class: WrongLoader, why: "started " + newKernel},
		"loader has no such entry": {s: Situation{Running: "6.12.1-pve", Loader: loaderTo(newKernel, "saved"), Installed: append([]string{"6.12.1-pve"}, both...), History: direct},
			class: WrongLoader, why: "no entry for 6.12.1-pve"},
		"its kernel was removed while it runs": {s: Situation{Running: "6.12.1-pve", Loader: loaderTo(newKernel, "saved"), Installed: both, Required: No, History: direct}, class: NotDefault},
		"selected entry is of another kernel": {s: func() Situation {
			st := loaderTo(newKernel, "default")
			st.Loader, st.Selected = bootloader.SystemdBoot, "gnulinux-"+newKernel
			return Situation{Running: oldKernel, Loader: st, History: direct}
		}(), class: WrongLoader, why: "EFI system partition"},
		"no loader":          {s: Situation{Running: oldKernel, Loader: bootloader.State{Next: -1, Why: "no boot loader configuration is found"}}, class: CouldNotSay, why: "no boot loader"},
		"corrupt grubenv":    {s: Situation{Running: oldKernel, Loader: bootloader.State{Loader: bootloader.GRUB, Next: -1, Why: "grub.cfg sets the default by an environment block that could not be read"}, LoaderErrs: []string{"read /boot/grub/grubenv: 0 bytes"}}, class: CouldNotSay, why: "environment block"},
		"unreadable release": {s: Situation{Loader: loaderTo(newKernel, "saved"), Intent: intentFor(newKernel)}, class: CouldNotSay, why: "release"},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.Boot = bootC
			o := Classify(c.s)
			if o.Class != c.class || !slices.Equal(o.Also, c.also) || !strings.Contains(o.Why, c.why) || o.Why == "" {
				t.Errorf("%q %q, want %q %q with %q\nwhy: %s", o.Class, o.Also, c.class, c.also, c.why, o.Why)
			}
			if o.Class == FellBack && (o.Intended == "" || o.Running == "" || !strings.Contains(o.Why, o.Intended) || !strings.Contains(o.Why, o.Running)) {
				t.Errorf("a fallback must name both kernels: %+v", o)
			}
		})
	}
}

func TestIntentIsOfAnotherBoot(t *testing.T) {
	a := &Intent{Schema: IntentSchema, BootID: bootA, Release: newKernel}
	b := &Intent{Schema: IntentSchema, BootID: bootB, Release: oldKernel}
	b.After(a)
	// The unit was stopped without a shutdown: boot B wrote an intent, and reads that of A.
	if got := b.For(bootB); got == nil || got.BootID != bootA {
		t.Errorf("for B: %+v", got)
	}
	if got := b.For(strings.ToUpper(plainID(bootC))); got != b {
		t.Errorf("for C: %+v", got)
	}
	again := &Intent{Schema: IntentSchema, BootID: bootB}
	again.After(b)
	if again.Previous == nil || again.Previous.BootID != bootA {
		t.Errorf("a second intent of one boot lost the first's: %+v", again.Previous)
	}
	c := &Intent{Schema: IntentSchema, BootID: bootC}
	c.After(again)
	if c.Previous != nil && c.Previous.Previous != nil {
		t.Error("intents pile up")
	}
	var none *Intent
	if none.For(bootA) != nil {
		t.Error("no intent gave one")
	}
}

func FuzzParseIntent(f *testing.F) {
	f.Add([]byte(`{"schema":"lastgood.intent/v1","boot_id":"a","previous":{"boot_id":""}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ParseIntent(b)
		if (in == nil) != (err != nil) {
			t.Fatalf("%v, %v", in, err)
		}
		if in != nil {
			if in.BootID == "" || in.For(in.BootID) != nil && plainID(in.For(in.BootID).BootID) == plainID(in.BootID) {
				t.Errorf("%+v", in)
			}
			_ = in.Told()
		}
	})
}

// TestArchIsNoFallback: the image of Arch is called after the package, whose module tree has the release.
func TestArchIsNoFallback(t *testing.T) {
	h := readHost(t, "since-arch").with("/boot/grub/grub.cfg", "menuentry 'Arch Linux' --id arch {\n\tlinux /boot/vmlinuz-linux root=/dev/vda1\n\tinitrd /boot/initramfs-linux.img\n}\n").
		with("/boot/vmlinuz-linux", "x").with("/boot/initramfs-linux.img", "070701").with("/usr/lib/modules/6.11.2-arch1-1/pkgbase", "linux\n").with("/usr/lib/modules/6.11.2-arch1-1/modules.dep", "a:\n").
		with("/proc/sys/kernel/random/boot_id", bootA+"\n")
	in := ReadIntent(context.Background(), h.root(), time.Time{})
	if in.Release != "6.11.2-arch1-1" {
		t.Fatalf("intent: %+v", in)
	}
	h.with("/proc/sys/kernel/random/boot_id", bootB+"\n")
	s, _ := situation(context.Background(), source.Host{Root: h.root()}, Prior{Run: answers(nil), Intent: func() (*Intent, error) { return &in, nil }})
	if o := Classify(s); o.Class != AsIntended || o.Basis != "intent" {
		t.Errorf("%+v", o)
	}
	// Two trees of one package: which one the image is of cannot be told, and nothing is claimed.
	h.with("/usr/lib/modules/6.11.1-arch1-1/pkgbase", "linux\n")
	if in := ReadIntent(context.Background(), h.root(), time.Time{}); in.Release != "" || !strings.Contains(in.Told(), "not known") {
		t.Errorf("two trees: %+v", in)
	}
}
