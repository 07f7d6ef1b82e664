package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/boot"
	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
)

// hostile is a name that a device, a log or an object may bear.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)></pre><!--{{.}}`

// pageBoot is one boot of the host whose page is looked at.
type pageBoot struct {
	id, kernel string // the id is "" for the boot that runs
	days       int    // before now
	class      boot.Class
	verdict    snapshot.Verdict
	accepted   bool
	after      bool // the USB controller is dead
	heat       float64
}

// pageBoots are the past of a host that came back worse: what its kernels said of BPF
// programs was recorded of those very kernels, its hardware of a machine before and after
// its USB controller died.
var pageBoots = []pageBoot{
	{"b7d3c0a4-5d1e-4b0e-9a55-0c6f6a1d2e01", "6.1.0-47-cloud-amd64", 180, boot.AsIntended, snapshot.Learned, true, false, 0},
	{"40c9e6f2-93b8-4d7a-8d0b-7be1c5f3a902", "6.1.0-50-cloud-amd64", 120, boot.AsIntended, snapshot.Good, false, false, 1},
	{"9e15ab7d-0c44-4f3a-b2a6-51d08e7c3f03", "6.1.0-53-cloud-amd64", 75, boot.AsIntended, snapshot.Good, true, false, 0},
	{"2f8d6c31-7a9b-4c15-8e4d-aa93f0b6d704", "6.1.0-53-cloud-amd64", 41, boot.FellBack, snapshot.Invalid, false, false, 2},
	{"c36fe1b8-12d7-4e89-a0c1-4490d2e7b605", "6.1.0-56-cloud-amd64", 20, boot.AsIntended, snapshot.Good, true, false, 1},
	{"", "6.12.117+deb12-cloud-amd64", 0, boot.AsIntended, snapshot.Regressed, false, true, 14},
}

// pageState is a state folder with the past of such a host. evil has its devices, logs and
// objects bear hostile names.
func pageState(t *testing.T, evil bool) string {
	t.Helper()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	dir, now := t.TempDir(), time.Now().UTC().Truncate(time.Second)
	var good *snapshot.Snapshot
	for _, b := range pageBoots {
		if b.id == "" {
			b.id = runningBoot(t)
		}
		taken := now.AddDate(0, 0, -b.days).Add(-10 * time.Minute)
		store, err := baseline.Open(dir, baseline.Options{Now: func() time.Time { return taken }})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		snap := pageSnapshot(t, b, evil)
		snap.Taken = taken
		if err := snap.Sort(); err != nil {
			t.Fatal(err)
		}
		rep := newReport(snap)
		rep.Verdict = b.verdict
		if good != nil {
			rep = judging(all, compare.Policy{})(good, snap)
			rep.Accepted, rep.AcceptedBy = now.AddDate(0, 0, -20), "anna"
		}
		if b.class == boot.FellBack {
			rep.Verdict, rep.Summary = snapshot.Invalid, "the boot loader fell back to "+b.kernel
		}
		rep.Boot = &report.Boot{Class: string(b.class), Running: b.kernel, Intended: b.kernel, Basis: "intent"}
		if evil {
			rep.Notes = append(rep.Notes, hostile)
		}
		if rep.Verdict != b.verdict {
			t.Fatalf("boot %s is %s, want %s: %s", b.id, rep.Verdict, b.verdict, rep.Summary)
		}
		pageKeep(t, store, b, snap, rep)
		pageHeat(t, store, b, taken)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if b.accepted {
			good = snap
		}
	}
	return dir
}

// runningBoot is the id of the boot that runs, or one that is made up where it cannot be read:
// a page says where the boot that runs is not the one that was checked.
func runningBoot(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "71a0de95-6b3c-4a92-9f17-e8c4b2d05f06"
	}
	return strings.TrimSpace(string(b))
}

func pageKeep(t *testing.T, store *baseline.Store, b pageBoot, snap *snapshot.Snapshot, rep *report.Report) {
	t.Helper()
	judged := result(rep, 1900*time.Millisecond) // as long as a check takes
	if _, err := store.Save(snap, judged); err != nil {
		t.Fatal(err)
	}
	if b.accepted {
		if _, err := store.Accept(b.id, "anna"); err != nil {
			t.Fatal(err)
		}
	}
	var doc bytes.Buffer
	if err := report.JSON(&doc, rep, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := store.SaveReport(doc.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// pageSnapshot puts a boot together: a kernel's recording, a machine's, and what is told of
// the boot itself.
func pageSnapshot(t *testing.T, b pageBoot, evil bool) *snapshot.Snapshot {
	t.Helper()
	snap := recordedKernel(t, b.kernel)
	id := &snap.Identity
	id.BootID, id.MachineID, id.Product, id.Virtualization = b.id, "5e1f0c7d5e1f0c7d5e1f0c7d5e1f0c7d", "Example Systems R740", ""
	id.Kernel.Cmdline = "root=/dev/md0 ro quiet"
	snap.Phase = "boot"
	machine := "dead-xhci-before"
	if b.after {
		machine = "dead-xhci-after"
	}
	vouched, known := []string{boot.OutcomeKind, "bpf.program"}, map[snapshot.Key]bool{}
	for _, s := range append(recordedHardware(t, machine), recordedHardware(t, "hwmon61")...) {
		if s.Kind == "hw.sensor" {
			warmed(&s, b.heat)
		}
		if kinds, ok := s.Attrs[snapshot.SourceKinds].Items(); ok && s.Outcome == snapshot.Measured {
			vouched = append(vouched, kinds...)
		}
		if known[s.Key()] || s.Kind == snapshot.SourceKind || s.Kind == "kernel.log" {
			continue // of both machines, or told below
		}
		known[s.Key()] = true
		if evil && (s.Kind == "hw.disk" || s.Kind == "kernel.message") {
			s.Label += hostile
			if s.Kind == "kernel.message" {
				s.Attrs["first"] = snapshot.Text(hostile)
			}
		}
		snap.Subjects = append(snap.Subjects, s)
	}
	snap.Subjects = append(snap.Subjects, pagePrograms(snap, b, evil)...)
	snap.Subjects = append(snap.Subjects,
		snapshot.Subject{Kind: snapshot.SourceKind, ID: "hardware", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(vouched...)}},
		snapshot.Subject{Kind: boot.OutcomeKind, ID: boot.ThisBoot, Label: "this boot", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{
			"class": snapshot.Text(string(b.class)), "intended": snapshot.Text(b.kernel), "running": snapshot.Text(b.kernel), "why": snapshot.Text("the boot before left the loader set to it")}})
	return snap
}

// pagePrograms are programs of this node's own: what the kernel said of the probes that are
// made like them.
func pagePrograms(snap *snapshot.Snapshot, b pageBoot, evil bool) []snapshot.Subject {
	var out []snapshot.Subject
	for name, probe := range map[string]string{
		"edge/policy.o/from_container": "l7_parser/large", "edge/policy.o/to_container": "l7_parser/medium",
		"edge/proxy.o/sock_ops": "unwinder/large", "edge/trace.o/unwind": "unwinder/small",
	} {
		s := snap.Subject(snapshot.Key{Kind: "bpf.probe", ID: probe})
		if s == nil {
			continue
		}
		attrs := snapshot.Attrs{"object": snapshot.Text(filepath.Dir(name)), "name": snapshot.Text(filepath.Base(name)), "section": snapshot.Text("tc")}
		for _, a := range []string{"program", "verdict", "phase", "insns", "insns_processed", "insns_limit", "total_states", "peak_states", "stack_depth"} {
			if v, ok := s.Attrs[a]; ok {
				attrs[a] = v
			}
		}
		if n, ok := attrs["insns_processed"].Int(); ok && name == "edge/policy.o/from_container" {
			attrs["insns_processed"] = snapshot.Int(n * 8)
		}
		if b.after && name == "edge/proxy.o/sock_ops" {
			attrs["verdict"], attrs["phase"], attrs["errno"], attrs["reason"] = snapshot.Text("rejected"), snapshot.Text("verify"), snapshot.Text("EACCES"), snapshot.Text("packet-bounds")
			attrs["cause"] = snapshot.Text("invalid access to packet, off=14 size=4, R2(id=0,off=14,r=14)")
			attrs["log_tail"] = snapshot.Text("41: (71) r3 = *(u8 *)(r2 +13)\n42: (61) r1 = *(u32 *)(r2 +14)\ninvalid access to packet, off=14 size=4, R2(id=0,off=14,r=14)\nR2 offset is outside of the packet\nprocessed 812 insns (limit 1000000) max_states_per_insn 4 total_states 31 peak_states 31 mark_read 7")
			if evil {
				attrs["log_tail"] = snapshot.Text(hostile + "\n" + hostile)
			}
		}
		out = append(out, snapshot.Subject{Kind: "bpf.program", ID: name, Outcome: snapshot.Measured, Attrs: attrs})
	}
	return out
}

// warmed is a sensor that reads some degrees more.
func warmed(s *snapshot.Subject, by float64) {
	if v, ok := s.Attrs["value_celsius"].Number(); ok {
		s.Attrs["value_celsius"] = snapshot.Float(v + by)
	}
}

// pageHeat samples ten hours of each boot.
func pageHeat(t *testing.T, store *baseline.Store, b pageBoot, from time.Time) {
	t.Helper()
	book, err := watch.Decode(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	book.Begin(b.id, b.kernel)
	var log [][]byte
	const count = 60
	for i := range count {
		load := 50 + 400*(i/15%2)
		s := watch.Sample{Time: from.Add(time.Duration(i-count) * 10 * time.Minute), Uptime: time.Duration(i+5) * 10 * time.Minute, Load: load, Since: 10 * time.Minute}
		for j, id := range []string{"0018/jc42/temp1", "002f/max6639/temp2", "pci0000:00/04.0/00.0/nvme/Composite"} {
			s.Points = append(s.Points, watch.Point{ID: id, Label: id, Type: watch.Temperature, Value: 44 + b.heat + float64(load)/80 + float64((i*7+j*3)%11)/4})
		}
		line, grew, err := book.Add(s)
		if err != nil {
			t.Fatal(err)
		}
		if grew { // the document names the series before a line leans on them
			if err := store.FoldHistory(b.id, book.History()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		log = append(log, line)
	}
	for _, line := range log {
		if err := store.AppendHistory(b.id, line); err != nil {
			t.Fatal(err)
		}
	}
}

// recordedKernel is what a kernel answered in a virtual machine.
func recordedKernel(t *testing.T, release string) *snapshot.Snapshot {
	t.Helper()
	f, err := os.Open(filepath.Join("../../testdata/kernels", release+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := snapshot.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// recordedHardware is what the readers say of a recorded machine.
func recordedHardware(t *testing.T, machine string) []snapshot.Subject {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/hosts", machine+".golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var out []snapshot.Subject
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPageState(t *testing.T) {
	dir := pageState(t, true)
	store, err := baseline.Open(dir, baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := store.List()
	if err != nil || len(entries) != len(pageBoots) || len(store.Damaged()) > 0 {
		t.Fatalf("%d boots, %v, %v", len(entries), err, store.Damaged())
	}
	var rep report.Report
	if err := baseline.OpenFolder(dir, nil).Get(baseline.ReportFile, &rep, false); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range rep.Findings {
		if f.Severity != snapshot.Info {
			texts = append(texts, fmt.Sprintf("%s %s", f.Code, f.Message))
		}
	}
	all := strings.Join(texts, "\n")
	for _, code := range []string{"xhci-died", "program-rejected", "program-headroom-low", "insns-doubled"} {
		if !strings.Contains(all, code) {
			t.Errorf("no finding is %s:\n%s", code, all)
		}
	}
}
