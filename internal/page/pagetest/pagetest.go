// Package pagetest makes state folders for tests of what shows them: a host that a new
// kernel made worse, one of any size, and one whose every string is hostile.
//
// The folders are written through the store and judged by the kinds' own rules, so that
// what is in them is what a check would have left.
package pagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"lastgood/hw"
	"lastgood/internal/baseline"
	"lastgood/internal/boot"
	"lastgood/internal/collect"
	"lastgood/internal/compare"
	"lastgood/internal/contract"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
	"lastgood/internal/workload"
	"lastgood/probes"
)

// Now is when the folders are looked at, Current the boot that runs then.
var Now = time.Date(2026, 5, 21, 9, 30, 0, 0, time.UTC)

// Current is the boot id of the newest boot of every folder.
const Current = "9f6c1d52-77aa-4e0f-b1f4-2f0f6c1e8a09"

// Kinds are those that the command declares.
func Kinds() (snapshot.Kinds, error) {
	declared := collect.Kinds()
	for _, s := range slices.Concat(boot.Sources(), boot.Truth(boot.Prior{}), contract.Sources(), hw.Sources(), probes.Sources()) {
		declared = append(declared, s.Kinds...)
	}
	declared = append(declared, probes.ProgramKind(), workload.Kind(), watch.Kind())
	return snapshot.NewKinds(append(declared, probes.SurfaceKinds()...)...)
}

// kept is one boot as it is written.
type kept struct {
	id, release string
	at          time.Time
	class       string // how it came about
	intended    string
	verdict     snapshot.Verdict // "" where it was not judged
	accept      string           // by whom it is accepted
	snap        *snapshot.Snapshot
	critical    int
	warning     int
	info        int
	summary     string
}

// folder writes a state folder.
type folder struct {
	dir   string
	kinds snapshot.Kinds
	now   time.Time
	errs  []error
}

func open(dir string) (*folder, error) {
	kinds, err := Kinds()
	return &folder{dir: dir, kinds: kinds}, err
}

// use does something with the store while its lock is held, at the folder's time.
func (f *folder) use(what func(*baseline.Store) error) {
	store, err := baseline.Open(f.dir, baseline.Options{BootID: Current, Now: func() time.Time { return f.now }})
	if err == nil {
		err = store.Lock(context.Background())
	}
	if err != nil {
		f.errs = append(f.errs, err)
		return
	}
	f.errs = append(f.errs, what(store), store.Close())
}

// keep writes a boot as a check does.
func (f *folder) keep(k *kept) {
	f.now = k.at.Add(90 * time.Second)
	f.use(func(s *baseline.Store) error {
		var result *baseline.Result
		if k.verdict != "" {
			result = &baseline.Result{Verdict: k.verdict, Exit: k.verdict.ExitStatus(), Critical: k.critical, Warning: k.warning, Info: k.info, Took: 3.2, Summary: k.summary}
		}
		if _, err := s.Save(k.snap, result); err != nil || k.accept == "" {
			return err
		}
		f.now = f.now.Add(40 * time.Minute)
		_, err := s.Accept(k.id, k.accept)
		return err
	})
}

// judge writes the report of the last boot against the accepted one, changed as the caller
// wants, and that boot itself.
func (f *folder) judge(k *kept, change func(*report.Report)) {
	var base *snapshot.Snapshot
	var rec baseline.Record
	f.use(func(s *baseline.Store) (err error) {
		base, rec, err = s.LastGood()
		return err
	})
	if base == nil {
		return // told by errs
	}
	if err := k.snap.Sort(); err != nil {
		f.errs = append(f.errs, err)
		return
	}
	j := compare.Judge(base, k.snap, f.kinds, compare.Policy{FailOn: snapshot.Critical})
	rep := &report.Report{Verdict: j.Verdict, Taken: k.at, Current: &k.snap.Identity, Baseline: &base.Identity, Accepted: rec.Accepted, AcceptedBy: rec.By,
		Findings: j.Findings, Incomplete: j.Gaps, Attribution: j.Attribution, Counts: report.Counted(k.snap), TookSeconds: 3.2}
	for _, c := range j.Changes {
		rep.Changes = append(rep.Changes, report.Change(c))
	}
	change(rep)
	n := map[snapshot.Severity]int{}
	for i := range rep.Findings {
		n[rep.Findings[i].Severity]++
	}
	k.critical, k.warning, k.info = n[snapshot.Critical], n[snapshot.Warning], n[snapshot.Info]
	k.verdict, k.summary = rep.Verdict, rep.Summary
	f.keep(k)
	var b bytes.Buffer
	f.errs = append(f.errs, report.JSON(&b, rep, report.Options{}))
	f.use(func(s *baseline.Store) error { return s.SaveReport(json.RawMessage(b.Bytes())) })
}

// gate writes what the gate remembers.
func (f *folder) gate(s gate.State) {
	s.Schema = gate.Schema
	f.errs = append(f.errs, baseline.OpenFolder(f.dir, nil).Put(baseline.GateFile, s))
}

// sampled writes a history of temperatures: one sample every two minutes, of which the
// last ones stay in the log.
func (f *folder) sampled(id, release string, from time.Time, samples, log int, value func(sensor string, at int) float64) {
	book, err := watch.Decode(nil, nil)
	f.errs = append(f.errs, err)
	book.Begin(id, release)
	at := from
	for i := range samples {
		s := watch.Sample{Time: at, Uptime: at.Sub(from) + watch.WarmUp, Load: 100 + (i*37)%500, Since: 2 * time.Minute}
		for _, sensor := range sensors {
			s.Points = append(s.Points, watch.Point{ID: sensor.id, Label: sensor.label, Type: watch.Temperature, Value: value(sensor.id, i)})
		}
		line, _, err := book.Add(s)
		f.errs = append(f.errs, err)
		f.use(func(st *baseline.Store) error {
			switch {
			case i == samples-log-1:
				return st.FoldHistory(id, book.History())
			case i >= samples-log:
				return st.AppendHistory(id, line)
			}
			return nil
		})
		at = at.Add(2 * time.Minute)
	}
}

func (f *folder) done() error { return errors.Join(f.errs...) }

// covered is a source that vouches for kinds.
func covered(kinds ...string) snapshot.Subject {
	return snapshot.Subject{Kind: snapshot.SourceKind, ID: "all", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(kinds...)}}
}

// subject is a measured one with attributes by name.
func subject(kind, id, label, parent string, attrs map[string]any) snapshot.Subject {
	s := snapshot.Subject{Kind: kind, ID: id, Label: label, Parent: parent, Outcome: snapshot.Measured}
	for name, v := range attrs {
		switch v := v.(type) {
		case string:
			s.Set(name, snapshot.Text(v))
		case int:
			s.Set(name, snapshot.Int(v))
		case float64:
			s.Set(name, snapshot.Float(v))
		case []string:
			s.Set(name, snapshot.List(v...))
		default:
			panic(fmt.Sprintf("an attribute of type %T", v))
		}
	}
	return s
}

// identity is that of a boot of this fixture's machine.
func identity(id, release string) snapshot.Identity {
	var i snapshot.Identity
	i.BootID, i.MachineID, i.Product = id, "5f0c8a1d2b3e4f60718293a4b5c6d7e8", "Dell PowerEdge R740"
	i.Kernel.Release, i.Kernel.Arch, i.Kernel.Version = release, "x86_64", "#1 SMP PREEMPT_DYNAMIC Debian "+release
	i.Kernel.BuildID = digestOf(release)[:40]
	i.Kernel.Cmdline = "BOOT_IMAGE=/boot/vmlinuz-" + release + " root=UUID=0a1b ro quiet"
	i.Kernel.ConfigHash, i.Kernel.BTFHash = "c0"+i.Kernel.BuildID, "b7"+i.Kernel.BuildID
	i.CPU.Model, i.CPU.Count, i.CPU.Microcode = "Intel(R) Xeon(R) Silver 4214", 24, []string{"0x5003604"}
	i.Lockdown, i.Cgroup, i.Virtualization = "none", "v2", "none"
	return i
}
