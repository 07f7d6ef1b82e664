package kernels

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repoquery is what dnf prints for the query format, written after the manual.
const repoquery = `kernel|0|5.14.0|611.5.1.el9_7|x86_64|baseos|1000
kernel-core|0|5.14.0|611.5.1.el9_7|x86_64|baseos|21000000
kernel-modules-core|0|5.14.0|611.5.1.el9_7|x86_64|baseos|32000000
kernel-modules|0|5.14.0|611.5.1.el9_7|x86_64|baseos|40000000

kernel-core|0|5.14.0|570.12.1.el9_6|x86_64|baseos|20000000
kernel-rt-core|0|5.14.0|611.5.1.el9_7|x86_64|rt|18000000
kernel-rt-modules-core|0|5.14.0|611.5.1.el9_7|x86_64|rt|1
kernel|0|6.1.112|122.189.amzn2023|x86_64|amazonlinux|36000000
kernel-core|0|5.14.0|611.5.1.el9_7|x86_64|updates|21000000
kernel-modules|0|1|1|x86_64|baseos|5
`

func TestParseRepoquery(t *testing.T) {
	all, err := parseRepoquery(repoquery)
	if err != nil || len(all) != 4 {
		t.Fatalf("%+v, %v", all, err)
	}
	k := byRelease(t, all, "5.14.0-611.5.1.el9_7.x86_64")
	if !k.Testable || k.Flavour != "" || k.Arch != "x86_64" || k.Version != "5.14.0-611.5.1.el9_7" || k.Suite != "baseos" ||
		names(k.Parts) != "kernel-core kernel-modules-core kernel-modules" || k.Parts[0].Size != 21000000 {
		t.Errorf("%+v", k)
	}
	if k := byRelease(t, all, "5.14.0-570.12.1.el9_6.x86_64"); k.Testable || !strings.Contains(k.Reason, "not its modules") {
		t.Errorf("no modules: %+v", k)
	}
	if k := byRelease(t, all, "5.14.0-611.5.1.el9_7.x86_64+rt"); k.Flavour != "rt" || !k.Testable {
		t.Errorf("real time: %+v", k)
	}
	if k := byRelease(t, all, "6.1.112-122.189.amzn2023.x86_64"); names(k.Parts) != "kernel" || !k.Testable {
		t.Errorf("all in one: %+v", k)
	}
	if _, err := parseRepoquery("Last metadata expiration check\n"); err == nil {
		t.Error("a line of another kind was taken")
	}
}

func FuzzParseRepoquery(f *testing.F) {
	f.Add(repoquery)
	f.Add("kernel||||||\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := parseRepoquery(text)
		for _, k := range all {
			if len(k.Parts) == 0 || k.Testable != (k.Reason == "") || k.Parts[0].Size < 0 {
				t.Errorf("%+v", k)
			}
		}
	})
}

// fakeDnf answers as dnf and rpmkeys would; verdict is rpmkeys' and status its exit.
func fakeDnf(t *testing.T, verdict, status string) *Dnf {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "answer"), []byte(repoquery), 0o644); err != nil {
		t.Fatal(err)
	}
	program(t, bin, "rpmkeys", `echo "$2: `+verdict+`"; exit `+status+"\n")
	program(t, bin, "dnf", `for a; do case "$a" in
makecache) exit 0;;
repoquery) cat `+bin+`/answer; exit 0;;
download) get=1;;
/*) dir=$a;;
esac; last=$a; done
[ "$get" ] || exit 1
case "$last" in gone*) echo "Curl error (6): Couldn't resolve host name" >&2; exit 1;; esac
echo package > "$dir/$last.rpm"
`)
	d, err := NewDnf(t.TempDir(), []string{"crb"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDnf(t *testing.T) {
	d := fakeDnf(t, "digests signatures OK", "0")
	if err := d.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := d.Offered(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatalf("%d kernels, %v", len(all), err)
	}
	dst := filepath.Join(t.TempDir(), "k.rpm")
	part := byRelease(t, all, "5.14.0-611.5.1.el9_7.x86_64").Parts[0]
	if err := d.Fetch(t.Context(), part, dst); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dst); err != nil || string(b) != "package\n" {
		t.Errorf("%q, %v", b, err)
	}
	part.Package = "gone"
	if err := d.Fetch(t.Context(), part, dst+"2"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no network: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(d.dir, "fetch-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDnfRefusesWhatIsNotSigned(t *testing.T) {
	for verdict, status := range map[string]string{
		"digests OK": "0", "digests SIGNATURES NOT OK": "1", "DIGESTS signatures NOT OK": "1", "digests signatures OK": "1",
	} {
		d := fakeDnf(t, verdict, status)
		dst := filepath.Join(t.TempDir(), "k.rpm")
		if err := d.Fetch(t.Context(), Part{Package: "kernel-core", Version: "5.14.0-1", Arch: "x86_64"}, dst); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", verdict, err)
		}
		if _, err := os.Stat(dst); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the package is there: %v", verdict, err)
		}
	}
}

func TestNewDnfWithoutDnf(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := NewDnf(t.TempDir(), nil); !errors.Is(err, ErrNoTool) {
		t.Errorf("%v", err)
	}
	if _, err := NewDnf(t.TempDir(), []string{"--x"}); err == nil {
		t.Error("an option was taken for a repository")
	}
}
