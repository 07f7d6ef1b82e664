package compare

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

// machineKinds is a small machine: disks with names, interfaces, counters, a controller, a program.
func machineKinds(t testing.TB) snapshot.Kinds {
	t.Helper()
	hw, kernel := snapshot.ClassHardware, snapshot.ClassKernel
	kinds, err := snapshot.NewKinds(
		snapshot.Kind{Name: "hw.disk", Doc: "d", Required: true, AliasAttr: "aliases", WeakAliases: []string{"path"},
			Attrs: []snapshot.Attr{{Name: "name", Doc: "d"}, {Name: "removable", Doc: "d"}, {Name: "driver", Doc: "d"},
				{Name: "io_errors", Doc: "d"}, {Name: "size", Better: snapshot.HigherBetter, Doc: "d"}, {Name: "aliases", Noise: snapshot.Evidence, Doc: "d"}},
			Rules: []snapshot.Rule{
				{Code: "disk-missing", On: snapshot.OnMissing, Where: map[string]string{"removable": "no"}, Severity: snapshot.Critical, Class: hw, Message: "disk {name} is gone"},
				{Code: "stick-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: hw, Message: "{name} is gone"},
				{Code: "disk-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: hw, Message: "{name} is new"},
				{Code: "disk-renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Info, Class: hw, Message: "was {old}, is {new}"},
				{Code: "disk-driver-lost", On: snapshot.OnBecomes, Attr: "driver", To: []string{"none"}, Severity: snapshot.Critical, Class: kernel, Message: "{name} lost its driver"},
				{Code: "disk-io-errors", On: snapshot.OnGrowth, Attr: "io_errors", Ratio: 2, Floor: 10, Severity: snapshot.Warning, Class: hw, Message: "{old} to {new}"},
				{Code: "disk-shrank", On: snapshot.OnWorse, Attr: "size", Severity: snapshot.Critical, Class: hw, Message: "shrank"},
			}},
		snapshot.Kind{Name: "net.interface", Doc: "d",
			Attrs: []snapshot.Attr{{Name: "name", Doc: "d"}, {Name: "hotplug", Doc: "d"}},
			Rules: []snapshot.Rule{{Code: "nic-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: hw, Message: "{name} is gone"},
				{Code: "nic-renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Info, Class: hw, Message: "was {old}, is {new}"}}},
		snapshot.Kind{Name: "hw.sensor", Doc: "d",
			Attrs: []snapshot.Attr{{Name: "celsius", Unit: snapshot.Celsius, Noise: snapshot.Ambient, Limit: 75, Doc: "d"}},
			Rules: []snapshot.Rule{{Code: "hot", On: snapshot.OnAbove, Attr: "celsius", Severity: snapshot.Warning, Class: hw, Message: "hot"}}},
		snapshot.Kind{Name: "hw.xhci", Doc: "d",
			Attrs: []snapshot.Attr{{Name: "state", Doc: "d"}},
			Rules: []snapshot.Rule{{Code: "xhci-died", On: snapshot.OnBecomes, Attr: "state", To: []string{"died"}, Cause: true, Severity: snapshot.Critical, Class: kernel, Message: "died"},
				{Code: "edac-blind", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: kernel, Message: "the driver is gone"}}},
		snapshot.Kind{Name: "bpf.probe", Doc: "d", Required: true,
			Attrs: []snapshot.Attr{{Name: "insns", Better: snapshot.LowerBetter, Doc: "d"}, {Name: "verdict", Order: []string{"accepted", "rejected"}, Doc: "d"}},
			Rules: []snapshot.Rule{
				{Code: "rejected", On: snapshot.OnWorse, Attr: "verdict", Severity: snapshot.Critical, Class: kernel, Message: "refused"},
				{Code: "grew", On: snapshot.OnGrowth, Attr: "insns", Ratio: 1.25, Floor: 100, Severity: snapshot.Warning, Class: kernel, Message: "grew"},
				{Code: "moved", On: snapshot.OnMoved, Severity: snapshot.Info, Class: snapshot.ClassIdentity, Topic: "cost", Message: "moved"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// bootOf is a boot of a kernel build whose sources vouch for all these kinds.
func bootOf(build string, subjects ...snapshot.Subject) *snapshot.Snapshot {
	s := world(build, subjects...)
	src := s.Subject(snapshot.Key{Kind: snapshot.SourceKind, ID: "all"})
	src.Set(snapshot.SourceKinds, snapshot.List("hw.disk", "net.interface", "hw.sensor", "hw.xhci", "bpf.probe"))
	return s
}

func disk(id, name string, more ...any) snapshot.Subject {
	return subject("hw.disk", id, append([]any{"name", name, "removable", false, "driver", "sd"}, more...)...)
}

func stick(name string) snapshot.Subject {
	return subject("hw.disk", "stick", "name", name, "removable", true)
}

func nic(hotplug bool) snapshot.Subject {
	return subject("net.interface", "n", "name", "eth0", "hotplug", hotplug)
}

func said(findings []snapshot.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Subject.ID))
	}
	return out
}

func TestLearned(t *testing.T) {
	type boots []*snapshot.Snapshot
	base := bootOf("a", disk("A", "sda"), disk("B", "sdb"))
	swapped := bootOf("a", disk("A", "sdb"), disk("B", "sda"))
	errs := func(build string, n int) *snapshot.Snapshot { return bootOf(build, disk("A", "sda", "io_errors", n)) }
	other := bootOf("a", disk("A", "sdb"), disk("B", "sda"))
	other.Identity.MachineID = "m2"
	unsettled := bootOf("a")
	unsettled.Phase = snapshot.PhaseUnsettled
	program := func(n int, verdict string) snapshot.Subject {
		return subject("bpf.probe", "p", "insns", n, "verdict", verdict)
	}
	for _, test := range []struct {
		name      string
		base, new *snapshot.Snapshot
		good      boots
		want      []string
	}{
		{"swapped, nothing learned", base, swapped, nil, []string{"info disk-renamed A", "info disk-renamed B"}},
		{"swapped as in a good boot", base, swapped, boots{swapped}, nil},
		{"a name never seen", base, bootOf("a", disk("A", "sdc"), disk("B", "sda")), boots{swapped}, []string{"info disk-renamed A"}},
		{"a good boot of another machine", base, swapped, boots{other}, []string{"info disk-renamed A", "info disk-renamed B"}},
		{"a disk is gone that always was there", base, bootOf("a", disk("A", "sda")), boots{swapped, swapped}, []string{"critical disk-missing B"}},
		{"another disk came", base, bootOf("a", disk("A", "sda"), disk("B", "sdb"), disk("C", "sdc")), boots{swapped}, []string{"info disk-new C"}},
		{"a disk that a good boot had", base, bootOf("a", disk("A", "sda"), disk("B", "sdb"), disk("C", "sdc")), boots{bootOf("a", disk("A", "sda"), disk("B", "sdb"), disk("C", "sdd"))}, nil},
		{"a stick", bootOf("a", stick("sda")), bootOf("a"), boots{bootOf("a")}, []string{"info stick-missing stick"}},
		{"a phone that comes and goes", bootOf("a", nic(true)), bootOf("a"), boots{bootOf("a")}, []string{"info nic-missing n"}},
		{"a phone that was always there", bootOf("a", nic(true)), bootOf("a"), boots{bootOf("a", nic(true))}, []string{"warning nic-missing n"}},
		{"a card that is gone for good", bootOf("a", nic(false)), bootOf("a"), boots{bootOf("a"), bootOf("a")}, []string{"warning nic-missing n"}},
		{"a card that came back", bootOf("a", nic(false)), bootOf("a"), boots{bootOf("a"), bootOf("a", nic(false))}, []string{"info nic-missing n"}},
		{"a card that came back with the other kernel", bootOf("a", nic(false)), bootOf("b"), boots{bootOf("b"), bootOf("a", nic(false))}, []string{"warning nic-missing n"}},
		{"it was missing when nothing had settled", bootOf("a", nic(true)), bootOf("a"), boots{unsettled}, []string{"warning nic-missing n"}},
		{"it was missing when nobody could look", bootOf("a", nic(true)), bootOf("a"), boots{{Identity: base.Identity}}, []string{"warning nic-missing n"}},
		{"a driver that came and went", bootOf("a", subject("hw.xhci", "x")), bootOf("a"), boots{bootOf("a"), bootOf("a", subject("hw.xhci", "x"))}, []string{"warning edac-blind x"}},
		{"a driver lost in a good boot", bootOf("a", disk("A", "sda", "driver", "sd")), bootOf("a", disk("A", "sda", "driver", "none")), boots{bootOf("a", disk("A", "sda", "driver", "none"))}, []string{"critical disk-driver-lost A"}},
		{"errors as many as never", errs("a", 2), errs("a", 25), boots{errs("a", 3)}, []string{"warning disk-io-errors A"}},
		{"errors a little more than usual", errs("a", 2), errs("a", 14), boots{errs("a", 11)}, nil},
		{"errors that stayed", errs("a", 2), errs("a", 40), boots{errs("a", 40), errs("a", 40)}, []string{"warning disk-io-errors A"}},
		{"errors that come and go", errs("a", 2), errs("a", 38), boots{errs("a", 40), errs("a", 1)}, []string{"info disk-io-errors A"}},
		{"more than ever came and went", errs("a", 2), errs("a", 400), boots{errs("a", 40), errs("a", 1)}, []string{"warning disk-io-errors A"}},
		{"errors that went with the kernel", errs("a", 2), errs("b", 40), boots{errs("b", 40), errs("a", 1)}, []string{"warning disk-io-errors A"}},
		{"above a limit, as in a good boot", bootOf("a", subject("hw.sensor", "s", "celsius", 50)), bootOf("a", subject("hw.sensor", "s", "celsius", 80)), boots{bootOf("a", subject("hw.sensor", "s", "celsius", 81))}, []string{"warning hot s"}},
		{"a verdict, same build", bootOf("a", program(500, "accepted")), bootOf("a", program(500, "rejected")), boots{bootOf("a", program(500, "rejected")), bootOf("a", program(500, "accepted"))}, []string{"critical rejected p"}},
		{"a counter, same build", bootOf("a", program(500, "accepted")), bootOf("a", program(510, "accepted")), boots{bootOf("a", program(510, "accepted"))}, []string{"info moved p"}},
		{"a counter, another build", bootOf("a", program(500, "accepted")), bootOf("b", program(900, "accepted")), boots{bootOf("b", program(900, "accepted"))}, []string{"warning grew p"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := mustEncode(t, append(test.good, test.base, test.new))
			j := JudgeLearned(test.base, test.new, machineKinds(t), Policy{}, Learn(test.base, test.good))
			if d := cmp.Diff(test.want, said(j.Findings)); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if after := mustEncode(t, append(test.good, test.base, test.new)); before != after {
				t.Error("a snapshot was changed")
			}
		})
	}
}

func mustEncode(t *testing.T, snaps []*snapshot.Snapshot) string {
	t.Helper()
	var all strings.Builder
	for _, s := range snaps {
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

func TestLearnedIsTold(t *testing.T) {
	base := bootOf("a", disk("A", "sda"), nic(false))
	good := []*snapshot.Snapshot{bootOf("a", disk("A", "sda")), bootOf("b", disk("A", "sdb"), nic(false)), bootOf("a", disk("A", "sdb"), nic(false))}
	j := JudgeLearned(base, bootOf("a"), machineKinds(t), Policy{}, Learn(base, good))
	text := map[string]string{}
	for _, f := range j.Findings {
		text[f.Code] = f.Message + "\n" + f.Evidence
	}
	for code, want := range map[string]string{"disk-missing": "seen in 4 of 4 good boots", "nic-missing": "n is gone (seen in 3 of 4 good boots)"} {
		if !strings.Contains(text[code], want) {
			t.Errorf("%s says %q, want %q", code, text[code], want)
		}
	}
	if d := cmp.Diff(Withheld{Boots: 4, Builds: 3, Softened: 1}, j.Withheld); d != "" {
		t.Error(d)
	}
	// What the administrator gave a severity keeps it.
	warn := snapshot.Warning
	j = JudgeLearned(base, bootOf("a", disk("A", "sda")), machineKinds(t), Policy{Rules: map[string]Override{"nic-missing": {Severity: &warn}}}, Learn(base, good))
	if d := cmp.Diff([]string{"warning nic-missing n"}, said(j.Findings)); d != "" {
		t.Error(d)
	}
}

// A device that good boots knew by another of its ids is the same device.
func TestLearnedFollowsAliases(t *testing.T) {
	known := func(id, name string) snapshot.Subject {
		return disk(id, name, "aliases", []string{"wwn:1", "serial:x", id})
	}
	base, good, new := bootOf("a", known("wwn:1", "sda")), bootOf("b", known("serial:x", "sdb")), bootOf("a", known("wwn:1", "sdb"))
	if j := JudgeLearned(base, new, machineKinds(t), Policy{}, Learn(base, []*snapshot.Snapshot{good})); len(j.Findings) != 0 {
		t.Errorf("%v", said(j.Findings))
	}
}

func TestUnsettled(t *testing.T) {
	late := func(s *snapshot.Snapshot) *snapshot.Snapshot { s.Phase = snapshot.PhaseUnsettled; return s }
	card := func(state string) snapshot.Subject { return subject("hw.xhci", "x", "state", state) }
	behind := with(disk("A", "sda"), func(s *snapshot.Subject) { s.Parent = "hw.xhci/x" })
	for _, test := range []struct {
		name     string
		old, new *snapshot.Snapshot
		verdict  snapshot.Verdict
		want     []string
		gaps     []string // id counts
	}{
		{"all is there", bootOf("a", disk("A", "sda")), bootOf("a", disk("A", "sda")), snapshot.Good, nil, []string{"settle false"}},
		{"a disk may still come", bootOf("a", disk("A", "sda")), bootOf("a"), snapshot.Incomplete, nil, []string{"A true", "settle false"}},
		{"a card may still come", bootOf("a", nic(false)), bootOf("a"), snapshot.Good, nil, []string{"n false", "settle false"}},
		{"a stick may still come", bootOf("a", stick("sdb")), bootOf("a"), snapshot.Good, nil, []string{"stick false", "settle false"}},
		{"a driver may still bind", bootOf("a", disk("A", "sda")), bootOf("a", disk("A", "sda", "driver", "none")), snapshot.Incomplete, nil, []string{"A true", "settle false"}},
		{"another name is a fact", bootOf("a", disk("A", "sda")), bootOf("a", disk("A", "sdb")), snapshot.Good, []string{"info disk-renamed A"}, []string{"settle false"}},
		{"errors are facts", bootOf("a", disk("A", "sda", "io_errors", 1)), bootOf("a", disk("A", "sda", "io_errors", 90)), snapshot.Good, []string{"warning disk-io-errors A"}, []string{"settle false"}},
		{"a dead controller is a fact", bootOf("a", card("running"), behind), bootOf("a", card("died")), snapshot.Regressed, []string{"critical xhci-died x"}, []string{"settle false"}},
		{"a program is a fact", bootOf("a", subject("bpf.probe", "p", "verdict", "accepted")), bootOf("a", subject("bpf.probe", "p", "verdict", "rejected"), disk("A", "sda")), snapshot.Regressed,
			[]string{"critical rejected p", "info disk-new A"}, []string{"settle false"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := Judge(test.old, late(test.new), machineKinds(t), Policy{})
			var gaps []string
			for _, g := range j.Gaps {
				gaps = append(gaps, fmt.Sprintf("%s %v", g.ID, g.Counts))
			}
			if d := cmp.Diff(test.want, said(j.Findings)); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if d := cmp.Diff(test.gaps, gaps); d != "" {
				t.Errorf("gaps (-want +got):\n%s", d)
			}
			if j.Verdict != test.verdict {
				t.Errorf("verdict %s, want %s", j.Verdict, test.verdict)
			}
		})
	}
	// Nothing may be learned from it.
	if gaps := Gaps(late(bootOf("a")), machineKinds(t)); len(gaps) != 1 || !gaps[0].Counts {
		t.Errorf("alone: %+v", gaps)
	}
}

func TestElsewhere(t *testing.T) {
	base := bootOf("a", disk("A", "sda"), subject("bpf.probe", "p", "verdict", "accepted"))
	for name, test := range map[string]struct {
		change func(*snapshot.Identity)
		want   []string
		reason string
	}{
		"same build":    {func(*snapshot.Identity) {}, []string{"critical rejected p"}, "hardware, network and services are not comparable"},
		"another build": {func(i *snapshot.Identity) { i.Kernel.BuildID = "b" }, nil, "nothing is comparable"},
	} {
		new := bootOf("a", disk("Z", "sda"), subject("bpf.probe", "p", "verdict", "rejected"))
		new.Identity.MachineID = "m2"
		test.change(&new.Identity)
		j := JudgeLearned(base, new, machineKinds(t), Policy{}, Learn(base, []*snapshot.Snapshot{base}))
		if d := cmp.Diff(test.want, said(j.Findings)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if j.Verdict != snapshot.Incomplete || j.Elsewhere == "" || len(j.Gaps) != 1 || !j.Gaps[0].Counts || !strings.Contains(j.Gaps[0].Reason, test.reason) {
			t.Errorf("%s: %s, %+v", name, j.Verdict, j.Gaps)
		}
	}
	// A machine that moved to another host is the same machine with other hardware.
	moved := bootOf("a", disk("A", "sda"), subject("bpf.probe", "p", "verdict", "accepted"))
	base.Identity.ProductUUID, moved.Identity.ProductUUID = "4c4c4544-0042-3510-8051-b4c04f4a4d32", "4c4c4544-0042-3510-8051-b4c04f4a4d32"
	base.Identity.CPU.Model, moved.Identity.CPU.Model = "one", "two"
	if j := Judge(base, moved, machineKinds(t), Policy{}); j.Verdict != snapshot.Good || cmp.Diff([]snapshot.Class{snapshot.ClassHardware}, j.Attribution) != "" {
		t.Errorf("moved: %s, %v", j.Verdict, j.Attribution)
	}
}

func TestLate(t *testing.T) {
	at := func(seconds float64, s *snapshot.Snapshot) *snapshot.Snapshot {
		s.Subjects = append(s.Subjects, subject(snapshot.SourceKind, snapshot.SettleSource, snapshot.SourceUptime, seconds))
		if err := s.Sort(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	child := with(subject("net.interface", "n"), func(s *snapshot.Subject) { s.Parent = "hw.disk/B" })
	early, settled := at(9, bootOf("a", disk("A", "sda"), stick("sdx"))), at(41, bootOf("a", disk("A", "sda"), disk("B", "sdb"), child, subject("bpf.probe", "p")))
	found := Late(early, settled, nil, machineKinds(t))
	if d := cmp.Diff([]string{"info device-late B", "info device-left stick"}, said(found)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if !strings.Contains(found[0].Message, "between 9 s and 41 s") || !strings.Contains(found[1].Message, "gone at 41 s") {
		t.Errorf("%q, %q", found[0].Message, found[1].Message)
	}
	if found = Late(early, settled, []EarlyAndSettled{{early, settled}}, machineKinds(t)); len(found) != 0 {
		t.Errorf("as late as ever: %v", said(found))
	}
}

func BenchmarkLearned5000(b *testing.B) {
	build := func(turn int) *snapshot.Snapshot {
		var subjects []snapshot.Subject
		for i := range 5000 {
			name := fmt.Sprint("sd", i^(turn&1)) // neighbours swap names at every other boot
			id := fmt.Sprintf("wwn:%05d", i)
			subjects = append(subjects, disk(id, name, "io_errors", turn, "size", 1<<30, "aliases", []string{id, fmt.Sprint("path:", i), fmt.Sprint("serial:", i)}))
		}
		if turn > 0 { // something is missing and something new, so that aliases are followed
			subjects[turn].ID = fmt.Sprint("other:", turn)
		}
		return bootOf("a", subjects...)
	}
	base, kinds := build(0), machineKinds(b)
	var good []*snapshot.Snapshot
	for i := range 5 {
		good = append(good, build(i+1))
	}
	new := build(7)
	b.ReportAllocs()
	for b.Loop() {
		JudgeLearned(base, new, kinds, Policy{}, Learn(base, good))
	}
}
