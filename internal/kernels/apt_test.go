package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/sysfs"
)

// repository makes a package archive on disk with one kernel package, of which the
// index has the checksum of content, and returns its address.
func repository(t *testing.T, suite, content string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	index := filepath.Join(dir, "dists", suite, "main", "binary-amd64")
	if err := os.MkdirAll(index, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	text := fmt.Sprintf("Package: linux-image-6.1.0-99-amd64\nVersion: 6.1.999-1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"+
		"Filename: pool/k.deb\nSize: %d\nSHA256: %s\n", len(content), hex.EncodeToString(sum[:]))
	sum = sha256.Sum256([]byte(text))
	release := fmt.Sprintf("Suite: %s\nCodename: %s\nDate: Sat, 21 Nov 2026 00:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n %s %d main/binary-amd64/Packages\n",
		suite, suite, hex.EncodeToString(sum[:]), len(text))
	for name, b := range map[string]string{
		filepath.Join(index, "Packages"): text, filepath.Join(dir, "dists", suite, "Release"): release, filepath.Join(dir, "pool", "k.deb"): content,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// onApt is an Apt whose host has the sources given. It needs apt itself.
func onApt(t *testing.T, sources string, suites ...string) *Apt {
	t.Helper()
	for _, p := range []string{"apt-get", "dpkg", aptHelper} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("LASTGOOD_REQUIRE") != "" {
				t.Fatalf("%s is not installed: this test runs apt on an archive of its own", p)
			}
			t.Skipf("%s is not installed: this test runs apt on an archive of its own", p)
		}
	}
	root := sysfs.New(host(map[string]string{"/etc/apt/sources.list": sources}))
	a, err := NewApt(filepath.Join(t.TempDir(), "apt"), AptOptions{Root: root, Suites: suites, Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAptOffersAndFetches(t *testing.T) {
	repo := repository(t, "bookworm", "a package")
	a := onApt(t, "deb [trusted=yes] copy:"+repo+" bookworm main\n", "sid")
	if _, err := a.Offered(t.Context()); err == nil {
		t.Error("kernels offered before an update")
	}
	if err := a.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := a.Problems(); len(p) != 1 || !errors.Is(p[0], ErrUnreachable) || !strings.Contains(p[0].Error(), "sid") {
		t.Errorf("a suite that is not there: %v", p)
	}
	all, err := a.Offered(t.Context())
	if err != nil || len(all) != 1 || all[0].Suite != "bookworm" || all[0].Release != "6.1.0-99-amd64" {
		t.Fatalf("%+v, %v", all, err)
	}
	dst := filepath.Join(t.TempDir(), "k.deb")
	if err := a.Fetch(t.Context(), all[0].Parts[0], dst); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dst); err != nil || string(b) != "a package" {
		t.Errorf("%q, %v", b, err)
	}
	other := all[0].Parts[0]
	other.SHA256 = someSum
	if err := a.Fetch(t.Context(), other, dst+"2"); !errors.Is(err, ErrSignature) {
		t.Errorf("another checksum: %v", err)
	}
	gone := all[0].Parts[0]
	gone.Version = "6.1.998-1"
	var hint *HintError
	if err := a.Fetch(t.Context(), gone, dst+"2"); !errors.As(err, &hint) {
		t.Errorf("a version that is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Fetch(ctx, all[0].Parts[0], dst+"2"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := os.Stat(dst + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed fetch left a file: %v", err)
	}
	for _, pattern := range []string{filepath.Join(a.dir, "fetch-*"), filepath.Join(filepath.Dir(dst), ".fetch-*")} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// What the archive serves is not what its index says.
func TestAptRefusesChangedPackage(t *testing.T) {
	repo := repository(t, "bookworm", "a package")
	a := onApt(t, "deb [trusted=yes] copy:"+repo+" bookworm main\n")
	if err := a.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := a.Offered(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if err := os.WriteFile(filepath.Join(repo, "pool", "k.deb"), []byte("A package"), 0o644); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "k.deb")
	if err := a.Fetch(t.Context(), all[0].Parts[0], dst); !errors.Is(err, ErrSignature) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dst); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the package is there: %v", err)
	}
}

func TestAptRefusesUnsignedArchive(t *testing.T) {
	repo := repository(t, "bookworm", "a package")
	a := onApt(t, "deb copy:"+repo+" bookworm main\n")
	if err := a.Update(t.Context()); !errors.Is(err, ErrSignature) {
		t.Errorf("update from an unsigned archive: %v, problems %v", err, a.Problems())
	}
	if all, err := a.Offered(t.Context()); err == nil || len(all) > 0 {
		t.Errorf("an unsigned archive offers %+v, %v", all, err)
	}
}

func TestAptRefusesNamesThatAreNoPackages(t *testing.T) {
	a := onApt(t, "deb copy:/nowhere bookworm main\n")
	for _, p := range []Part{
		{Package: "-o=Dir=/", Version: "1", Arch: "amd64", SHA256: someSum}, {Package: "x", Version: "1 y", Arch: "amd64", SHA256: someSum},
		{Package: "x", Version: "1", Arch: "", SHA256: someSum}, {Package: "x", Version: "1", Arch: "amd64"},
	} {
		if err := a.Fetch(t.Context(), p, filepath.Join(t.TempDir(), "x")); err == nil {
			t.Errorf("%+v was taken", p)
		}
	}
}

func TestAptError(t *testing.T) {
	for _, c := range []struct {
		output string
		want   error
	}{
		{"W: GPG error: http://m sid InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 1\nE: The repository 'http://m sid InRelease' is not signed.", ErrSignature},
		{"E: The repository 'http://m/debian bullseye Release' does not have a Release file.", ErrUnreachable},
		{"W: Failed to fetch http://m/InRelease  Could not resolve 'm'\nW: Some index files failed to download.", ErrUnreachable},
		{"E: Failed to fetch http://m/k.deb  Hash Sum mismatch", ErrSignature},
		{"E: Release file for http://m is expired (invalid since 3d). Updates for this repository will not be applied.", ErrSignature},
		{"E: Failed to fetch http://m/k.deb  404  Not Found [IP: 1]", ErrUnreachable},
	} {
		err := aptError("x", c.output, errors.New("exit status 100"))
		var hint *HintError
		if !errors.Is(err, c.want) || !errors.As(err, &hint) || hint.Hint() == "" {
			t.Errorf("%q is %v, want %v", c.output, err, c.want)
		}
	}
	if err := aptError("x", "E: Could not get lock", errors.New("exit status 100")); errors.Is(err, ErrSignature) || errors.Is(err, ErrUnreachable) {
		t.Errorf("a lock is %v", err)
	}
}

func TestSuiteProblemIsAboutItsSuite(t *testing.T) {
	s := aptSource{uris: []string{"http://m/debian"}, suites: []string{"sid"}}
	said := []string{
		"E: The repository 'http://m/debian sid Release' does not have a Release file.",
		"W: Failed to fetch http://m/debian/dists/trixie/InRelease  Could not resolve 'm'",
	}
	have := []aptIndex{{"f", "trixie", "http://m/debian/"}, {"f", "bookworm", "http://m/debian/"}}
	if err := suiteProblem(s, "sid", said, have); !errors.Is(err, ErrUnreachable) {
		t.Errorf("sid: %v", err)
	}
	if err := suiteProblem(s, "trixie", said, have); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "not refreshed") {
		t.Errorf("trixie: %v", err)
	}
	if err := suiteProblem(s, "bookworm", said, have); err != nil {
		t.Errorf("bookworm: %v", err)
	}
	if err := suiteProblem(s, "bullseye", said, have); err == nil {
		t.Error("a suite without an index is no problem")
	}
}

// Nothing listens on port 1. The other archive still offers what it has.
func TestAptGoesOnWithoutAnUnreachableArchive(t *testing.T) {
	repo := repository(t, "bookworm", "a package")
	a := onApt(t, "deb http://127.0.0.1:1/debian trixie main\ndeb [trusted=yes] copy:"+repo+" bookworm main\n")
	if err := a.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := a.Problems(); len(p) != 1 || !errors.Is(p[0], ErrUnreachable) || !strings.Contains(p[0].Error(), "trixie") {
		t.Errorf("problems: %v", p)
	}
	if all, err := a.Offered(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	alone := onApt(t, "deb http://127.0.0.1:1/debian trixie main\n")
	if err := alone.Update(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no archive at all: %v", err)
	}
}
