package kernels

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestFlavourOf(t *testing.T) {
	for release, want := range map[string][2]string{
		"6.1.0-56-amd64":                              {"amd64", "x86_64"},
		"6.1.0-56-cloud-amd64":                        {"cloud-amd64", "x86_64"},
		"6.1.0-56-rt-arm64":                           {"rt-arm64", "aarch64"},
		"6.1.0-56-rt-686-pae":                         {"rt-686-pae", "i686"},
		"6.1.0-56-armmp-lpae":                         {"armmp-lpae", "armv7l"},
		"6.12.90+deb13-amd64":                         {"amd64", "x86_64"},
		"6.12.90+deb13-cloud-arm64":                   {"cloud-arm64", "aarch64"},
		"6.12.9+bpo-amd64":                            {"amd64", "x86_64"},
		"6.12.0-rc5-amd64":                            {"amd64", "x86_64"},
		"6.8.0-45-generic":                            {"generic", ""},
		"6.8.0-1016-aws":                              {"aws", ""},
		"6.8.12-9-pve":                                {"pve", ""},
		"6.12.25+rpt-rpi-v8":                          {"rpi-v8", ""},
		"6.4.0-150600.21-default":                     {"default", ""},
		"6.6.40-0-lts":                                {"lts", ""},
		"6.6.87.2-microsoft-standard-WSL2":            {"microsoft-standard-WSL2", ""},
		"5.14.0-611.el9.x86_64":                       {"", "x86_64"},
		"5.14.0-611.el9.x86_64+rt":                    {"rt", "x86_64"},
		"5.14.0-611.el9.aarch64+64k-debug":            {"64k-debug", "aarch64"},
		"6.11.0-0.rc5.20240829.45.fc42.ppc64le+debug": {"debug", "ppc64le"},
		"5.15.0-302.167.6.el9uek.x86_64":              {"uek", "x86_64"},
		"6.12.0-1.23.2.el9uek.aarch64+64k":            {"uek+64k", "aarch64"},
		"6.11.1-arch1-1":                              {"arch", ""},
		"6.11.1-zen1-1-zen":                           {"zen", ""},
		"7.3.1":                                       {"", ""},
		"7.3.1-2":                                     {"", ""},
		"":                                            {"", ""},
	} {
		flavour, arch := FlavourOf(release)
		if got := [2]string{flavour, arch}; got != want {
			t.Errorf("FlavourOf(%q) = %q, want %q", release, got, want)
		}
	}
}

func TestIsRelease(t *testing.T) {
	for s, want := range map[string]bool{
		"6.1": true, "6.1.0-56-amd64": true, "5.14.0-611.el9.x86_64+rt": true, "6.12~rc5": true, "6.6.87.2-microsoft-standard-WSL2": true,
		"6." + strings.Repeat("1", 62): true, "6." + strings.Repeat("1", 63): false,
		"": false, "6": false, "6.": false, ".1": false, "v6.1": false, "6.x": false, "-6.1": false, "6a.1": false, "6..1": false,
		"6.1/..": false, "6.1 x": false, "6.1\n": false, "6.1\x00": false, "6.1*": false, "6.1$": false, "6.1;": false, "6.1é": false, "6.1\xff": false,
		"6.1Ł": false, // its low byte is a letter's
	} {
		if got := isRelease(s); got != want {
			t.Errorf("isRelease(%q) = %v, want %v", s, got, want)
		}
	}
}

// FuzzRelease wants a release to be one path element and no option, and splitting one
// never to panic or to make up an architecture.
func FuzzRelease(f *testing.F) {
	for _, s := range []string{"6.1.0-56-cloud-amd64", "5.14.0-611.el9uek.x86_64+rt", "6.11.1-arch1-1", "../6.1", "6.-", "-", "+", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if isRelease(s) && (filepath.Base(s) != s || strings.HasPrefix(s, "-") || strings.HasPrefix(s, ".") || strings.ContainsAny(s, "/\n\x00 ")) {
			t.Errorf("%q is taken for a release", s)
		}
		flavour, arch := FlavourOf(s)
		known := arch == ""
		for _, a := range archNames {
			known = known || a == arch
		}
		if !known || len(flavour) > len(s)+len("arch") {
			t.Errorf("FlavourOf(%q) = %q, %q", s, flavour, arch)
		}
	})
}
