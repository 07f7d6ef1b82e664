package pagetest

import (
	"fmt"
	"strings"
	"time"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// Markup is what hostile strings begin with: it would leave a text, an attribute in either
// kind of quotes, a comment, a style, a picture's title, or the page itself.
const Markup = `"'><!----></title></style></svg></pre></textarea><script>alert(1)</script><img src=x onerror=alert(2)><a href="javascript:alert(3)">` + "`x`"

// Sized writes the folder of a host with so many programs and devices over five boots, or
// over two where they are very many. All got a little worse, and each list has more than
// a page shows.
func Sized(dir string, programs, devices int) error {
	f, err := open(dir)
	if err != nil {
		return err
	}
	for boot := range 5 {
		if boot > 1 && boot < 4 && programs > 5000 {
			continue
		}
		k := &kept{id: fmt.Sprintf("boot-%d", boot), release: fmt.Sprintf("6.1.0-%d-amd64", 50+boot), at: Now.Add(time.Duration(boot-5) * 24 * time.Hour), class: "as intended", verdict: snapshot.Good}
		k.snap = &snapshot.Snapshot{Tool: "lastgood 1.0", Taken: k.at, Phase: "boot", Subjects: many(boot, programs, devices)}
		if boot == 4 {
			k.id = Current
		}
		k.snap.Identity = identity(k.id, k.release)
		if boot == 1 {
			k.accept = "root"
		}
		if boot < 4 {
			f.keep(k)
			continue
		}
		f.judge(k, func(r *report.Report) {
			r.Summary = fmt.Sprintf("this boot is worse than the last good one: %d findings", len(r.Findings))
			for i := range r.Findings { // more than the folder's document takes; a page shows less
				if i < 200 {
					r.Findings[i].Evidence = strings.Repeat("R1=scalar(umin=0,umax=255) R2=pkt(off=14,r=34)\n", 20)
				}
			}
			r.Findings = r.Findings[:min(len(r.Findings), 700)]
		})
	}
	return f.done()
}

// many are programs and devices by number.
func many(boot, programs, devices int) []snapshot.Subject {
	out := []snapshot.Subject{covered("bpf.program", "bpf.probe", "hw.disk", "hw.pci", "hw.sensor"), subject("hw.machine", "machine", "a large machine", "", map[string]any{"board": "X"})}
	for i := range programs {
		n := 1000 + i*900%980_000
		n += n * boot * (i % 3) / 20
		kind, id := "bpf.program", fmt.Sprintf("object_%d.o/program_with_a_long_name_%d", i/20, i)
		if i%4 == 3 {
			kind, id = "bpf.probe", fmt.Sprintf("family_%d/case_%d", i/40, i)
		}
		attrs := map[string]any{"insns_processed": min(n, 1_000_000), "insns_limit": 1_000_000, "verdict": "accepted", "program": digestOf(id), "total_states": n / 20, "log_tail": "processed"}
		if kind == "bpf.program" {
			attrs["name"], attrs["object"] = id, "object"
		}
		out = append(out, subject(kind, id, "", "", attrs))
	}
	for i := range devices {
		at := fmt.Sprintf("pci0000:00/%02x.%x/00.0", i/24, i/3%8)
		switch i % 3 {
		case 0:
			out = append(out, pci(at, fmt.Sprintf("device %d", i), "driver", 8))
		case 1:
			name := fmt.Sprintf("sd%d", i)
			if boot == 4 && i%2 == 0 {
				name = fmt.Sprintf("sd%d", i+1000)
			}
			out = append(out, disk(fmt.Sprintf("wwid:%d", i), "Model", name, "hw.pci/"+at, 4_000_787_030_016, fmt.Sprint(i)))
		default:
			out = append(out, subject("hw.sensor", fmt.Sprintf("chip%d/temp", i), fmt.Sprintf("Sensor %d", i), "hw.pci/"+at, map[string]any{"type": "temperature", "value_celsius": 40 + float64(i%50), "limit_celsius": 85.0, "reading": "good"}))
		}
	}
	return out
}

// Hostile writes the folder of a host of which every name, text and log holds markup.
func Hostile(dir string) error {
	f, err := open(dir)
	if err != nil {
		return err
	}
	for boot := range 3 {
		k := &kept{id: fmt.Sprintf("boot-%d", boot), release: fmt.Sprint(boot) + Markup, at: Now.Add(time.Duration(boot-3) * time.Hour), class: Markup, intended: Markup, verdict: snapshot.Verdict(Markup), summary: Markup}
		k.snap = &snapshot.Snapshot{Tool: Markup, Taken: k.at, Phase: Markup, Subjects: hostile(boot)}
		if boot == 2 {
			k.id = Current
		}
		k.snap.Identity = identity(k.id, k.release)
		k.snap.Identity.Product, k.snap.Identity.Kernel.BuildID = Markup, fmt.Sprint(boot)+Markup
		if boot == 0 {
			k.accept = Markup
		}
		if boot < 2 {
			f.keep(k)
			continue
		}
		f.judge(k, hostileReport)
	}
	return f.done()
}

func hostile(boot int) []snapshot.Subject {
	out := []snapshot.Subject{covered("bpf.program", "bpf.probe", "hw.disk", "hw.pci", "hw.sensor", "hw.usb", "kernel.message", Markup)}
	for i, kind := range []string{"bpf.program", "bpf.probe", "hw.disk", "hw.pci", "hw.sensor", "hw.usb", "net.interface", "host.name", "boot.component", "boot.outcome", "boot.transactions", Markup} {
		attrs := map[string]any{Markup: Markup + fmt.Sprint(boot)}
		for _, name := range []string{"verdict", "name", "driver", "model", "serial", "class", "intended", "why", "version", "last_told", "log_tail", "cause", "location", "family", "chip"} {
			attrs[name] = Markup + name + fmt.Sprint(boot)
		}
		attrs["program"], attrs["insns_processed"], attrs["insns_limit"] = Markup, 400_000*(boot+1)-boot, 1_000_000
		attrs["value_celsius"], attrs["limit_celsius"] = 60.0+float64(20*boot), 85.0
		s := subject(kind, Markup+fmt.Sprint(i), Markup, "hw.pci/"+Markup+"3", attrs)
		s.Errs = map[string]string{Markup: Markup}
		out = append(out, s, subject("kernel.message", Markup+fmt.Sprint(i), Markup, kind+"/"+s.ID, map[string]any{"first": Markup, "severity": "warning", "means": Markup}))
	}
	return out
}

func hostileReport(r *report.Report) {
	v := snapshot.Text(Markup)
	for i := range r.Findings {
		r.Findings[i].Evidence, r.Findings[i].Hint = Markup, Markup
	}
	r.Findings = append(r.Findings, snapshot.Finding{Code: Markup, Severity: snapshot.Severity(Markup), Class: snapshot.Class(Markup), Subject: snapshot.SubjectRef{Kind: Markup, ID: Markup, Label: Markup},
		Attr: Markup, Old: &v, New: &v, Message: Markup, Hint: Markup, Evidence: Markup, Behind: []snapshot.SubjectRef{{Kind: Markup, ID: Markup, Label: Markup}}})
	r.Summary, r.AcceptedBy, r.Next, r.Notes = Markup, Markup, []string{Markup}, []string{Markup}
	r.Attribution, r.Changes = []snapshot.Class{snapshot.Class(Markup)}, []report.Change{{Fact: Markup, Class: snapshot.Class(Markup), Old: Markup, New: Markup}}
	r.Incomplete = append(r.Incomplete, snapshot.Gap{Kind: Markup, ID: Markup, Label: Markup, Reason: Markup, Counts: true})
	r.Mechanisms = []report.Mechanism{{Family: Markup, Title: Markup, Means: Markup, Worse: []string{Markup}, Refused: []string{Markup}, Alarming: true}, {Family: Markup, Worse: []string{Markup}}}
	r.Candidates = []report.Candidate{{Kernel: Markup, Verdict: snapshot.Verdict(Markup), Summary: Markup, Taken: Now}}
	r.Boot = &report.Boot{Class: Markup, Intended: Markup, Running: Markup, Why: Markup}
	r.Since = &report.Since{Facts: []report.SinceFact{{What: Markup, Old: Markup, New: Markup}}, Notes: []string{Markup},
		Transactions: []report.Transaction{{Manager: Markup, ID: Markup, Time: Markup, Command: Markup, User: Markup, Packages: []report.PackageChange{{Name: Markup, Action: "upgrade", Old: Markup, New: Markup}}}},
		Reboot:       report.Reboot{Ended: "clean", How: Markup, By: []string{Markup}}}
}
