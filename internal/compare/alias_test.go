package compare

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

var aliasKinds = func() snapshot.Kinds {
	kinds, err := snapshot.NewKinds(
		snapshot.Kind{Name: "hw.disk", Doc: "d", AliasAttr: "aliases", WeakAliases: []string{"at", "table"},
			Attrs: []snapshot.Attr{{Name: "aliases", Doc: "a", Noise: snapshot.Evidence}, {Name: "n", Doc: "n"}},
			Rules: []snapshot.Rule{{Code: "disk-missing", On: snapshot.OnMissing, Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "gone"}}},
		snapshot.Kind{Name: "hw.partition", Doc: "p", Attrs: []snapshot.Attr{{Name: "n", Doc: "n"}},
			Rules: []snapshot.Rule{{Code: "partition-missing", On: snapshot.OnMissing, Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "gone"}}},
	)
	if err != nil {
		panic(err)
	}
	return kinds
}()

// thing is a disk whose ID is its first alias.
func thing(n int, aliases ...string) snapshot.Subject {
	s := snapshot.Subject{Kind: "hw.disk", ID: aliases[0], Outcome: snapshot.Measured}
	s.Set("aliases", snapshot.List(aliases...))
	s.Set("n", snapshot.Int(n))
	return s
}

func snapOf(t testing.TB, subjects ...snapshot.Subject) *snapshot.Snapshot {
	t.Helper()
	src := snapshot.Subject{Kind: snapshot.SourceKind, ID: "disk", Outcome: snapshot.Measured}
	src.Set(snapshot.SourceKinds, snapshot.List("hw.disk", "hw.partition"))
	s := &snapshot.Snapshot{Subjects: append(subjects, src)}
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	return s
}

// changes are the deltas on whole subjects and on n, in words.
func changes(deltas []snapshot.Delta) []string {
	out := []string{}
	for _, d := range deltas {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", d.Change, d.Key.ID, d.Attr)))
	}
	return out
}

func TestAliases(t *testing.T) {
	list := func(s ...snapshot.Subject) []snapshot.Subject { return s }
	cases := []struct {
		name     string
		old, new []snapshot.Subject
		want     []string
	}{
		{"the WWID is not shown any more", list(thing(1, "wwid:1", "serial:a", "at:p")), list(thing(1, "serial:a", "at:p")), []string{}},
		{"and something changed", list(thing(1, "wwid:1", "serial:a", "at:p")), list(thing(2, "serial:a", "at:p")), []string{"changed serial:a n"}},
		{"another WWID, the same serial number", list(thing(1, "wwid:1", "nvme:s")), list(thing(1, "wwid:2", "nvme:s")), []string{}},
		{"nothing but the place in common", list(thing(1, "wwid:1", "at:p")), list(thing(1, "serial:a", "at:p")), []string{}},
		{"moved, known by what is on it", list(thing(1, "at:p", "table:t")), list(thing(1, "at:q", "table:t")), []string{}},
		{"another disk at the same place", list(thing(1, "serial:a", "at:p")), list(thing(1, "serial:b", "at:p")), []string{"removed serial:a", "added serial:b"}},
		{"a clone took its place", list(thing(1, "serial:a", "at:p", "table:t")), list(thing(1, "serial:b", "at:p", "table:t")), []string{"removed serial:a", "added serial:b"}},
		{"two disks with one serial number, one is gone", list(thing(1, "at:p", "serial:x"), thing(2, "at:q", "serial:x")), list(thing(2, "serial:x", "at:q")), []string{"removed at:p"}},
		{"another comes with the serial number of the first", list(thing(1, "serial:x", "at:p")), list(thing(1, "at:p", "serial:x"), thing(2, "at:q", "serial:x")), []string{"added at:q"}},
		{"aliases that lead to two", list(thing(1, "a:1", "b:2")), list(thing(1, "c:3", "a:1"), thing(1, "d:4", "b:2")), []string{"removed a:1", "added c:3", "added d:4"}},
		{"two that lead to one", list(thing(1, "a:1"), thing(1, "b:2")), list(thing(1, "c:3", "a:1", "b:2")), []string{"removed a:1", "removed b:2", "added c:3"}},
		{"no scheme, no value", list(thing(1, "x", "y:", ":z")), list(thing(1, "w", "y:", ":z")), []string{"added w", "removed x"}},
		{"nothing in common", list(thing(1, "a:1")), list(thing(1, "b:2")), []string{"removed a:1", "added b:2"}},
	}
	for _, c := range cases {
		old, new := snapOf(t, c.old...), snapOf(t, c.new...)
		if d := cmp.Diff(c.want, changes(Diff(old, new, aliasKinds))); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		back := Diff(new, old, aliasKinds)
		if (len(back) == 0) != (len(c.want) == 0) {
			t.Errorf("%s: the other way about %v", c.name, changes(back))
		}
	}
}

// What hangs on a disk hangs on it still, and Judge sees one disk.
func TestAliasesOfParents(t *testing.T) {
	part := snapshot.Subject{Kind: "hw.partition", ID: "p1", Parent: "hw.disk/wwid:1", Outcome: snapshot.Measured}
	old := snapOf(t, thing(1, "wwid:1", "serial:a"), part)
	before := slices.Clone(old.Subjects)
	if j := Judge(old, snapOf(t, thing(1, "serial:a")), aliasKinds, Policy{}); len(j.Findings) != 1 || j.Findings[0].Subject.ID != "p1" || len(j.Findings[0].Behind) != 0 {
		t.Errorf("the partition alone is gone: %+v", j.Findings)
	}
	if d := cmp.Diff(before, old.Subjects); d != "" {
		t.Errorf("the old snapshot was changed:\n%s", d)
	}
	part.Parent = "hw.disk/serial:a"
	if j := Judge(old, snapOf(t, thing(1, "serial:a"), part), aliasKinds, Policy{}); len(j.Findings) != 0 || j.Verdict != snapshot.Good {
		t.Errorf("nothing is gone: %+v", j.Findings)
	}
}

// A subject with more aliases than anything real costs no more time for it.
func TestAliasesHostile(t *testing.T) {
	var many, more []string
	for n := range 20_000 {
		many, more = append(many, fmt.Sprintf("at:%d", n)), append(more, fmt.Sprintf("s%d:1", n))
	}
	old := snapOf(t, thing(1, append([]string{"x:1"}, append(many, more...)...)...))
	new := snapOf(t, thing(1, append([]string{"y:1"}, append(many, more...)...)...))
	began := time.Now()
	Diff(old, new, aliasKinds)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	odd := thing(1, "a:1")
	odd.Attrs["aliases"] = snapshot.Text("a:1")
	if got := changes(Diff(snapOf(t, odd), snapOf(t, thing(1, "b:1", "a:1")), aliasKinds)); len(got) != 2 {
		t.Errorf("aliases that are no set: %v", got)
	}
}

func FuzzAliases(f *testing.F) {
	f.Add("wwid:1,at:p;serial:a", "serial:a,at:p")
	f.Add("at:p,x:1;at:q,x:1", "x:1,at:q")
	f.Fuzz(func(t *testing.T, a, b string) {
		parse := func(text string) *snapshot.Snapshot {
			seen := map[string]bool{}
			var out []snapshot.Subject
			for i, part := range strings.Split(text, ";") {
				if s := thing(i, strings.Split(part, ",")...); !seen[s.ID] {
					seen[s.ID] = true
					out = append(out, s)
				}
			}
			return snapOf(t, out...)
		}
		old, new := parse(a), parse(b)
		aligned := align(old, new, aliasKinds)
		if len(aligned.Subjects) != len(old.Subjects) || aligned.Sort() != nil {
			t.Errorf("align(%q, %q) lost a subject", a, b)
		}
		if got := Diff(old, old, aliasKinds); len(got) != 0 {
			t.Errorf("Diff with itself: %v", got)
		}
	})
}

// crowd is a large host; shift drops the first alias, by which all are known.
func crowd(b *testing.B, n int, shift bool) *snapshot.Snapshot {
	var out []snapshot.Subject
	for i := range n {
		aliases := []string{fmt.Sprintf("wwid:naa.5000%08d", i), fmt.Sprintf("serial:MODEL_S%08d", i), fmt.Sprintf("at:pci0000:00/%d", i), fmt.Sprintf("table:%08x", i)}
		if shift {
			aliases = aliases[1:]
		}
		s := thing(i, aliases...)
		s.Set("model", snapshot.Text("a model of disk"))
		out = append(out, s)
	}
	return snapOf(b, out...)
}

// The mark of a comparison of 5,000 subjects is 20 ms, of two machines of 300 devices
// 10 ms; the worst case is that every one is known by another ID now.
func BenchmarkDiffAliases(b *testing.B) {
	for _, n := range []int{300, 5000} {
		for _, shift := range []bool{false, true} {
			old, new := crowd(b, n, false), crowd(b, n, shift)
			b.Run(fmt.Sprintf("subjects=%d/all_known_by_another=%v", n, shift), func(b *testing.B) {
				for b.Loop() {
					if d := Diff(old, new, aliasKinds); len(d) != 0 {
						b.Fatalf("%d differences", len(d))
					}
				}
			})
		}
	}
}
