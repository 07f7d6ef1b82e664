package loader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// whole holds an explanation against what a plain load says of the same program.
func whole(t *testing.T, e Explanation, m Measurement) {
	t.Helper()
	if e.Verdict != m.Verdict || e.Reason != m.Reason {
		t.Errorf("verdict %q %q, a plain load says %q %q", e.Verdict, e.Reason, m.Verdict, m.Reason)
	}
	if e.Partial != "" || e.Processed == nil || *e.Processed != m.Stats.InsnsProcessed.V || e.Unattributed != 0 || e.Attributed != *e.Processed {
		t.Errorf("partial %q, attributed %d, unattributed %d, a plain load processed %d", e.Partial, e.Attributed, e.Unattributed, m.Stats.InsnsProcessed.V)
	}
	sums(t, e)
}

// sums holds the parts of an explanation against each other.
func sums(t *testing.T, e Explanation) {
	t.Helper()
	var self, lines uint64
	for _, f := range e.Functions {
		self += f.Self
		if f.Total < f.Self {
			t.Errorf("function %s: total %d below self %d", f.Name, f.Total, f.Self)
		}
	}
	for _, l := range e.Lines {
		lines += l.Insns
	}
	if self != e.Attributed || lines+e.InsnsLeftOut != e.Attributed {
		t.Errorf("functions sum up to %d, lines to %d, all to %d", self, lines+e.InsnsLeftOut, e.Attributed)
	}
	if data, err := json.Marshal(e); err != nil || len(data) > 256<<10 {
		t.Errorf("%d bytes of JSON, %v", len(data), err)
	}
}

// TestExplainObjects explains compiled programs with line information.
func TestExplainObjects(t *testing.T) {
	needBPF(t)
	files, err := filepath.Glob("../bpf/*_small_bpfel.o")
	if err != nil || len(files) == 0 {
		t.Fatalf("no objects in ../bpf: %v", err)
	}
	types := btf.NewCache()
	for _, file := range append(files, "../bpf/l7_parser_large_bpfel.o", "../bpf/unwinder_medium_bpfel.o") {
		coll, err := ebpf.LoadCollectionSpec(file)
		if err != nil {
			t.Fatal(err)
		}
		maps, err := CreateMaps(coll.Maps)
		if err != nil {
			t.Fatal(err)
		}
		defer CloseMaps(maps)
		for name, spec := range coll.Programs {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				req := Request{Spec: spec, Maps: maps, Types: types}
				m := Measure(t.Context(), req)
				e, err := Explain(t.Context(), req, Limits{})
				if errors.Is(err, ErrLibraryOnly) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if m.Verdict == "" {
					t.Skipf("no verdict: %s", m.Inconclusive)
				}
				whole(t, e, m)
				if len(e.Lines) == 0 || e.Lines[0].File == "" || e.Lines[0].Text == "" {
					t.Errorf("no source line on top: %+v", e.Lines[:min(1, len(e.Lines))])
				}
				if m.Stats.Subprograms.Set && len(e.Functions) != m.Stats.Subprograms.V {
					t.Errorf("%d functions, the kernel counts %d", len(e.Functions), m.Stats.Subprograms.V)
				}
				t.Logf("%d insns, log %.1f MB, %.0f ms, plain %.0f ms", *e.Processed, float64(e.LogBytes)/1e6, e.Seconds*1e3, m.LoadSeconds*1e3)
			})
		}
	}
}

func TestExplainSynthetic(t *testing.T) {
	needBPF(t)
	for _, tt := range []struct {
		name         string
		spec         *ebpf.ProgramSpec
		unattributed int64
	}{
		{"straight", program(ebpf.SocketFilter, straight(5000)), 0},
		{"loop", loop(1000), 0},
		{"frames", frames(8), 0},
		{"functions", subprograms(256), 0},
		{"jumps", jumps(8192), 0},
		{"rejected stack", stack(520), 0},
		{"rejected jumps", jumps(8193), 0},
		{"rejected loop", socket(asm.FnGetPrandomU32.Call(), asm.JNE.Imm(asm.R0, 5, "again").WithSymbol("again"), asm.Return()), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := Request{Spec: tt.spec}
			m := Measure(t.Context(), req)
			e, err := Explain(t.Context(), req, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if e.Verdict != m.Verdict || e.Reason != m.Reason || e.Processed == nil || *e.Processed != m.Stats.InsnsProcessed.V || e.Unattributed != tt.unattributed {
				t.Errorf("%+v\nwant %d unattributed of %d", e, tt.unattributed, m.Stats.InsnsProcessed.V)
			}
			sums(t, e)
		})
	}
}

// TestExplainTotals: what a function calls counts for it, and for nobody beside.
func TestExplainTotals(t *testing.T) {
	needBPF(t)
	e, err := Explain(t.Context(), Request{Spec: frames(8)}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Functions) != 8 || e.Functions[0].Total != e.Attributed {
		t.Fatalf("%+v", e.Functions)
	}
	for i, f := range e.Functions[1:] {
		if above := e.Functions[i]; above.Total != above.Self+f.Total {
			t.Errorf("%s has %d of its own and %d in all, it calls %s with %d", above.Name, above.Self, above.Total, f.Name, f.Total)
		}
	}
}

// residentMiB is the peak of this process's memory since reset.
func residentMiB(t *testing.T, reset bool) int {
	t.Helper()
	if reset {
		debug.FreeOSMemory()
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// TestExplainLarge takes a program whose log is hundreds of MB.
func TestExplainLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	needBPF(t)
	for _, tt := range []struct {
		name string
		spec *ebpf.ProgramSpec
	}{
		{"loop", loop(250_000)},
		{"straight", program(ebpf.SocketFilter, straight(1_000_000))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := Request{Spec: tt.spec}
			m := Measure(t.Context(), req)
			before := residentMiB(t, true)
			e, err := Explain(t.Context(), req, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			grown := residentMiB(t, false) - before
			whole(t, e, m)
			if grown > 64 {
				t.Errorf("%d MiB resident more", grown)
			}
			t.Logf("%d insns: log %.0f MB in %.1f s, plain load %.2f s, %d MiB more, %s", *e.Processed, float64(e.LogBytes)/1e6, e.Seconds, m.LoadSeconds, grown, e.Method)
		})
	}
}

// TestExplainTooComplex: the instruction beyond the limit is counted, never listed.
func TestExplainTooComplex(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	needBPF(t)
	e, err := Explain(t.Context(), Request{Spec: loop(600_000)}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Verdict != Rejected || e.Reason != ReasonTooComplex || e.Partial != "" || e.Unattributed != 1 || len(e.Loops) != 1 {
		t.Errorf("%+v", e)
	}
	sums(t, e)
	t.Logf("%d insns, log %.0f MB in %.1f s", *e.Processed, float64(e.LogBytes)/1e6, e.Seconds)
}

// TestExplainInterrupted ends the load by its deadline.
func TestExplainInterrupted(t *testing.T) {
	needBPF(t)
	start := time.Now()
	e, err := Explain(t.Context(), Request{Spec: loop(250_000)}, Limits{Time: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if e.Verdict != "" || !strings.Contains(e.Partial, "stopped during verification") || e.Attributed == 0 {
		t.Errorf("%+v", e)
	}
	sums(t, e)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Explain(ctx, Request{Spec: loop(10)}, Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a context that had ended", err)
	}
}

// TestExplainWithoutWatching: a log that cannot be followed is read as far as it fits.
func TestExplainWithoutWatching(t *testing.T) {
	needBPF(t)
	blind := func([]byte) (*userfault, error) { return nil, unix.EPERM }
	for _, tt := range []struct {
		name string
		n    int32
		cut  bool
	}{{"fits", 1000, false}, {"cut", 250_000, true}} {
		t.Run(tt.name, func(t *testing.T) {
			req := Request{Spec: loop(tt.n)}
			x := explainer{load: newLoad(req, bpf), limits: Limits{}.orDefault(), watch: blind}
			e, err := x.explain(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if e.Method != MethodHead || e.Verdict != Accepted || e.Processed == nil || *e.Processed != uint64(2*tt.n+3) {
				t.Errorf("%+v", e)
			}
			if tt.cut {
				if want := fmt.Sprintf("the log is of the first %d insns of %d", e.Attributed, *e.Processed); e.Partial != want || e.Attributed == 0 || e.Unattributed <= 0 {
					t.Errorf("partial %q, want %q", e.Partial, want)
				}
			} else if e.Partial != "" || e.Unattributed != 0 {
				t.Errorf("%+v", e)
			}
			sums(t, e)
		})
	}
}

// TestExplainOldKernel plays a kernel before 6.4: it does not tell the length of the
// log and stops writing where the buffer ends.
func TestExplainOldKernel(t *testing.T) {
	needBPF(t)
	for _, tt := range []struct {
		name string
		size uint32 // of the buffer as the kernel sees it, 0 for all of it
		cut  bool
	}{{"fits", 0, false}, {"cut", 2500 << 10, true}} {
		t.Run(tt.name, func(t *testing.T) {
			old := func(cmd uintptr, p unsafe.Pointer, size uintptr) (int, unix.Errno) {
				attr := (*progLoadAttr)(p)
				if attr.logLevel&logLevel2 != 0 && tt.size != 0 {
					attr.logSize, attr.logLevel = tt.size, attr.logLevel|logFixed
				}
				fd, errno := bpf(cmd, p, size)
				attr.logTrueSize = 0
				return fd, errno
			}
			req := Request{Spec: loop(40_000)}
			x := explainer{load: newLoad(req, old), limits: Limits{}.orDefault(), watch: newUserfault}
			before := residentMiB(t, true)
			e, err := x.explain(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if grown := residentMiB(t, false) - before; grown > 32 {
				t.Errorf("%d MiB resident more", grown)
			}
			if e.Method != MethodStream || e.Verdict != Accepted || (e.Partial != "") != tt.cut || (e.Unattributed != 0) != tt.cut || e.Attributed == 0 {
				t.Errorf("%+v", e)
			}
			sums(t, e)
		})
	}
}
