package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/config"
	"lastgood/internal/kernels"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

var (
	matrix       = flag.Bool("matrix", false, "measure every kernel that the archives offer")
	matrixOnly   = flag.String("matrix-only", "", "of these releases only: a regular expression")
	matrixAgain  = flag.Bool("matrix-again", false, "also those that were measured before")
	matrixState  = flag.String("matrix-state", filepath.Join(os.TempDir(), "lastgood-matrix"), "folder of the kernels and of what was measured")
	matrixFolder = filepath.Join("..", "..", "testdata", "kernels")
)

// matrixFlavour is the smallest of Debian's, and has all that BPF needs.
const matrixFlavour = "cloud-amd64"

// static builds the command as it is shipped: the init of a VM has no libraries.
var static = sync.OnceValues(func() (string, error) { return scratch.Command("lastgood/cmd/lastgood") })

func staticBinary(t *testing.T) string {
	t.Helper()
	name, err := static()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// matrixPreflighter measures kernels as the command does, with its files in a folder.
func matrixPreflighter(t *testing.T, state string, suites ...string) *preflighter {
	t.Helper()
	s := &session{env: Env{In: strings.NewReader(""), Out: io.Discard, Err: os.Stderr, Getenv: func(string) string { return "" }}, stateDir: state, stateGiven: true, jobs: 1, quiet: true, root: sysfs.Live(), config: config.Default()}
	p := &preflighter{accel: "auto", memory: 768, suites: suites}
	if err := p.open(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	p.lab.Self = staticBinary(t)
	return p
}

// TestMatrix measures every kernel of the archives and keeps what it says, one file a
// release. Kernels whose modules the archive has dropped are measured too: none are needed.
func TestMatrix(t *testing.T) {
	if !*matrix {
		t.Skip("it measures some seventy kernels: make matrix")
	}
	only, err := regexp.Compile(*matrixOnly)
	if err != nil {
		t.Fatal(err)
	}
	p := matrixPreflighter(t, *matrixState, kernels.DebianSuites...)
	offered, err := p.find.there(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range offered {
		name := filepath.Join(matrixFolder, k.Release+".json.gz")
		_, kept := os.Stat(name)
		if k.Flavour != matrixFlavour || !only.MatchString(k.Release) || kept == nil && !*matrixAgain || len(k.Parts) == 0 {
			continue
		}
		k.Testable = true
		if err := measureForMatrix(t.Context(), p, k, name); err != nil {
			t.Errorf("%s %s: %v", k.Release, k.Version, err)
			continue
		}
		t.Logf("%s measured", k.Release)
	}
}

func measureForMatrix(ctx context.Context, p *preflighter, k kernels.Kernel, name string) error {
	k, err := p.find.files(ctx, k)
	if err != nil {
		return err
	}
	k.Modules = "" // programs are attached through them, and the archive has dropped some
	m, err := p.measure(ctx, k, nil)
	if err != nil {
		return err
	}
	if m.Snapshot == nil {
		return fmt.Errorf("%s: %s\n%s", m.Outcome, m.Why, m.Console)
	}
	all, err := kinds()
	if err != nil {
		return err
	}
	b, err := lean(m.Snapshot, all).Encode()
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(b); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(matrixFolder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, buf.Bytes(), 0o644)
}

// lean leaves out what varies by nature: the files are compared by what does not.
func lean(s *snapshot.Snapshot, all snapshot.Kinds) *snapshot.Snapshot {
	for i := range s.Subjects {
		kind := all[s.Subjects[i].Kind]
		for name := range s.Subjects[i].Attrs {
			if a, ok := kind.Attr(name); ok && (a.Noise == snapshot.Sampled || a.Noise == snapshot.Ambient || name == "log_tail") {
				delete(s.Subjects[i].Attrs, name)
			}
		}
	}
	return s
}

// releases reads what the matrix keeps, in the distribution's order.
func releases(t *testing.T) []*snapshot.Snapshot {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(matrixFolder, "*.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*snapshot.Snapshot
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := io.ReadAll(z)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := snapshot.Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *snapshot.Snapshot) int {
		return kernels.CompareDebian(upstream(a), upstream(b))
	})
	return out
}

// upstream is the version that Debian built, which the kernel's version string ends
// with: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)". The package names of
// 6.1's releases count something else.
func upstream(s *snapshot.Snapshot) string {
	_, rest, _ := strings.Cut(s.Identity.Kernel.Version, "Debian ")
	version, _, _ := strings.Cut(rest, " ")
	return version
}

// step is one kernel against the one before it.
type kernelStep struct {
	from, to *snapshot.Snapshot
	judged   compare.Judgement
}

func kernelSteps(t *testing.T) []kernelStep {
	t.Helper()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	snaps := releases(t)
	var out []kernelStep
	for i := 1; i < len(snaps); i++ {
		out = append(out, kernelStep{snaps[i-1], snaps[i], compare.Judge(snaps[i-1], snaps[i], all, compare.Policy{})})
	}
	return out
}

// TestKernelsPage keeps docs/kernels.md what the kept snapshots say.
func TestKernelsPage(t *testing.T) {
	t.Parallel()
	steps := kernelSteps(t)
	if len(steps) == 0 {
		t.Fatal("no kernels are kept under testdata/kernels")
	}
	var b strings.Builder
	b.WriteString("# Kernels\n\nGenerated by `make matrix` from the snapshots under testdata/kernels: every kernel of Debian's archives for\namd64 (cloud flavour), booted in a VM, measured, and judged against the one before it by the default rules.\nWhat is for information only is counted; `lastgood diff` of two of the files lists it.\n")
	for len(steps) > 0 {
		still := slices.IndexFunc(steps, func(s kernelStep) bool { return len(s.judged.Findings) > 0 })
		if still < 0 {
			still = len(steps)
		}
		writeStill(&b, steps[:still])
		if steps = steps[still:]; len(steps) > 0 {
			writeStep(&b, steps[0])
			steps = steps[1:]
		}
	}
	path := filepath.Join("..", "..", "docs", "kernels.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(have), b.String()); d != "" {
		t.Errorf("docs/kernels.md is out of date; rewrite it with `go test ./internal/cli -run KernelsPage -update` (-have +want):\n%s", d)
	}
}

// TestNoKernelWarns: measuring a kernel must leave it as it was, untainted. A probe that
// makes one warn has no place in the catalogue.
func TestNoKernelWarns(t *testing.T) {
	for _, s := range releases(t) {
		for i := range s.Subjects {
			if sub := &s.Subjects[i]; sub.Kind == "kernel.warning" {
				t.Errorf("%s warned while %s was measured: %s", s.Identity.Kernel.Release, sub.ID, sub.Text("lines"))
			}
		}
	}
}

// writeStill writes steps on which nothing moved, however many, as one.
func writeStill(b *strings.Builder, steps []kernelStep) {
	if len(steps) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s", steps[0].from.Identity.Kernel.Release)
	for _, s := range steps {
		fmt.Fprintf(b, " → %s", s.to.Identity.Kernel.Release)
	}
	b.WriteString("\n\n- nothing moved\n")
}

// writeStep writes a step on which something moved: what matters line by line, what is
// for information counted.
func writeStep(b *strings.Builder, s kernelStep) {
	fmt.Fprintf(b, "\n## %s → %s\n\n", s.from.Identity.Kernel.Release, s.to.Identity.Kernel.Release)
	counts := map[string]int{}
	for _, f := range s.judged.Findings {
		if f.Severity == snapshot.Info {
			counts[f.Code]++
			continue
		}
		fmt.Fprintf(b, "- **%s** %s\n", f.Severity, strings.ReplaceAll(f.Message, "|", "\\|"))
	}
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[code], code))
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "- for information: %s\n", strings.Join(parts, ", "))
	}
}
