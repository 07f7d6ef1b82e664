package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sassoftware/go-rpmutils"
)

const (
	top   = "../.."
	epoch = "1700000000"
)

// built is a folder with both packages; the binary is a script that says its version.
func built(t *testing.T, binary, version string) (deb, rpm string) {
	t.Helper()
	if binary == "" {
		binary = filepath.Join(t.TempDir(), "lastgood")
		if err := os.WriteFile(binary, []byte("#!/bin/sh\necho stand-in\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	made, err := options{binary: binary, top: top, out: t.TempDir(), arch: "amd64", version: version}.run(epoch)
	if err != nil {
		t.Fatal(err)
	}
	return made[0], made[1]
}

// needs is a program's path; a test that cannot have it says so.
func needs(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("%s is not installed", name)
	}
	return p
}

// TestReproducible: the same sources give the same bytes, whenever and with whatever times of files.
func TestReproducible(t *testing.T) {
	read := func(p string) []byte {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	deb, rpm := built(t, "", "v1.2.3")
	deb2, rpm2 := built(t, "", "v1.2.3")
	if !bytes.Equal(read(deb), read(deb2)) || !bytes.Equal(read(rpm), read(rpm2)) {
		t.Error("two packages of the same sources differ")
	}
	if filepath.Base(deb) != "lastgood_1.2.3_amd64.deb" || filepath.Base(rpm) != "lastgood-1.2.3-1.x86_64.rpm" {
		t.Errorf("they are called %s and %s", deb, rpm)
	}
}

// wanted is what files.list says a package holds: paths with modes.
func wanted(t *testing.T, format string) []string {
	t.Helper()
	b, err := os.ReadFile("files.list")
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseList(string(b))
	if err != nil {
		t.Fatal(err)
	}
	all, err := contents(list, format, top, "lastgood", t.TempDir(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range all {
		out = append(out, c.FileInfo.Mode.String()[1:]+" root/root "+c.Destination)
	}
	slices.Sort(out)
	return out
}

func TestDebHoldsTheList(t *testing.T) {
	dpkg := needs(t, "dpkg-deb")
	deb, _ := built(t, "", "v1.2.3")
	out, err := exec.Command(dpkg, "-c", deb).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var have []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		have = append(have, f[0][1:]+" "+f[1]+" "+strings.TrimSuffix(strings.TrimPrefix(f[5], "."), "/"))
	}
	for _, w := range wanted(t, "deb") {
		if !slices.Contains(have, w) {
			t.Errorf("the .deb lacks %s", w)
		}
	}
	for _, h := range have {
		if !strings.HasPrefix(h, "rwxr-xr-x") && !slices.Contains(wanted(t, "deb"), h) {
			t.Errorf("the .deb has %s, which is not in the list", h)
		}
	}
	out, err = exec.Command(dpkg, "-I", deb, "conffiles").CombinedOutput()
	want := "/etc/apt/apt.conf.d/80lastgood-preflight\n/etc/default/lastgood\n/etc/kernel/postinst.d/zz-lastgood-preflight\n/etc/lastgood/lastgood.yaml\n/etc/update-motd.d/60-lastgood\n"
	if err != nil || string(out) != want {
		t.Errorf("conffiles: %v\n%s", err, out)
	}
}

func TestRPMHoldsTheList(t *testing.T) {
	_, path := built(t, "", "v1.2.3-rc.1-4-gabcdef0")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := rpmutils.ReadRpm(f)
	if err != nil {
		t.Fatal(err)
	}
	nevra, err := r.Header.GetNEVRA()
	if err != nil || nevra.Version != "1.2.3~rc.1+4.gabcdef0" || nevra.Release != "1" {
		t.Errorf("it is %v, %v", nevra, err)
	}
	files, err := r.Header.GetFiles()
	if err != nil {
		t.Fatal(err)
	}
	var have, kept []string
	for _, f := range files {
		have = append(have, os.FileMode(f.Mode() & 0o777).String()[1:]+" "+f.UserName()+"/"+f.GroupName()+" "+f.Name())
		if f.Flags()&rpmutils.RPMFILE_CONFIG != 0 && f.Flags()&rpmutils.RPMFILE_NOREPLACE != 0 {
			kept = append(kept, f.Name())
		}
	}
	slices.Sort(have)
	if want := wanted(t, "rpm"); !slices.Equal(have, want) {
		t.Errorf("the .rpm holds\n%s\nand not\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(kept, []string{"/etc/default/lastgood", "/etc/lastgood/lastgood.yaml"}) {
		t.Errorf("kept at an upgrade: %v", kept)
	}
	for _, tag := range []int{rpmutils.POSTIN, rpmutils.PREUN, rpmutils.POSTUN} {
		if s, err := r.Header.GetString(tag); err != nil || !strings.Contains(s, "daemon-reload") && !strings.Contains(s, "disable") {
			t.Errorf("scriptlet %d: %q, %v", tag, s, err)
		}
	}
}

func TestPackageVersion(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	for described, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-dirty": "1.2.3+dirty", "1.2.3-4-gabcdef0": "1.2.3+4.gabcdef0", "v1.2.3-rc.1": "1.2.3~rc.1",
		"v1.2.3-rc.1-4-gabcdef0-dirty": "1.2.3~rc.1+4.gabcdef0+dirty", "abcdef0": "0.0.0~git202601020304.abcdef0",
		"1234567": "0.0.0~git202601020304.1234567", "abcdef0-dirty": "0.0.0~git202601020304.abcdef0+dirty", "": "0.0.0~git", "0.1.0-dev": "0.0.0~git",
	} {
		if have := packageVersion(described, at); have != want {
			t.Errorf("%q gives %s, not %s", described, have, want)
		}
	}
}

func TestParseListRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"words": "both 0644 file a\n", "mode": "both rw file a b\n", "setuid": "both 4755 file a b\n", "kind": "both 0644 link a b\n", "package": "apk 0644 file a b\n",
	} {
		if _, err := parseList("# a comment\n\n" + text); err == nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := contents([]line{{packages: "both", kind: "file", source: "none/*", destination: "/x/"}}, "deb", top, "", t.TempDir(), time.Time{}); err == nil {
		t.Error("a pattern without files was accepted")
	}
}

func TestRunRefuses(t *testing.T) {
	if _, err := (options{binary: "x", top: top, out: t.TempDir()}).run(""); err == nil {
		t.Error("a package without a time of its own was made")
	}
	out := t.TempDir()
	if _, err := (options{binary: "/nonexistent", top: top, out: out, arch: "amd64"}).run(epoch); err == nil {
		t.Error("a package without a binary was made")
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("a half package was left: %v, %v", left, err)
	}
}

// TestMaintainer: the field is one that dpkg and Debian's tools take, and names no mailbox that somebody else may have.
func TestMaintainer(t *testing.T) {
	deb, rpm := built(t, "", "v1.2.3")
	out, err := exec.Command(needs(t, "dpkg-deb"), "--field", deb, "Maintainer").Output()
	if err != nil || strings.TrimSpace(string(out)) != "lastgood developers <developers@lastgood.invalid>" {
		t.Errorf("deb: %q, %v", out, err)
	}
	f, err := os.Open(rpm)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := rpmutils.ReadRpm(f)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := r.Header.GetString(rpmutils.PACKAGER); err != nil || who != maintainer {
		t.Errorf("rpm: %q, %v", who, err)
	}
}
