package contract

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"lastgood/internal/source"
)

// errLive is why a check that asks the machine itself was not made of a recorded host.
func (r *Runner) errLive() error {
	if r.live || r.Host.Root.Live() {
		return nil
	}
	return source.ErrSkipped
}

func (u *UnitCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	conn, err := dialSystemd(ctx)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	return u.weigh(ctx, conn)
}

func (u *UnitCheck) weigh(ctx context.Context, conn *systemd.Conn) (answer, error) {
	facts, err := askUnits(ctx, conn, func(s systemd.UnitStatus) bool {
		ok, _ := path.Match(u.Pattern, s.Name)
		return s.LoadState != "not-found" && (ok || u.Pattern == "" && s.Name == u.Name)
	})
	if err != nil {
		return answer{}, err
	}
	if len(facts) == 0 {
		if u.State == "inactive" && u.Name != "" {
			return met()
		}
		return unmet("%s is not loaded: there is no such unit, or nothing asked for it", u.Name+u.Pattern)
	}
	var a answer
	var bad []string
	for _, f := range facts {
		if f.err != nil {
			return answer{}, f.err
		}
		why := u.wrong(&f)
		if why == "" {
			a.observed = append(a.observed, f.Name)
			continue
		}
		bad = append(bad, why)
		if slices.Contains(u.FailFastOn, f.Result) {
			a.final = true
			bad[len(bad)-1] += "; systemd does not try again: systemctl reset-failed " + f.Name
		}
	}
	a.why = strings.Join(bad, "; ")
	return a, nil
}

// wrong says what is wrong with a unit: "" is nothing.
func (u *UnitCheck) wrong(f *unitFacts) string {
	state := unitState(f)
	ok := state == "active"
	switch u.State {
	case "inactive":
		ok = state == "inactive"
	case "not-failed":
		ok = state != "failed" && state != "restarting"
	}
	switch {
	case !ok && f.Result != "" && f.Result != "success":
		return fmt.Sprintf("%s is %s (%s, %s)", f.Name, state, f.SubState, f.Result)
	case !ok:
		return fmt.Sprintf("%s is %s (%s)", f.Name, state, f.SubState)
	case u.MaxRestarts != nil && f.Restarts > *u.MaxRestarts:
		return fmt.Sprintf("%s was restarted %d times, %d at most", f.Name, f.Restarts, *u.MaxRestarts)
	}
	return ""
}

func (p *ProcessCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	pids, err := r.Host.Root.List(ctx, "/proc")
	if err != nil {
		return answer{}, err
	}
	name := p.Name[:min(len(p.Name), 15)] // TASK_COMM_LEN of include/linux/sched.h is 16 with the zero byte
	n := 0
	for _, pid := range pids {
		if !isNumber(pid) {
			continue
		}
		if comm, err := r.Host.Root.Attr(ctx, "/proc", pid, "comm"); err == nil && comm == name {
			n++
		}
	}
	if want := max(p.AtLeast, 1); n < want {
		return unmet("%d processes of the name %s, %d at least", n, p.Name, want)
	}
	return met(p.Name)
}

func (c *CephCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	ids := c.IDs
	if len(ids) == 0 {
		for _, o := range localOSDs(ctx, r.Host.Root) {
			if n, err := strconv.Atoi(o.id); err == nil {
				ids = append(ids, n)
			}
		}
	}
	if len(ids) == 0 {
		return unmet("there is no OSD's data on this host: /var/lib/ceph holds none")
	}
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	got, err := runCephDump(ctx)
	if err != nil {
		return answer{}, err // a cluster that does not answer says nothing of this host's OSDs
	}
	return c.weigh(ids, got), nil
}

// osdState is an OSD in `ceph osd dump -f json`.
type osdState struct {
	ID int `json:"osd"`
	Up int `json:"up"`
	In int `json:"in"`
}

func (c *CephCheck) weigh(ids []int, all []osdState) answer {
	var a answer
	var bad []string
	up, in := c.Up == nil || *c.Up, c.In == nil || *c.In
	for _, id := range ids {
		i := slices.IndexFunc(all, func(o osdState) bool { return o.ID == id })
		name := fmt.Sprintf("osd.%d", id)
		switch {
		case i < 0:
			bad = append(bad, name+" is not in the cluster's map")
		case (all[i].Up == 1) != up:
			bad = append(bad, name+" is "+either(all[i].Up == 1, "up", "down"))
		case (all[i].In == 1) != in:
			bad = append(bad, name+" is "+either(all[i].In == 1, "in", "out"))
		default:
			a.observed = append(a.observed, name)
		}
	}
	a.why = strings.Join(bad, "; ")
	return a
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func (l *LibvirtCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	connect := l.Connect
	if connect == "" {
		connect = "qemu:///system"
	}
	list := func(flags ...string) ([]string, answer, error) {
		got, err := runCommand(ctx, append([]string{"virsh", "--connect", connect, "--quiet", "list", "--name"}, flags...))
		if errors.Is(err, errHangs) {
			a, _ := unmet("libvirt does not answer: virsh %v", errHangs)
			return nil, a, nil
		}
		if err != nil {
			return nil, answer{}, err
		}
		if got.status != 0 {
			a, _ := unmet("libvirt does not answer at %s: %s", connect, got.said)
			return nil, a, nil
		}
		return strings.Fields(got.output), answer{}, nil
	}
	running, bad, err := list()
	if err != nil || bad.why != "" {
		return bad, err
	}
	want := l.Domains
	if l.Autostart {
		auto, bad, err := list("--all", "--autostart")
		if err != nil || bad.why != "" {
			return bad, err
		}
		want = append(slices.Clone(want), auto...)
	}
	var missing []string
	for _, d := range want {
		if !slices.Contains(running, d) && !slices.Contains(missing, d) {
			missing = append(missing, d)
		}
	}
	a := answer{observed: running}
	if len(missing) > 0 {
		a.why = fmt.Sprintf("%s %s not running", listed(missing), isAre(len(missing)))
	}
	return a, nil
}
