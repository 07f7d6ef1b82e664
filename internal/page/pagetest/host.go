package pagetest

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/loader"
)

// The kernels that the regressed host has run, oldest first.
var releases = []string{"6.1.0-47-amd64", "6.1.0-48-amd64", "6.1.0-49-amd64", "6.1.0-51-amd64", "6.1.0-52-amd64", "6.1.0-56-amd64"}

// workloads are programs of this node with the insns that each kernel walks; one below 0
// is rejected after as many.
var workloads = []struct {
	object, name string
	insns        [6]int
}{
	{"bpf_lxc.o", "cil_from_container", [6]int{104_233, 104_310, 118_020, 204_911, 121_444, 612_004}},
	{"bpf_lxc.o", "tail_handle_ipv4", [6]int{402_118, 404_001, 431_870, 633_020, 440_312, 861_223}},
	{"bpf_lxc.o", "tail_handle_ipv6", [6]int{388_410, 388_922, 401_330, 598_121, 402_871, 744_190}},
	{"bpf_host.o", "cil_to_netdev", [6]int{88_120, 88_120, 90_002, 140_870, 90_334, 131_002}},
	{"bpf_host.o", "tail_nodeport_nat_egress_ipv4", [6]int{301_774, 303_118, 340_022, 511_982, 352_710, -1_000_001}},
	{"bpf_overlay.o", "cil_from_overlay", [6]int{41_220, 41_220, 41_902, 60_312, 41_902, 43_771}},
	{"bpf_sock.o", "cil_sock4_connect", [6]int{9_112, 9_112, 9_340, 9_918, 9_340, 9_340}},
	{"bpf_xdp.o", "cil_xdp_entry", [6]int{3_882, 3_882, 3_882, 4_010, 3_882, 3_882}},
	{"execsnoop.bpf.o", "tracepoint__sys_enter_execve", [6]int{1_204, 1_204, 1_204, 1_310, 1_204, 1_188}},
	{"tcpconnlat.bpf.o", "tcp_rcv_state_process", [6]int{611, 611, 611, 640, 611, 611}},
	{"falco.o", "sys_exit_filler", [6]int{214_330, 214_330, 230_118, 262_007, 231_002, 402_118}},
	{"node_agent.o", "cgroup_skb_egress", [6]int{22_190, 22_190, 22_190, 23_001, 22_318, 24_110}},
	{"node_agent.o", "cgroup_skb_ingress", [6]int{19_870, 19_870, 19_870, 20_104, 19_912, 20_330}},
	{"tetragon.o", "generic_kprobe_process_filter", [6]int{512_004, 512_870, 540_118, 701_223, 540_118, 766_120}},
}

// families are built-in ones, with the factor that each kernel walks more than the first.
var families = []struct {
	name   string
	cases  []int
	factor [6]float64
}{
	{"bounded_loop", []int{64, 256, 1024, 2048}, [6]float64{1, 1, 1.02, 1.9, 1.02, 2.4}},
	{"merge_branches", []int{4, 8, 16}, [6]float64{1, 1, 1, 3.2, 1, 3.8}},
	{"deduce_bitwise", []int{8, 32}, [6]float64{1, 1, 1, 1, 1, 1}},
	{"spill_fill", []int{16, 64}, [6]float64{1, 1, 1.1, 1.1, 1.1, 1.3}},
	{"argument_filter", []int{8, 64, 128}, [6]float64{1, 1, 1, 1.4, 1, 1.2}},
	{"map_lookup", []int{16, 128}, [6]float64{1, 1, 1, 1, 1, .9}},
	{"subprogram_chain", []int{4, 8}, [6]float64{1, 1.2, 1.2, 1.2, 1.2, 1.2}},
	{"packet_parse", []int{2, 6}, [6]float64{1, 1, 1.04, 1.6, 1.04, 1.7}},
}

func programs(kernel int) []snapshot.Subject {
	var out []snapshot.Subject
	for _, w := range workloads {
		n, verdict, reason := w.insns[kernel], "accepted", ""
		attrs := map[string]any{"object": w.object, "name": w.name, "program": digestOf(w.object + w.name), "insns_limit": 1_000_000, "insns": 4_000}
		if n < 0 {
			n, verdict, reason = -n, "rejected", "too_complex"
			attrs["cause"] = "BPF program is too large. Processed 1000001 insn"
			attrs["log_tail"] = "; if (ct_lazy_lookup4(map, &tuple, ctx, off, CT_EGRESS, &ct_state)) @ nodeport.h:1882\n2281: (85) call bpf_map_lookup_elem#1\n2282: (15) if r0 == 0x0 goto pc+118\nBPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns (limit 1000000) max_states_per_insn 41 total_states 48112 peak_states 9120 mark_read 214\n"
		}
		attrs["insns_processed"], attrs["verdict"], attrs["reason"] = n, verdict, reason
		attrs["total_states"], attrs["peak_states"], attrs["verification_seconds"] = n/21, n/110, float64(n)/2.4e6
		out = append(out, subject("bpf.program", w.object+"/"+w.name, w.name, "", attrs))
	}
	for i, name := range []string{"sched_cls cil_from_netdev", "kprobe generic_kprobe_event"} { // as they run
		n := []int{96_004, 560_220}[i] * (10 + kernel) / 10
		out = append(out, subject("bpf.loaded", name, name, "", map[string]any{"type": "sched_cls", "programs": 12, "insns_processed": n, "insns_limit": 1_000_000, "targets": []string{"eno1 ingress"}}))
	}
	for _, f := range families {
		for _, size := range f.cases {
			n := int(float64(size*31+200) * f.factor[kernel] * float64(1+size/1024))
			id := fmt.Sprintf("%s/%d", f.name, size)
			out = append(out, subject("bpf.probe", id, "", "", map[string]any{"family": f.name, "program": digestOf(id), "verdict": "accepted",
				"insns_processed": n, "insns_limit": 1_000_000, "total_states": n / 18}))
		}
	}
	return out
}

func digestOf(s string) string {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(s) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return fmt.Sprintf("%016x%016x%016x%016x", h, h*3, h*5, h*7)
}

// outcome says how a boot came about, beside what it is made of.
func outcome(k *kept) []snapshot.Subject {
	attrs := map[string]any{"class": k.class, "intended": k.intended, "running": k.release, "basis": "intent", "modules": "yes",
		"why": "the boot before left the loader set to " + k.intended + ": saved_entry of GRUB"}
	if k.class == "fell back" {
		attrs["why"] = "the boot before left the loader set to " + k.intended + ", and " + k.release + " runs; in between 1 boot of 14 s without a shutdown record"
	}
	return []snapshot.Subject{
		subject("boot.outcome", "this-boot", "this boot", "", attrs),
		subject("boot.history", "previous", "the boot before", "", map[string]any{"ended": "clean", "crashes": []string{}, "watchdogs": []string{}}),
		subject("boot.component", "kernel_package", "kernel package", "", map[string]any{"version": "6.1." + k.release[6:8] + "-1"}),
		subject("boot.component", "firmware_package", "firmware package", "", map[string]any{"version": map[bool]string{true: "20240709-2", false: "20230210-5"}[k.release > "6.1.0-50"]}),
		subject("boot.transactions", "apt", "apt", "", map[string]any{"last_told": "apt upgrade to linux-image-" + k.release}),
		subject("host.name", "self", "", "", map[string]any{"name": "node-17.example", "leads_to": "host"}),
	}
}

// history is what the regressed host went through.
func history() []*kept {
	day := func(d, h int) time.Time { return time.Date(2026, 5, d, h, 12, 0, 0, time.UTC) }
	rows := []struct {
		kernel          int
		at              time.Time
		class, intended string
		verdict         snapshot.Verdict
		accept          string
		critical        int
		summary         string
	}{
		{0, day(2, 6), "as intended", "", snapshot.Learned, "learned", 0, "there was nothing to compare with yet; this boot is now the last good one"},
		{1, day(4, 6), "as intended", "", snapshot.Good, "", 0, "this host came back the same way it went down"},
		{2, day(7, 6), "as intended", "", snapshot.Good, "", 0, "this host came back the same way it went down"},
		{3, day(9, 6), "as intended", "", snapshot.Regressed, "", 2, "this boot is worse than the last good one: 2 critical findings"},
		{2, day(9, 7), "as intended", "", snapshot.Good, "", 0, "this host came back the same way it went down"},
		{4, day(12, 6), "as intended", "", snapshot.Good, "anna", 0, "this host came back the same way it went down"},
		{4, day(15, 22), "as intended", "", "", "", 0, ""},
		{4, day(19, 6), "fell back", releases[5], snapshot.Invalid, "", 1, "this is not what was to be compared: " + releases[5] + " was to boot"},
		{5, day(21, 6), "as intended", "", "", "", 0, ""},
	}
	var out []*kept
	for i, r := range rows {
		k := &kept{id: fmt.Sprintf("%08x-77aa-4e0f-b1f4-2f0f6c1e8a%02x", 0x1f00d000+i*0x01010101, i), release: releases[r.kernel], at: r.at, class: r.class, intended: r.intended,
			verdict: r.verdict, accept: r.accept, critical: r.critical, summary: r.summary}
		if k.intended == "" {
			k.intended = k.release
		}
		if i == len(rows)-1 {
			k.id = Current
		}
		k.snap = &snapshot.Snapshot{Tool: "lastgood 1.0", Taken: r.at, Phase: "boot", Identity: identity(k.id, k.release)}
		k.snap.Subjects = append(k.snap.Subjects, covered("bpf.program", "bpf.loaded", "bpf.probe", "hw.disk", "hw.pci", "hw.usb", "hw.sensor", "hw.machine", "hw.cpu", "hw.memory", "hw.raid", "hw.xhci", "net.interface", "boot.outcome", "boot.history", "boot.component", "kernel.message", "host.name"))
		k.snap.Subjects = append(k.snap.Subjects, programs(r.kernel)...)
		k.snap.Subjects = append(k.snap.Subjects, devices(i == len(rows)-1)...)
		k.snap.Subjects = append(k.snap.Subjects, temperatures(i)...)
		k.snap.Subjects = append(k.snap.Subjects, outcome(k)...)
		out = append(out, k)
	}
	return out
}

// Regressed writes the folder of a host that came up worse on a new kernel: programs near
// their limits and one rejected, a disk gone and others renamed, a slower link, a hot sensor;
// before it a boot that fell back and one that was rolled back.
func Regressed(dir string) error {
	f, err := open(dir)
	if err != nil {
		return err
	}
	boots := history()
	last := boots[len(boots)-1]
	for _, k := range boots[:len(boots)-1] {
		f.keep(k)
	}
	f.explain(boots[5])
	f.judge(last, regressed)
	good := boots[5]
	f.sampled(good.id, good.release, good.at, 90, 5, func(id string, i int) float64 { return warm(id, i) })
	f.sampled(last.id, last.release, last.at, 100, 48, func(id string, i int) float64 { return warm(id, i) + hotter[id] })
	bad := gate.Kernel{Release: releases[3], BuildID: identity("", releases[3]).Kernel.BuildID}
	f.gate(gate.State{Step: gate.Idle, Held: "this boot is worse than the last good one", Boot: gate.Boot{ID: last.id, Kernel: gate.Kernel{Release: last.release}}, Bad: []gate.Kernel{bad}})
	return f.done()
}

// explain keeps where the insns of one program went at the last good boot.
func (f *folder) explain(good *kept) {
	n := uint64(352_710)
	raw, err := json.Marshal(loader.Explanation{Program: "tail_nodeport_nat_egress_ipv4", Verdict: "accepted", Processed: &n, Attributed: n,
		Functions: []loader.FunctionInsns{{Name: "tail_nodeport_nat_egress_ipv4", Self: 92_110, Total: n}, {Name: "snat_v4_nat", Self: 260_600, Total: 260_600, Pruned: 812}},
		Lines:     []loader.LineInsns{{Function: "snat_v4_nat", File: "nat.h", Line: 412, Text: "for (i = 0; i < SNAT_COLLISION_RETRIES; i++) {", Insns: 140_220}}})
	f.errs = append(f.errs, err)
	key := baseline.ExplanationKey{Program: digestOf("bpf_host.o" + "tail_nodeport_nat_egress_ipv4"), BuildID: good.snap.Identity.Kernel.BuildID}
	f.use(func(s *baseline.Store) error { return s.PutExplanation(key, raw) })
}

// regressed completes the report as the command does.
func regressed(r *report.Report) {
	n := map[snapshot.Severity]int{}
	for i := range r.Findings {
		n[r.Findings[i].Severity]++
	}
	r.Summary = fmt.Sprintf("this boot is worse than the last good one: %d critical findings, %d warnings, %d info findings", n[snapshot.Critical], n[snapshot.Warning], n[snapshot.Info])
	r.Boot = &report.Boot{Class: "as intended", Intended: releases[5], Running: releases[5], Basis: "intent"}
	r.Learned = &report.Learned{Boots: 2, SameBuild: 0, Quiet: 1}
	r.Next = []string{"`lastgood check -v` shows the evidence: the verifier's words, the kernel's messages.",
		"Boot " + releases[4] + " again where workloads depend on what got worse: it was good.",
		"`lastgood accept current` makes this boot the last good one, if all of this is meant."}
	r.Since = &report.Since{
		Facts: []report.SinceFact{{What: "kernel", Old: releases[4], New: releases[5]}, {What: "initramfs", Old: "sha256 4be1…", New: "sha256 90aa…"}},
		Transactions: []report.Transaction{{Manager: "apt", Time: "2026-05-20 06:41", Automatic: true, Command: "/usr/bin/unattended-upgrade",
			Packages: []report.PackageChange{{Name: "linux-image-" + releases[5], Action: "install", New: "6.1.56-1"}, {Name: "firmware-misc-nonfree", Action: "upgrade", Old: "20230210-5", New: "20240709-2"}}, Others: 4}},
		Reboot: report.Reboot{Ended: "clean", How: "reboot", By: []string{"anna, by systemctl reboot"}}}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Code == "program-insns-doubled" && f.Subject.Label == "cil_from_container" {
			f.Evidence = "86 % of the growth is in ipv4_policy, policy.h:214 (18,220 → 440,118 insns).\n" + f.Evidence
		}
	}
	r.Mechanisms = []report.Mechanism{{Family: "bounded_loop", Title: "loops are walked once per turn again", Programs: 4, Worse: []string{"256", "1024", "2048"}, Factor: 2.35, Alarming: true,
		Means: "The verifier no longer sees that one turn of a bounded loop is like the one before. Programs that walk packets, paths or lists take as many times more."},
		{Family: "argument_filter", Title: "filters of arguments", Programs: 3, Worse: []string{"128"}, Factor: 1.2}}
	r.Candidates = []report.Candidate{{Kernel: "6.12.57+deb12-amd64", Verdict: snapshot.Good, Summary: "no program of this node is worse on it", Taken: Now.Add(-20 * time.Hour)}}
	r.Incomplete = append(r.Incomplete, snapshot.Gap{Kind: "tool.source", ID: "smart", Reason: "/dev/sda does not answer to SMART: the controller passes no commands on"})
}

// warm is a temperature that goes up and down with the hours.
func warm(id string, i int) float64 {
	for _, s := range sensors {
		if s.id == id {
			return math.Round((s.celsius+4*math.Sin(float64(i)/9)+float64(i*7%5)/4)*10) / 10
		}
	}
	return 30
}
