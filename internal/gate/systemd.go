package gate

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Systemctl asks systemd for things, by its own program: the gate has no need of a bus of
// its own, and systemctl works before there is one.
type Systemctl struct {
	// Paths are where the program may be; it is never looked for elsewhere.
	Paths []string
}

// HostSystemctl is this host's.
func HostSystemctl() Systemctl {
	return Systemctl{Paths: []string{"/usr/bin/systemctl", "/bin/systemctl"}}
}

// systemctlPatience bounds a call: nothing here waits for a unit.
const systemctlPatience = 15 * time.Second

func (s Systemctl) run(ctx context.Context, args ...string) (string, error) {
	var errs []error
	for _, p := range s.Paths {
		program, err := exec.LookPath(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, systemctlPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("run systemctl %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
		return string(out), nil
	}
	return "", fmt.Errorf("find systemctl: %w", errors.Join(errs...))
}

// StartHeld starts, of the given units, those whose start was asked for in this boot and
// skipped by a condition: no other one, for what was not to run is not to run now.
func (s Systemctl) StartHeld(ctx context.Context, units []string) ([]string, error) {
	if len(units) == 0 {
		return nil, nil
	}
	text, err := s.run(ctx, append([]string{"show", "-p", "Id,LoadState,ActiveState,ConditionResult,ConditionTimestampMonotonic", "--"}, units...)...)
	if err != nil {
		return nil, err
	}
	held := heldBack(text)
	if len(held) == 0 {
		return nil, nil
	}
	_, err = s.run(ctx, append([]string{"start", "--no-block", "--"}, held...)...)
	return held, err
}

// heldBack reads what systemctl show says: blocks of NAME=VALUE, a blank line between them.
func heldBack(text string) []string {
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		p := map[string]string{}
		for line := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			p[k] = v
		}
		asked := p["ConditionTimestampMonotonic"] != "" && p["ConditionTimestampMonotonic"] != "0"
		if p["LoadState"] == "loaded" && p["ActiveState"] == "inactive" && p["ConditionResult"] == "no" && asked && p["Id"] != "" {
			out = append(out, p["Id"])
		}
	}
	return out
}

// Start asks for a unit without waiting for it.
func (s Systemctl) Start(ctx context.Context, unit string) error {
	_, err := s.run(ctx, "start", "--no-block", "--", unit)
	return err
}

// Reboot asks for an orderly reboot.
func (s Systemctl) Reboot(ctx context.Context, why string) error {
	_, err := s.run(ctx, "reboot", "--no-block", "--message=lastgood: "+why)
	return err
}

// Show gives properties of a unit.
func (s Systemctl) Show(ctx context.Context, unit string, properties ...string) (map[string]string, error) {
	text, err := s.run(ctx, "show", "-p", strings.Join(properties, ","), "--", unit)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		out[k] = v
	}
	return out, nil
}

// maxJournal bounds what is read of a boot's log: its beginning, where the boot itself is. A host that is up for months has logged
// more since.
const maxJournal = 8 << 20

// Cycles are the lines of a boot's journal (0 is this boot, -1 the one before) in which systemd says that it broke an
// ordering cycle: it deletes a job to do so, silently but for this line.
func Cycles(ctx context.Context, journalctl []string, boot int) ([]string, error) {
	var errs []error
	for _, p := range journalctl {
		program, err := exec.LookPath(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, systemctlPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "-b", strconv.Itoa(boot), "-q", "-o", "cat", "--no-pager", "_PID=1")
		b, said := limited{most: maxJournal, stop: cancel}, limited{most: 512}
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &b, &said, time.Second
		if err := cmd.Run(); err != nil && !b.full {
			return nil, fmt.Errorf("read the journal: %w: %s", err, strings.TrimSpace(said.String()))
		}
		if b.Len() == 0 {
			return nil, errors.New("read the journal: it has nothing of systemd's from that boot")
		}
		return cycles(b.String()), nil
	}
	return nil, fmt.Errorf("find journalctl: %w", errors.Join(errs...))
}

func cycles(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "deleted to break ordering cycle") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// limited keeps the beginning of an output, and calls stop when it has that.
type limited struct {
	strings.Builder
	most int
	full bool
	stop func()
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.most - l.Len(); len(p) > room {
		l.full = true
		l.Builder.Write(p[:max(room, 0)])
		if l.stop != nil {
			l.stop()
		}
		return len(p), nil
	}
	return l.Builder.Write(p)
}
