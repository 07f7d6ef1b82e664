package loader

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

const statsOnly = "verification time 3 usec\nstack depth 0\nprocessed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"

// TestOutcomes brings about what a healthy host does not, by answering in the
// kernel's place.
func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		errno   unix.Errno
		log     string
		verdict Verdict
		phase   Phase
		reason  Reason
	}{
		{"no privilege", unix.EPERM, "", "", PhaseVerify, ReasonPermission},
		{"security module", unix.EACCES, "", "", PhaseVerify, ReasonPermission},
		{"privilege named by the verifier", unix.EPERM, "BPF program uses functions that are allowed for CAP_BPF\n" + statsOnly, "", PhaseVerify, ReasonPermission},
		{"signal", unix.EAGAIN, statsOnly, "", PhaseVerify, ReasonInterrupted},
		{"signal, other errno", unix.EINTR, "", "", PhaseVerify, ReasonInterrupted},
		{"no memory", unix.ENOMEM, "", "", PhaseVerify, ReasonMemory},
		{"no descriptors", unix.EMFILE, statsOnly, "", PhaseVerify, ReasonMemory},
		{"no bpf", unix.ENOSYS, "", "", PhaseVerify, ReasonPermission},
		{"log too small", unix.ENOSPC, statsOnly, "", PhaseVerify, ReasonUnknown},
		{"log too small for all but the cause", unix.ENOSPC, "R3 !read_ok\n" + statsOnly, Rejected, PhaseVerify, ReasonMemoryAccess},
		{"not translated", enotsupp, statsOnly, Rejected, PhaseJIT, ReasonJIT},
		{"jump sequence as E2BIG", unix.E2BIG, "The sequence of 8193 jumps is too complex.\n" + statsOnly, Rejected, PhaseVerify, ReasonJumpSequence},
		{"jump sequence as EFAULT", unix.EFAULT, "The sequence of 8193 jumps is too complex.\n" + statsOnly, Rejected, PhaseVerify, ReasonJumpSequence},
		{"EFAULT without a word", unix.EFAULT, "", Rejected, PhaseVerify, ReasonUnknown},
		{"short program E2BIG", unix.E2BIG, "", Rejected, PhaseVerify, ReasonUnknown},
		{"attribute refused", unix.EINVAL, "", Rejected, PhaseVerify, ReasonUnsupported},
		{"refused after verification", unix.EINVAL, statsOnly, Rejected, PhaseVerify, ReasonUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := measureWith(Request{Spec: socket(returnZero()...)}, failing(tt.errno, tt.log))
			if m.Verdict != tt.verdict || m.Phase != tt.phase || m.Reason != tt.reason || m.Errno != tt.errno {
				t.Errorf("verdict %q phase %q reason %q errno %d, want %q %q %q %d", m.Verdict, m.Phase, m.Reason, m.Errno, tt.verdict, tt.phase, tt.reason, tt.errno)
			}
			if (m.Inconclusive != "") != (tt.verdict == "") {
				t.Errorf("inconclusive = %q with verdict %q", m.Inconclusive, m.Verdict)
			}
			if m.XlatedBytes.Set || m.Stats.InsnsProcessed.Set != (len(tt.log) >= len(statsOnly)) {
				t.Errorf("numbers out of nothing: %+v", m)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		req   Request
		phase Phase
	}{
		"no program":                  {Request{}, PhaseOpen},
		"no instructions":             {Request{Spec: &ebpf.ProgramSpec{Type: ebpf.SocketFilter}}, PhaseOpen},
		"missing map":                 {Request{Spec: lookup()}, PhaseRelocate},
		"missing label":               {Request{Spec: socket(asm.Ja.Label("nowhere"), asm.Return())}, PhaseOpen},
		"struct_ops without a member": {Request{Spec: &ebpf.ProgramSpec{Type: ebpf.StructOps, AttachTo: "tcp_congestion_ops", Instructions: returnZero()}}, PhaseOpen},
	} {
		t.Run(name, func(t *testing.T) {
			var rec recorder
			m := measureWith(tt.req, rec.call)
			if m.Verdict != "" || m.Inconclusive == "" || m.Phase != tt.phase || rec.loads != 0 {
				t.Errorf("%+v after %d loads, want inconclusive in phase %s", m, rec.loads, tt.phase)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	needBPF(t)
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		m := Measure(ctx, Request{Spec: socket(returnZero()...)})
		if m.Verdict != "" || m.Reason != ReasonInterrupted || m.LoadSeconds != 0 {
			t.Errorf("verdict %q reason %q after %v s", m.Verdict, m.Reason, m.LoadSeconds)
		}
	})
	t.Run("during", func(t *testing.T) {
		// Takes the verifier half a second or more when left alone.
		long := loop(600_000)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		m := Measure(ctx, Request{Spec: long})
		if m.Verdict != "" || m.Reason != ReasonInterrupted || m.Errno != unix.EAGAIN {
			t.Errorf("verdict %q reason %q errno %v after %v s, want it interrupted", m.Verdict, m.Reason, m.Errno, m.LoadSeconds)
		}
	})
}

func TestLockdown(t *testing.T) {
	for mode, want := range map[string]string{
		"none [integrity] confidentiality\n": "integrity",
		"none integrity [confidentiality]\n": "confidentiality",
		"[none] integrity confidentiality\n": "none",
		"":                                   "",
		"garbage [":                          "",
	} {
		if got := parseLockdown(mode); got != want {
			t.Errorf("%q: %q, want %q", mode, got, want)
		}
	}
	const read, write = "program of this type cannot use helper bpf_probe_read_kernel#113", "unknown func bpf_probe_write_user#36"
	for _, tt := range []struct {
		cause, mode string
		want        bool
	}{
		{read, "confidentiality", true}, {read, "integrity", false}, {write, "integrity", true}, {write, "none", false}, {read, "", false},
	} {
		if got := lockedDown(tt.cause, tt.mode); got != tt.want {
			t.Errorf("%s under %s: %v, want %v", tt.cause, tt.mode, got, tt.want)
		}
	}
}

func TestKernelVersion(t *testing.T) {
	v := parseKernelVersion("4.19.304-generic")
	if !v.before(5, 2) || v.before(4, 19) || v.code() != 4<<16|19<<8|255 {
		t.Errorf("4.19.304: %+v, code %#x", v, v.code())
	}
	if parseKernelVersion("7.2-rc1").before(7, 2) || parseKernelVersion("who knows").before(5, 2) {
		t.Error("a new or unknown kernel was taken for an old one")
	}
	if l := (&load{kernel: v}); l.logLevel() != 1 || l.logSize(nil) != oldLogSize {
		t.Errorf("level %d, log of %d bytes on 4.19", l.logLevel(), l.logSize(nil))
	}
	l := &load{kernel: parseKernelVersion("6.18.1"), req: Request{LogSize: 1}}
	if l.logLevel() != logStats || l.logSize(nil) != minLogSize {
		t.Errorf("level %d, log of %d bytes on 6.18", l.logLevel(), l.logSize(nil))
	}
}

func TestCreateMaps(t *testing.T) {
	needBPF(t)
	pinned := arraySpec(8)
	pinned.Pinning = ebpf.PinByName
	pinned.Name = "pinned"
	maps, err := CreateMaps(map[string]*ebpf.MapSpec{"a": arraySpec(4), "b": pinned})
	if err != nil {
		t.Fatal(err)
	}
	if len(maps) != 2 || maps["b"].IsPinned() || pinned.Pinning != ebpf.PinByName {
		t.Errorf("maps %v, pinned %v, spec %v", maps, maps["b"].IsPinned(), pinned.Pinning)
	}
	CloseMaps(maps)

	_, err = CreateMaps(map[string]*ebpf.MapSpec{"a": arraySpec(4), "bad": {Type: ebpf.Array, KeySize: 3, ValueSize: 4, MaxEntries: 1}, "nil": nil})
	var mapErr *MapError
	if !errors.As(err, &mapErr) || mapErr.Name != "bad" || !errors.Is(err, unix.EINVAL) {
		t.Errorf("error = %v, want map bad named and EINVAL", err)
	}
}

func TestParseMemlock(t *testing.T) {
	got, err := parseMemlock([]byte("pos:\t0\nprog_type:\t1\nmemlock:\t4096\nprog_id:\t7\n"))
	if err != nil || got != Some[uint64](4096) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := parseMemlock([]byte("pos:\t0\n")); err != nil || got.Set {
		t.Errorf("without a line: %v, %v", got, err)
	}
	if _, err := parseMemlock([]byte("memlock:\tmany\n")); err == nil {
		t.Error("a word was taken for a number")
	}
}

// TestLengths plays kernels that know less of struct bpf_prog_info.
func TestLengths(t *testing.T) {
	var m Measurement
	m.lengths(&bpfProgInfo{xlatedProgLen: 16, jitedProgLen: 30}, 208) // to 5.15
	if m.XlatedBytes != Some[uint64](16) || m.JitedBytes != Some[uint64](30) || m.VerifiedInsns.Set {
		t.Errorf("short info: %+v", m)
	}
	m = Measurement{}
	m.lengths(&bpfProgInfo{verifiedInsns: 2}, 232) // without CAP_BPF
	if m.XlatedBytes.Set || m.JitedBytes.Set || len(m.Errs) != 1 {
		t.Errorf("withheld lengths: %+v", m)
	}
}
