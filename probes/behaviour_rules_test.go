package probes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
)

// TestBehaviourCatalogue keeps names as they are, builds each case twice and holds
// programs apart.
func TestBehaviourCatalogue(t *testing.T) {
	var names []string
	seen := map[string]string{}
	digestOf := func(id string, build func() (Trial, error)) {
		var digests [2]string
		for i := range digests {
			trial, err := build()
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			var s snapshot.Subject
			if err := trialDigest(&s, &trial); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			digests[i] = s.Text("program")
		}
		if digests[0] != digests[1] || seen[digests[0]] != "" {
			t.Errorf("%s is built unlike from time to time, or is the same as %q", id, seen[digests[0]])
		}
		seen[digests[0]] = id
		names = append(names, id)
	}
	families := map[string]bool{}
	for _, f := range Families() {
		families[f.Name] = true
	}
	for _, b := range Behaviours() {
		if families[behaviourPrefix+b.Name] {
			t.Errorf("%s is a family's name", b.Name)
		}
		for _, c := range b.Cases {
			digestOf("behaviour "+b.Name+"/"+c.Name, c.Build)
		}
	}
	for _, g := range Speeds() {
		for _, c := range g.Cases {
			if g.Name+"/"+c.Name != "packet/rewrite" { // the program of a behaviour
				digestOf("speed "+g.Name+"/"+c.Name, c.Build)
			}
		}
	}
	checkGolden(t, filepath.Join("testdata", "behaviour.golden"), strings.Join(names, "\n")+"\n")
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-golden +now):\n%s", file, d)
	}
}

// judged is what is said of a subject of one kind that changed, of two kernel builds.
func judged(t *testing.T, kind snapshot.Kind, old, new *snapshot.Subject) []snapshot.Finding {
	t.Helper()
	kinds, err := snapshot.NewKinds(kind)
	if err != nil {
		t.Fatal(err)
	}
	world := func(build string, s *snapshot.Subject) *snapshot.Snapshot {
		snap := &snapshot.Snapshot{Tool: "test"}
		if s != nil {
			snap.Subjects = append(snap.Subjects, *s)
		}
		snap.Subjects = append(snap.Subjects, snapshot.Subject{Kind: snapshot.SourceKind, ID: "source", Outcome: snapshot.Measured,
			Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(kind.Name)}})
		snap.Identity.Kernel = snapshot.KernelIdentity{BuildID: build, Arch: "x86_64"}
		return snap
	}
	return compare.Judge(world("a", old), world("b", new), kinds, compare.Policy{}).Findings
}

// TestBehaviourRules: rules judge changes, and a wrong result is told with what was wrong.
func TestBehaviourRules(t *testing.T) {
	subject := func(program, result string) *snapshot.Subject {
		s := &snapshot.Subject{Kind: behaviourKind.Name, ID: "alu64/register", Outcome: snapshot.Measured}
		s.Set("program", snapshot.Text(program))
		s.Set("result", snapshot.Text(result))
		if result == resultWrong {
			s.Set("wrong", snapshot.Text("add64: want 1, got 2"))
		}
		return s
	}
	without := &snapshot.Subject{Kind: behaviourKind.Name, ID: "alu64/register", Outcome: snapshot.Measured}
	lacking(without, "unknown opcode")
	for _, test := range []struct {
		name     string
		old, new *snapshot.Subject
		want     []string
	}{
		{"right", subject("p", resultRight), subject("p", resultRight), nil},
		{"wrong now", subject("p", resultRight), subject("p", resultWrong), []string{"critical behaviour-wrong"}},
		{"wrong as before", subject("p", resultWrong), subject("p", resultWrong), nil},
		{"right again", subject("p", resultWrong), subject("p", resultRight), []string{"info behaviour-right"}},
		{"another program", subject("p", resultRight), subject("q", resultWrong), []string{"warning behaviour-wrong-unlike"}},
		{"first run, wrong", nil, subject("p", resultWrong), []string{"warning behaviour-wrong-new"}},
		{"first run, right", nil, subject("p", resultRight), nil},
		{"no longer known", subject("p", resultRight), without, []string{"warning behaviour-unsupported"}},
		{"known now, wrong", without, subject("p", resultWrong), []string{"warning behaviour-wrong-new"}},
	} {
		var got []string
		for _, f := range judged(t, behaviourKind, test.old, test.new) {
			got = append(got, string(f.Severity)+" "+f.Code)
			if f.Code == "behaviour-wrong" && !strings.Contains(f.Message, "want 1, got 2") {
				t.Errorf("%s: %q does not say what was wrong", test.name, f.Message)
			}
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}
