package page

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func TestParseDiff(t *testing.T) {
	for raw, want := range map[string]DiffQuery{
		"":                          {},
		"from=last-good&to=current": {From: "last-good", To: "current"},
		"from=a&to=6.1.0-56%2Bdeb~1&kind=hw.disk&page=3": {From: "a", To: "6.1.0-56+deb~1", Kind: "hw.disk", Page: 2},
	} {
		got, err := ParseDiff(raw)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", raw, err, diff)
		}
	}
	for _, raw := range []string{"from=a", "to=a", "from=a&to=b&from=c", "from=a&to=b&x=1", "from=../a&to=b", "from=a/b&to=b", "from=a&to=b&page=0", "from=a&to=b&page=-1", "from=a&to=b&page=x",
		"from=a&to=b&page=501", "from=%3Cscript%3E&to=b", "from=a&to=b&kind=%22", "%zz", "from=a&to=" + strings.Repeat("b", 200), "from=a&to=b%00"} {
		if q, err := ParseDiff(raw); err == nil {
			t.Errorf("%q is taken as %+v", raw, q)
		}
	}
}

// FuzzParseDiff holds what is read to its own address: that asks for the same again, and
// no sign in it leaves an attribute or a path.
func FuzzParseDiff(f *testing.F) {
	for _, raw := range []string{"", "from=last-good&to=current", "from=a&to=b&kind=hw.disk&page=2", "from=a&to=b&from=c", "from=%2e%2e&to=b", "from=a;to=b", "from=\"><&to=b"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := ParseDiff(raw)
		if err != nil {
			if q != (DiffQuery{}) {
				t.Fatalf("%q is refused and gives %+v", raw, q)
			}
			return
		}
		for _, word := range []string{q.From, q.To, q.Kind} {
			if strings.ContainsAny(word, "/\\<>\"'&%? \x00\n") || strings.Contains(word, "..") || len(word) > mostWord {
				t.Fatalf("%q gives %q", raw, word)
			}
		}
		if q.Empty() {
			return
		}
		u, err := url.Parse(q.URL())
		if err != nil || u.Path != DiffPath {
			t.Fatalf("%+v has the address %q: %v", q, q.URL(), err)
		}
		if again, err := ParseDiff(u.RawQuery); err != nil || again != q {
			t.Fatalf("%+v became %+v: %v", q, again, err)
		}
	})
}

func diskAt(boot, name string) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Subjects: []snapshot.Subject{
		{Kind: "hw.disk", ID: "a", Label: "Disk", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"name": snapshot.Text(name), "model": snapshot.Text("same")}},
		{Kind: "hw.usb", ID: boot, Outcome: snapshot.Measured},
		{Kind: snapshot.SourceKind, ID: "all", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List("hw.disk", "hw.usb")}},
	}}
	s.Identity.BootID, s.Identity.Kernel.Release = boot, "6.1-"+boot
	return s
}

func TestDiffRows(t *testing.T) {
	from, to := diskAt("one", "sda"), diskAt("two", "sdb")
	rep := &report.Report{Verdict: snapshot.Good}
	v := diffOf(DiffQuery{From: "one", To: "two"}, from, to, rep, snapshot.Kinds{})
	want := []diffRow{{"Disk", "hw.disk/a", "name", "sda", "sdb", 1}, {"one", "hw.usb", "gone", "–", "–", 1}, {"two", "hw.usb", "new", "–", "–", 1}}
	if diff := cmp.Diff(want, v.Rows); diff != "" {
		t.Error(diff)
	}
	if v.FromName != "6.1-one" || len(v.Kinds) != 3 || v.Kinds[0].Name != "all 3" || !v.Kinds[0].Here {
		t.Errorf("names %q %q, kinds %+v", v.FromName, v.ToName, v.Kinds)
	}
	only := diffOf(DiffQuery{From: "one", To: "two", Kind: "hw.disk", Page: 400}, from, to, rep, snapshot.Kinds{})
	if diff := cmp.Diff(want[:1], only.Rows); diff != "" {
		t.Error(diff)
	}
	if none := diffOf(DiffQuery{From: "one", To: "one", Kind: "hw.disk"}, from, from, rep, snapshot.Kinds{}); len(none.Rows) != 0 {
		t.Errorf("a boot differs from itself: %+v", none.Rows)
	}
}
