package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"lastgood/internal/gate"
)

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

// serviceUnits are those of the package and where each is enabled.
var serviceUnits = []struct{ name, wantedBy string }{
	{gate.GateUnit, "multi-user.target.wants"},
	{gate.AssessUnit, "boot-complete.target.wants"},
	{verdictUnit, "boot-complete.target.requires"},
	{"lastgood-bless.service", "basic.target.wants"},
	{"lastgood-decide.service", ""},
	{"lastgood-intent.service", "multi-user.target.wants"},
	{"lastgood-notify.timer", "timers.target.wants"},
	{"lastgood-watch.timer", "timers.target.wants"},
}

// serveSocket is where results are served, once somebody asks for it.
const serveSocket = "lastgood-serve.socket"

func (g *gateRun) askUnits(ctx context.Context) []answerLine {
	there, err := g.systemdRuns(ctx)
	sd := told("systemd runs this host", there, err, "without it nothing runs at boot by itself: run `lastgood check` from what does")
	if sd.Answer != gate.Yes {
		return []answerLine{sd}
	}
	out := []answerLine{sd}
	var missing []string
	for _, u := range serviceUnits {
		l, installed := g.askUnit(ctx, u.name, u.wantedBy)
		if !installed {
			missing = append(missing, u.name)
		} else if u.wantedBy != "" || l.Answer != gate.Yes {
			out = append(out, l)
		}
	}
	if len(missing) > 0 {
		l := told("the units of the package are installed", false, nil, "install the package, or deploy/systemd of the source")
		l.Detail = strings.Join(missing, ", ") + " wanting"
		return append(out, l)
	}
	return append(out, g.askServe(ctx))
}

func (g *gateRun) systemdRuns(ctx context.Context) (bool, error) {
	return g.s.root.Exists(ctx, "/run/systemd/system")
}

// unitFiles are where units are, of an administrator and of packages.
func unitFiles(name string) []string {
	return []string{"/etc/systemd/system/" + name, "/usr/lib/systemd/system/" + name, "/lib/systemd/system/" + name}
}

// askUnit says whether a unit is enabled; one that nothing enables needs only to be there.
func (g *gateRun) askUnit(ctx context.Context, name, wantedBy string) (l answerLine, installed bool) {
	installed, err := g.anyOf(ctx, unitFiles(name)...)
	if err != nil || !installed {
		return told(name+" is installed", installed, err, ""), err != nil
	}
	if to, err := g.s.root.Target(ctx, "/etc/systemd/system/"+name); err == nil && to == "/dev/null" {
		l = told(name+" is enabled", false, nil, "systemctl unmask "+name)
		l.Detail = "it is masked"
		return l, true
	}
	if wantedBy == "" {
		return told(name+" is installed", true, nil, ""), true
	}
	enabled, err := g.anyOf(ctx, "/etc/systemd/system/"+wantedBy+"/"+name, "/usr/lib/systemd/system/"+wantedBy+"/"+name)
	l = told(name+" is enabled", enabled, err, "systemctl enable "+name)
	if !enabled && (name == gate.AssessUnit || name == verdictUnit || name == blessUnit) {
		if other, err := g.greenboot(ctx); err == nil && other {
			l = unwanted(l)
			l.Detail, l.Hint = "greenboot decides here", ""
		}
	}
	return l, true
}

func (g *gateRun) askServe(ctx context.Context) answerLine {
	l, _ := g.askUnit(ctx, serveSocket, "sockets.target.wants")
	l.Question = "results are served: " + l.Question
	l.Hint = "systemctl enable --now " + serveSocket + ", if metrics and the page are wanted"
	return unwanted(l)
}

// neverHeld begin the names of units whose holding does harm: redundancy is lost for
// longer, guests are down.
var neverHeld = []string{"ceph", "libvirt", "virtqemud", "glusterd", "zfs", "drbd", "lvm2", "mdadm", "multipathd", "iscsi", "nfs", "sshd", "ssh.", "networkd", "NetworkManager", "systemd-"}

func (g *gateRun) askHeldUnits(ctx context.Context) []answerLine {
	if runs, err := g.systemdRuns(ctx); err != nil || !runs {
		return nil // told above
	}
	var out []answerLine
	present := 0
	for _, u := range g.s.config.Gate.Units() {
		installed, err := g.anyOf(ctx, unitFiles(u)...)
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

// askCycles asks the journal of this boot and of the one before: systemd breaks a cycle by leaving out a unit, another one each time.
func (g *gateRun) askCycles(ctx context.Context) []answerLine {
	if runs, err := g.systemdRuns(ctx); err != nil || !runs {
		return nil
	}
	var out []answerLine
	for n, boot := range []string{"this boot", "the boot before"} {
		l := told("systemd started "+boot+" without breaking an ordering cycle", false, errors.New("this is a recorded host, or a trial run"), "")
		if g.live {
			found, err := gate.Cycles(ctx, g.journalctl, -n)
			l = told(l.Question, len(found) == 0, err, "a unit was left out for it, and at the next boot it may be another one: `systemd-analyze verify default.target`")
			if err != nil {
				l.Hint = "as root, and with a journal that is kept: journalctl --list-boots"
			}
			l.Detail = cmp.Or(l.Detail, strings.Join(found, "; "))
		}
		l.Wanted = n == 0 || l.Answer == gate.No // a journal need not be kept
		out = append(out, l)
	}
	return out
}

// blessUnit keeps a kernel that was tried; verdictUnit keeps boot-complete.target back where the boot was judged worse.
const (
	blessUnit   = "lastgood-bless.service"
	verdictUnit = "lastgood-verdict.service"
)

func (g *gateRun) greenboot(ctx context.Context) (bool, error) {
	return g.anyOf(ctx, unitFiles("greenboot-healthcheck.service")...)
}

// Where the package has what greenboot calls, and what greenboot then has in its own folder.
const (
	greenbootShare = "/usr/share/lastgood/greenboot"
	greenbootCheck = "/etc/greenboot/check/required.d/50-lastgood.sh"
)

// askGreenboot: two that decide about one boot undo each other.
func (g *gateRun) askGreenboot(ctx context.Context) []answerLine {
	there, err := g.greenboot(ctx)
	if err == nil && !there {
		return nil
	}
	shipped, serr := g.anyOf(ctx, greenbootShare)
	from := "deploy/greenboot of the source"
	if shipped {
		from = greenbootShare
	}
	both, berr := g.anyOf(ctx, "/etc/systemd/system/basic.target.wants/"+blessUnit, "/etc/systemd/system/boot-complete.target.requires/"+verdictUnit)
	alone := told("greenboot alone decides about a boot", !both, errors.Join(err, serr, berr), fmt.Sprintf("systemctl disable %s %s; %s/README.md has the rest", blessUnit, gate.AssessUnit, from))
	asks, aerr := g.anyOf(ctx, greenbootCheck)
	return []answerLine{alone, told("greenboot asks lastgood", asks, aerr, fmt.Sprintf("install -m 755 %s/50-lastgood.sh %s", from, greenbootCheck))}
}
