package compare

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

// named is a disk with what names it, of kinds that say how they belong together.
func named(t *testing.T) snapshot.Kinds {
	t.Helper()
	kinds, err := snapshot.NewKinds(
		snapshot.Kind{Name: "disk", Doc: "d", AliasAttr: "aliases", Attrs: []snapshot.Attr{{Name: "name", Doc: "d"}, {Name: "aliases", Noise: snapshot.Evidence, Doc: "d"}}, Rules: []snapshot.Rule{
			{Code: "renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "was {old}: {users}"}}},
		snapshot.Kind{Name: "use", Doc: "d", NamesAttr: "base", Attrs: []snapshot.Attr{{Name: "base", Doc: "d"}, {Name: "means", Ref: true, Doc: "d"}, {Name: "all", Ref: true, Doc: "d"}, {Name: "need", Doc: "d"}}, Rules: []snapshot.Rule{
			{Code: "other", On: snapshot.OnChanged, Attr: "means", Where: map[string]string{"need": "yes"}, Together: "base", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "other"},
			{Code: "other", On: snapshot.OnChanged, Attr: "means", Together: "base", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "other"},
			{Code: "all", On: snapshot.OnChanged, Attr: "all", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "all"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

func diskNamed(id, name string, aliases ...string) snapshot.Subject {
	return snapshot.Subject{Kind: "disk", ID: id, Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"name": snapshot.Text(name), "aliases": snapshot.List(aliases...)}}
}

func use(id, base, need, means string) snapshot.Subject {
	return snapshot.Subject{Kind: "use", ID: id, Label: "file:" + id, Outcome: snapshot.Measured, Attrs: snapshot.Attrs{
		"base": snapshot.Text(base), "need": snapshot.Text(need), "means": snapshot.Text("disk/" + means), "all": snapshot.List("disk/"+means, "disk/x")}}
}

func sorted(t *testing.T, subjects ...snapshot.Subject) *snapshot.Snapshot {
	t.Helper()
	s := &snapshot.Snapshot{Subjects: subjects}
	for _, kind := range []string{"disk", "use"} {
		src := snapshot.Subject{Kind: snapshot.SourceKind, ID: kind, Outcome: snapshot.Measured}
		src.Set(snapshot.SourceKinds, snapshot.List(kind))
		s.Subjects = append(s.Subjects, src)
	}
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	return s
}

// A disk that is known by another ID now is the same to what refers to it.
func TestReferencesFollowAliases(t *testing.T) {
	old := sorted(t, diskNamed("wwid:1", "sda", "wwid:1", "serial:1"), use("1", "sda", "yes", "wwid:1"))
	new := sorted(t, diskNamed("serial:1", "sda", "serial:1"), use("1", "sda", "yes", "serial:1"))
	if j := Judge(old, new, named(t), Policy{}); len(j.Findings) > 0 {
		t.Errorf("findings %v", j.Findings)
	}
	if v := old.Subject(snapshot.Key{Kind: "use", ID: "1"}).Text("means"); v != "disk/wwid:1" {
		t.Errorf("the older snapshot was changed: %s", v)
	}
}

// What names one device is told as one finding, the worst first; a rename tells who
// knew the device by its name.
func TestToldTogether(t *testing.T) {
	old := sorted(t, diskNamed("a", "sda"), diskNamed("b", "sdb"), use("1", "sda", "no", "a"), use("2", "sda", "yes", "a"), use("3", "sda", "no", "a"), use("4", "sdb", "no", "b"), use("5", "sdc", "no", "a"))
	new := sorted(t, diskNamed("a", "sdb"), diskNamed("b", "sda"), use("1", "sda", "no", "b"), use("2", "sda", "yes", "b"), use("3", "sda", "no", "b"), use("4", "sdb", "no", "a"))
	var got []string
	for _, f := range Judge(old, new, named(t), Policy{}).Findings {
		if f.Code == "all" {
			continue
		}
		line := string(f.Severity) + " " + f.Subject.ID + " " + f.Message
		for _, b := range f.Behind {
			line += " + " + b.ID
		}
		got = append(got, line)
	}
	want := []string{
		"critical 2 other + 1 + 3", "warning 4 other",
		"info a was sda: file:1, file:2, file:3", "info b was sdb: file:4",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
	gone := sorted(t, diskNamed("a", "sdb"), diskNamed("b", "sda"))
	for _, f := range Judge(old, gone, named(t), Policy{}).Findings {
		if f.Message != "was sda: nothing that was read" && f.Message != "was sdb: nothing that was read" {
			t.Errorf("without its users: %s", f.Message)
		}
	}
}
