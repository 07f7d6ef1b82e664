package kernels

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ordered checks one expectation both ways round.
func ordered(t *testing.T, name string, compare func(a, b string) int, a, b string, want int) {
	t.Helper()
	if got := compare(a, b); got != want {
		t.Errorf("%s(%q, %q) = %d, want %d", name, a, b, got, want)
	}
	if got := compare(b, a); got != -want {
		t.Errorf("%s(%q, %q) = %d, want %d", name, b, a, got, -want)
	}
}

// debianOrder are orders that deb-version(7) gives.
var debianOrder = []struct {
	a, b string
	want int
}{
	{"6.1.192-2", "6.1.192-2", 0},
	{"6.1.192-2~bpo11+1", "6.1.192-2", -1},
	{"6.1.192-2~bpo", "6.1.192-2", -1},
	{"6.1.192-2~~", "6.1.192-2~", -1},
	{"6.1.192-2~", "6.1.192-2~a", -1},
	{"6.1.192-2", "6.1.192-2a", -1},
	{"6.1.192-2a", "6.1.192-2+", -1},
	{"6.1.192-2", "6.1.192-2+b1", -1},
	{"6.1.192-2+b1", "6.1.192-2+b2", -1},
	{"6.1.192-2+b9", "6.1.192-2+b10", -1},
	{"6.1.192-2+b1", "6.1.192-3", -1},
	{"6.12.90-1", "6.12.90-2", -1},
	{"6.12.9-1", "6.12.90-1", -1},
	{"6.9.12-1", "6.12.1-1", -1},
	{"6.12~rc5-1~exp1", "6.12-1", -1},
	{"6.12~rc5-1~exp1", "6.12~rc5-1", -1},
	{"6.12~rc5-1", "6.12~rc10-1", -1},
	{"6.12-1", "6.12.1-1", -1},
	{"9.9-9", "1:1.0-1", -1},
	{"0:1.0-1", "1.0-1", 0},
	{"1:1.0-1", "2:0.1-1", -1},
	{"1.0", "1.0-0", 0},
	{"1.0", "1.0-1", -1},
	{"1.00-01", "1.0-1", 0},
	{"1.0-2-1", "1.0-10", 1}, // the revision is behind the last dash
	{"1.0Z", "1.0a", -1},
	{"1.0a", "1.0.", -1},
	{"1.0+", "1.0.", -1},
	{"1.99999999999999999999999999", "1.100000000000000000000000000", -1},
}

func TestCompareDebian(t *testing.T) {
	for _, c := range debianOrder {
		ordered(t, "CompareDebian", CompareDebian, c.a, c.b, c.want)
	}
}

// dpkgOrder is dpkg's own answer.
func dpkgOrder(t *testing.T, dpkg, a, b string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for op, c := range map[string]int{"lt": -1, "eq": 0} {
		cmd := exec.CommandContext(ctx, dpkg, "--compare-versions", a, op, b)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil && len(out) == 0:
			return c
		case len(out) > 0, !errors.As(err, &exit), exit.ExitCode() != 1:
			t.Fatalf("dpkg --compare-versions %s %s %s: %v: %s", a, op, b, err, out)
		}
	}
	return 1
}

// someVersion makes a version that dpkg takes, from few pieces, so that two often
// have a beginning in common.
func someVersion(r *rand.Rand) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	part := func() string {
		s := pick("0", "1", "6", "10", "01")
		for range r.IntN(4) {
			s += pick(".", "~", "+", "a", "b", "rc", "Z", "~~", ".+") + pick("", "0", "1", "2", "10", "007")
		}
		return s
	}
	v := pick("", "", "0:", "1:", "10:") + part()
	for range r.IntN(3) {
		v += "-" + part()
	}
	return v
}

// TestCompareDebianAsDpkg asks dpkg about the table and about generated versions.
func TestCompareDebianAsDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("dpkg is not installed: its order cannot be asked for")
		}
		t.Skip("dpkg is not installed: its order cannot be asked for")
	}
	for _, c := range debianOrder {
		if got := dpkgOrder(t, dpkg, c.a, c.b); got != c.want {
			t.Errorf("dpkg orders %s and %s %d, the table says %d", c.a, c.b, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		a, b := someVersion(r), someVersion(r)
		ordered(t, "CompareDebian", CompareDebian, a, b, dpkgOrder(t, dpkg, a, b))
	}
}

// TestCompareRPM has the cases that rpm checks itself by (tests/rpmvercmp.at), and
// those of epoch and release.
func TestCompareRPM(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0}, {"1.0", "2.0", -1}, {"2.0.1", "2.0.1", 0}, {"2.0", "2.0.1", -1},
		{"2.0.1a", "2.0.1a", 0}, {"2.0.1", "2.0.1a", -1},
		{"5.5p1", "5.5p2", -1}, {"5.5p10", "5.5p10", 0}, {"5.5p1", "5.5p10", -1},
		{"10xyz", "10.1xyz", -1}, {"xyz10", "xyz10.1", -1}, {"xyz.4", "8", -1}, {"xyz.4", "2", -1},
		{"5.5p2", "5.6p1", -1}, {"5.6p1", "6.5p1", -1},
		{"6.0", "6.0.rc1", -1}, {"10a1", "10b2", -1}, {"10a2", "10b2", -1}, {"1.0a", "1.0aa", -1},
		{"10.0001", "10.1", 0}, {"10.0001", "10.0039", -1}, {"4.999.9", "5.0", -1},
		{"20101121", "20101122", -1}, {"2.0", "2_0", 0},
		{"a", "a", 0}, {"a+", "a+", 0}, {"a+", "a_", 0}, {"+a", "_a", 0}, {"+_", "_+", 0}, {"+", "_", 0},
		{"1.0~rc1", "1.0~rc1", 0}, {"1.0~rc1", "1.0", -1}, {"1.0~rc1", "1.0~rc2", -1}, {"1.0~rc1~git123", "1.0~rc1", -1},
		{"1.0^", "1.0^", 0}, {"1.0", "1.0^", -1}, {"1.0", "1.0^git1", -1}, {"1.0^git1", "1.0^git2", -1}, {"1.0^git1", "1.01", -1},
		{"1.0^20160101", "1.0.1", -1}, {"1.0^20160101^git1", "1.0^20160102", -1},
		{"1.0~rc1", "1.0~rc1^git1", -1}, {"1.0^git1~pre", "1.0^git1", -1},
		{"1b.fc17", "1.fc17", -1}, {"1.fc17", "1g.fc17", -1},
		{"1.1.α", "1.1.β", 0}, {"1.1.αα", "1.1.α", 0},

		{"5.14.0-611.el9", "5.14.0-611.el9", 0}, {"5.14.0-70.el9", "5.14.0-611.el9", -1},
		{"5.14.0-611.el9", "5.14.0-611.5.1.el9_7", -1}, {"5.14.0-611.el9", "6.12.0-1.el10", -1},
		{"0:5.14.0-1", "5.14.0-1", 0}, {"9.9-9", "1:1.0-1", -1}, {"2:1.0-1", "10:1.0-1", -1},
		{"5.14.0", "5.14.0-611.el9", 0}, // a dependency without a release is met by any
		{"5.14.0", "5.14.1-1.el9", -1},
	} {
		ordered(t, "CompareRPM", CompareRPM, c.a, c.b, c.want)
	}
}

// FuzzOrder wants of both orders what sorting rests on.
func FuzzOrder(f *testing.F) {
	for _, c := range debianOrder {
		f.Add(c.a, c.b, "6.1.192-2+b1")
	}
	f.Add("1.0~rc1^git1", "1.0^git1~pre", "1.0.1")
	f.Add("1:1.0-1.fc17", "1b.fc17", "\xff\x00α:-~")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		lawful(t, "CompareDebian", CompareDebian, a, b, c)
		lawful(t, "rpmvercmp", rpmvercmp, a, b, c)
		// A missing release matches any, so there is an order only among versions that
		// all have one or all have none.
		_, _, ra := splitRPM(a)
		_, _, rb := splitRPM(b)
		_, _, rc := splitRPM(c)
		if (ra == "") == (rb == "") && (rb == "") == (rc == "") {
			lawful(t, "CompareRPM", CompareRPM, a, b, c)
		} else if CompareRPM(a, b) != -CompareRPM(b, a) {
			t.Errorf("CompareRPM(%q, %q) depends on the side", a, b)
		}
	})
}

func lawful(t *testing.T, name string, compare func(a, b string) int, a, b, c string) {
	t.Helper()
	if compare(a, a) != 0 {
		t.Errorf("%s: %q is not itself", name, a)
	}
	ab, bc, ac := compare(a, b), compare(b, c), compare(a, c)
	if compare(b, a) != -ab || compare(c, b) != -bc || compare(c, a) != -ac {
		t.Errorf("%s of %q, %q, %q depends on the side", name, a, b, c)
	}
	switch {
	case ab <= 0 && bc <= 0 && ac > 0, ab >= 0 && bc >= 0 && ac < 0, ab == 0 && bc == 0 && ac != 0, (ab < 0 && bc <= 0 || ab <= 0 && bc < 0) && ac >= 0:
		t.Errorf("%s: %q %d %q %d %q, and first to last %d", name, a, ab, b, bc, c, ac)
	}
}

func TestCompare(t *testing.T) {
	of := func(family, release, version string) Kernel {
		flavour, arch := FlavourOf(release)
		return Kernel{Release: release, Version: version, Flavour: flavour, Arch: arch, Family: family}
	}
	for _, c := range []struct {
		name string
		a, b Kernel
		want int
	}{
		{"versions of one release", of(FamilyDebian, "6.1.0-56-amd64", "6.1.192-1"), of(FamilyDebian, "6.1.0-56-amd64", "6.1.192-2"), -1},
		{"version before release", of(FamilyDebian, "6.1.0-57-amd64", "6.1.192-1"), of(FamilyDebian, "6.1.0-56-amd64", "6.1.192-2"), -1},
		{"same version", of(FamilyDebian, "6.1.0-56-amd64", "6.1.192-2"), of(FamilyDebian, "6.1.0-57-amd64", "6.1.192-2"), -1},
		{"version of one is not known", of(FamilyDebian, "6.1.0-9-amd64", "9"), of(FamilyDebian, "6.1.0-56-amd64", ""), -1},
		{"candidate for release", of(FamilyDebian, "6.12.0-rc5-amd64", ""), of(FamilyDebian, "6.12.0-amd64", ""), -1},
		{"candidates for release", of(FamilyDebian, "6.12.0-rc9-amd64", ""), of(FamilyDebian, "6.12.0-rc10-amd64", ""), -1},
		{"rpm candidate", of(FamilyRPM, "6.11.0-0.rc5.45.fc42.x86_64", ""), of(FamilyRPM, "6.11.0-0.fc42.x86_64", ""), -1},
		{"rpm", of(FamilyRPM, "5.14.0-70.el9.x86_64", "5.14.0-70.el9"), of(FamilyRPM, "5.14.0-611.el9.x86_64", "5.14.0-611.el9"), -1},
		{"one kernel", of(FamilyRPM, "5.14.0-70.el9.x86_64", "5.14.0-70.el9"), of(FamilyRPM, "5.14.0-70.el9.x86_64", ""), 0},
	} {
		if got, err := Compare(c.a, c.b); err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", c.name, got, err, c.want)
		}
		if got, err := Compare(c.b, c.a); err != nil || got != -c.want {
			t.Errorf("%s, other way round: %d, %v; want %d", c.name, got, err, -c.want)
		}
	}
}

func TestCompareRefusesOtherKinds(t *testing.T) {
	k := Kernel{Release: "6.1.0-56-amd64", Flavour: "amd64", Arch: "x86_64", Family: FamilyDebian}
	for what, change := range map[string]func(*Kernel){
		"flavour":        func(k *Kernel) { k.Flavour = "cloud-amd64" },
		"architecture":   func(k *Kernel) { k.Arch = "" },
		"package format": func(k *Kernel) { k.Family = FamilyRPM },
	} {
		other := k
		change(&other)
		for _, pair := range [][2]Kernel{{k, other}, {other, k}} {
			_, err := Compare(pair[0], pair[1])
			if !errors.Is(err, ErrMixed) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: error is %v", what, err)
			}
		}
	}
}

func TestSort(t *testing.T) {
	k := func(arch, family, flavour, version string) Kernel {
		return Kernel{Arch: arch, Family: family, Flavour: flavour, Version: version, Release: version}
	}
	want := []Kernel{
		k("aarch64", FamilyDebian, "arm64", "6.12.90-2"),
		k("x86_64", FamilyDebian, "amd64", "6.1.192-2~bpo11+1"),
		k("x86_64", FamilyDebian, "amd64", "6.1.192-2"),
		k("x86_64", FamilyDebian, "amd64", "6.12.90-1"),
		k("x86_64", FamilyDebian, "cloud-amd64", "6.1.192-2"),
		k("x86_64", FamilyRPM, "", "5.14.0-70.el9"),
		k("x86_64", FamilyRPM, "", "5.14.0-611.el9"),
		k("x86_64", FamilyRPM, "rt", "5.14.0-70.el9"),
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		got := append([]Kernel(nil), want...)
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("order (-want +got):\n%s", diff)
		}
	}
	// What is equal stays in its order: the first source of a kernel counts.
	same := []Kernel{{Release: "6.1", Source: SourceInstalled}, {Release: "6.1", Source: SourcePackage}}
	if Sort(same); same[0].Source != SourceInstalled {
		t.Error("equal kernels changed places")
	}
}
