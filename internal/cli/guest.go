package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"lastgood/internal/boot"
	"lastgood/internal/collect"
	"lastgood/internal/preflight"
	"lastgood/internal/source"
	"lastgood/internal/vm"
	"lastgood/probes"
)

// guestCommand is the init of a VM in which a candidate kernel is measured.
func guestCommand() command {
	return command{
		name: vm.GuestCommand, hidden: true, summary: "measure a candidate kernel from inside its VM",
		long:    "Started by the kernel of a VM that lastgood itself made, as its first process.",
		example: "lastgood preflight",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, _ []string) (int, error) {
				if err := vm.RunGuest(ctx, s.guestJob); err != nil {
					return exitUsage, err
				}
				return exitOK, nil
			}
		},
	}
}

// guestJob measures this kernel and answers with a snapshot.
func (s *session) guestJob(ctx context.Context, g *vm.Guest) error {
	job, err := readJob(filepath.Join(g.Payload, preflight.JobFile))
	if err != nil {
		return err
	}
	if err := enoughMemory(job.NeedMiB); err != nil {
		return err
	}
	if err := os.WriteFile("/etc/machine-id", []byte(job.MachineID+"\n"), 0o444); err != nil {
		return fmt.Errorf("name the machine: %w", err)
	}
	for i := range job.Objects {
		job.Objects[i].Path = filepath.Join(g.Payload, job.Objects[i].Path)
	}
	from, err := s.measuring(job)
	if err != nil {
		return err
	}
	in := measureInput{Objects: job.Objects}
	input, err := in.encode()
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Duration(job.Budget)+time.Minute)
	defer stop()
	tell := teller{g: g}
	snap, err := collect.Run(ctx, collect.Options{
		Host: s.host(), Sources: from, Tool: tool(), Phase: "preflight", Budget: time.Duration(job.Budget), Jobs: job.Jobs,
		Unguarded: "a VM", Progress: tell.progress, Input: input,
	})
	if err != nil {
		return err
	}
	b, err := snap.Encode()
	if err != nil {
		return err
	}
	packed, err := pack(b)
	if err != nil {
		return err
	}
	return g.Send(vm.FrameResult, packed)
}

// measuring is what a job asks for: the kernel's own facts always, the built-in
// catalogue or families of it, and objects.
func (s *session) measuring(job preflight.Job) ([]source.Source, error) {
	var from []source.Source
	if !job.ObjectsOnly {
		chosen, err := choose(inVM(probes.Sources(), job), s.host(), job.Families)
		if err != nil {
			return nil, err
		}
		from = chosen
	}
	if len(job.Objects) > 0 {
		from = append(from, probes.Objects(job.Objects))
	}
	return slices.Concat(boot.Sources(), from), nil
}

// inVM leaves out what says nothing there, or takes too long for a quick look.
func inVM(all []source.Source, job preflight.Job) []source.Source {
	tiers := []source.Tier{source.Gate}
	if !job.Quick || len(job.Families) > 0 {
		tiers = append(tiers, source.Boot)
	}
	if job.Thorough {
		tiers = append(tiers, source.Thorough)
	}
	all = slices.DeleteFunc(source.UpTo(all, tiers...), func(s source.Source) bool {
		return s.Name == probes.AttachSource && !job.Modules
	})
	if slices.Contains(tiers, source.Boot) {
		return all
	}
	dear := map[string]bool{}
	for _, f := range probes.Families() {
		dear[f.Name] = f.Tier != source.Gate
	}
	for i := range all {
		steps := all[i].Steps
		all[i].Steps = func(h source.Host) []source.Step {
			return slices.DeleteFunc(steps(h), func(st source.Step) bool { return dear[st.Group] })
		}
	}
	return all
}

func readJob(name string) (preflight.Job, error) {
	var job preflight.Job
	b, err := os.ReadFile(name)
	if err != nil {
		return job, fmt.Errorf("read job: %w", err)
	}
	if err := json.Unmarshal(b, &job); err != nil {
		return job, fmt.Errorf("read job %s: %w", name, err)
	}
	return job, nil
}

// enoughMemory refuses a guest that a program near the verifier's limit would not
// fit into: what is refused for want of memory says nothing about a kernel.
func enoughMemory(needMiB int) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("read memory: %w", err)
	}
	free := info.Freeram * uint64(info.Unit) >> 20
	if free < uint64(needMiB) {
		return fmt.Errorf("the VM has %d MiB of free memory, and a program near the verifier's limit needs %d", free, needMiB)
	}
	return nil
}

func pack(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// teller passes on what goes on, a few times a second.
type teller struct {
	g    *vm.Guest
	last time.Time
}

const tellEvery = 250 * time.Millisecond

func (t *teller) progress(p collect.Progress) {
	if time.Since(t.last) < tellEvery {
		return
	}
	t.last = time.Now()
	// A line that is lost is only a line of progress.
	_ = t.g.Send(vm.FrameProgress, fmt.Appendf(nil, "%d/%d %s", p.Done, p.Total, p.Now))
}
