package kernels

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

var aptCmp = cmp.AllowUnexported(aptSource{}, aptOption{})

func TestParseOneLine(t *testing.T) {
	got, err := parseOneLine(`# deb http://no x main
deb http://mirror/debian bookworm main contrib # why
deb-src http://mirror/debian bookworm main
deb [arch=amd64,arm64 signed-by=/k.gpg trusted=yes target=x] https://m/s ./
deb [ broken
deb http://alone
`)
	want := []aptSource{
		{uris: []string{"http://mirror/debian"}, suites: []string{"bookworm"}, components: []string{"main", "contrib"}},
		{uris: []string{"https://m/s"}, suites: []string{"./"}, components: []string{}, options: []aptOption{
			{"Architectures", "amd64 arm64"}, {"Signed-By", "/k.gpg"}, {"Trusted", "yes"},
		}},
	}
	if d := cmp.Diff(want, got, aptCmp); d != "" {
		t.Error(d)
	}
	if err == nil || !strings.Contains(err.Error(), "line 5") || !strings.Contains(err.Error(), "line 6") {
		t.Errorf("error: %v", err)
	}
}

const debianSources = `# comment
Types: deb deb-src
URIs: http://mirror/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 AAAA
# between
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb-src
URIs: http://src
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off
Suites: bookworm
Components: main

Types: deb
URIs: http://security/debian-security
Suites: bookworm-security
Components: main
Targets: Packages Contents-deb
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`

func TestParseDeb822Sources(t *testing.T) {
	got, err := parseDeb822Sources(debianSources)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	key := "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n AAAA\n -----END PGP PUBLIC KEY BLOCK-----"
	if got[0].option("signed-by") != key {
		t.Errorf("key: %q", got[0].option("signed-by"))
	}
	again, err := parseDeb822Sources(got[0].stanza("amd64") + got[1].stanza("amd64"))
	if err != nil || len(again) != 2 || again[0].option("Signed-By") != key || !slices.Equal(again[1].uris, got[1].uris) {
		t.Errorf("written and read again: %+v, %v", again, err)
	}
	if n := strings.Count(got[1].stanza("amd64"), "Targets:"); n != 1 {
		t.Errorf("%d Targets fields", n)
	}
}

func TestReadSourcesKeepsErrors(t *testing.T) {
	f := host(map[string]string{
		"/etc/apt/sources.list":               "deb http://a x main\n",
		"/etc/apt/sources.list.d/b.sources":   debianSources,
		"/etc/apt/sources.list.d/c.list":      "deb http://c x main\n",
		"/etc/apt/sources.list.d/d.list.save": "deb http://d x main\n",
	})
	f.Errs = map[string]error{"/etc/apt/sources.list.d/c.list": unix.EIO}
	got, errs := readSources(t.Context(), sysfs.New(f))
	if len(got) != 3 || len(errs) != 1 || !errors.Is(errs[0], unix.EIO) {
		t.Errorf("%+v, %v", got, errs)
	}
}

func TestAddSuites(t *testing.T) {
	own, err := parseDeb822Sources(debianSources)
	if err != nil {
		t.Fatal(err)
	}
	all, errs := addSuites(own, "bookworm", "amd64", []string{"bookworm", "trixie-security", "sid", "bad suite", "../x"})
	if len(errs) != 2 || len(all) != 4 {
		t.Fatalf("%+v, %v", all, errs)
	}
	if s := findSuite(all, "trixie-security"); s.uris[0] != "http://security/debian-security" || !strings.HasSuffix(s.option("Signed-By"), ".gpg") {
		t.Errorf("security: %+v", s)
	}
	if s := findSuite(all, "sid"); s.uris[0] != "http://mirror/debian" || !strings.Contains(s.option("Signed-By"), "BEGIN PGP") {
		t.Errorf("sid: %+v", s)
	}
	all, errs = addSuites(own[:1], "bookworm", "amd64", []string{"bookworm-security"})
	if s := findSuite(all, "bookworm-security"); len(errs) > 0 || s == nil || s.uris[0] != "http://mirror/debian-security" {
		t.Errorf("security derived from the mirror: %+v, %v", s, errs)
	}
	if _, errs := addSuites(nil, "bookworm", "amd64", []string{"sid"}); len(errs) != 1 {
		t.Errorf("no sources: %v", errs)
	}
	lax := own[1]
	lax.options = append(slices.Clone(lax.options), aptOption{"Trusted", "yes"})
	if all, errs := addSuites([]aptSource{own[0], lax}, "bookworm", "amd64", []string{"trixie-security"}); len(errs) > 0 ||
		findSuite(all, "bookworm-security").option("Trusted") != "yes" || findSuite(all, "trixie-security").option("Trusted") != "" {
		t.Errorf("trust in one suite is given to another: %+v, %v", all, errs)
	}
	foreign := own[1]
	foreign.options = append(foreign.options, aptOption{"Architectures", "arm64"})
	if all, _ := addSuites([]aptSource{foreign}, "bookworm", "amd64", nil); len(all) != 0 {
		t.Errorf("a source of another architecture is kept: %+v", all)
	}
}

func TestSecurityURIs(t *testing.T) {
	for in, want := range map[string]string{
		"http://deb.debian.org/debian":          "http://deb.debian.org/debian-security",
		"https://m.corp/mirrors/debian/":        "https://m.corp/mirrors/debian-security",
		"http://deb.corp":                       "http://deb.corp/debian-security",
		"file:/srv/debian":                      "file:/srv/debian-security",
		"tor+http://x.onion/debian":             "tor+http://x.onion/debian-security",
		"mirror+https://m.corp/lists/debian.tx": "mirror+https://m.corp/lists/debian-security",
	} {
		if got := securityURIs([]string{in}); got[0] != want {
			t.Errorf("%s: %s, want %s", in, got[0], want)
		}
	}
}

func TestAptRootRefusesPathsThatBreakItsConfiguration(t *testing.T) {
	if err := writeAptRoot("/tmp/a\"; APT::Get::AllowUnauthenticated \"true", "amd64", nil); err == nil {
		t.Error("a path with a quote was taken")
	}
}

func FuzzParseSources(f *testing.F) {
	f.Add(debianSources)
	f.Add("deb [a=b] http://x y z\n")
	f.Add("Types: deb\nURIs: a\nSuites: ./\nSigned-By:\n k\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) ([]aptSource, error){parseOneLine, parseDeb822Sources} {
			all, _ := parse(text)
			for _, s := range all {
				again, err := parseDeb822Sources(s.stanza("amd64"))
				if err != nil || len(again) != 1 {
					t.Fatalf("%+v is written as\n%s\nand read as %+v, %v", s, s.stanza("amd64"), again, err)
				}
				if !slices.Equal(again[0].suites, s.suites) || !slices.Equal(again[0].uris, s.uris) || again[0].option("Trusted") != s.option("Trusted") {
					t.Fatalf("%+v is read again as %+v", s, again[0])
				}
			}
		}
	})
}
