package kernels

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxChangelog bounds a changelog, in bytes: Debian's 6.12 has 4.3 MB.
const maxChangelog = 64 << 20

// errNoChangelog is a package without one.
var errNoChangelog = errors.New("no changelog in the package")

// Changelog is the changelog of an offered kernel's package, with all versions
// before it. It is taken from the package itself, which the mirror has, and only
// where that has none from the archive's changelog server.
func (a *Apt) Changelog(ctx context.Context, pkg, version string) (string, error) {
	op := fmt.Sprintf("read changelog of %s %s", pkg, version)
	if !isPackage(pkg) || !isPackageVersion(version) {
		return "", fmt.Errorf("%s: no package of a Debian archive", op)
	}
	all, err := a.Offered(ctx)
	if len(all) == 0 && err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	dir, err := downloadFolder(a.dir)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	defer os.RemoveAll(dir)
	var errs []error
	for _, p := range documented(all, pkg, version) {
		deb := filepath.Join(dir, "package.deb")
		err := a.Fetch(ctx, p, deb)
		if err == nil {
			var text string
			if text, err = ChangelogOf(ctx, deb); err == nil {
				return text, nil
			}
		}
		errs = append(errs, err)
	}
	text, err := a.serverChangelog(ctx, dir, pkg, version)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, errors.Join(append(errs, err)...))
	}
	return text, nil
}

// documented are the packages of a kernel that may hold its changelog: linux-base,
// small, where there is one, else the image.
func documented(all []Kernel, pkg, version string) []Part {
	var out []Part
	for _, k := range all {
		if k.Package != pkg || k.Version != version {
			continue
		}
		for _, p := range k.Parts {
			if role, _ := roleOf(p.Package); role == roleConfig {
				return []Part{p, k.Parts[0]}
			}
		}
		return k.Parts[:1]
	}
	return out
}

// serverChangelog asks the archive's changelog server (Acquire::Changelogs::URI).
func (a *Apt) serverChangelog(ctx context.Context, dir, pkg, version string) (string, error) {
	stdout, stderr, err := a.get(ctx, dir, fetchTimeout, "changelog", "--download-only", pkg+"="+version)
	if err != nil {
		return "", aptError("download changelog", stdout+"\n"+stderr, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.changelog"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("download changelog: apt-get left %d files, want one", len(found))
	}
	f, err := os.Open(found[0])
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readText(f)
}

// ChangelogOf is the changelog inside a .deb, unpacked by dpkg-deb.
func ChangelogOf(ctx context.Context, deb string) (string, error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, _, err := run(ctx, command{name: "dpkg-deb", args: []string{"--fsys-tarfile", deb}, timeout: localTimeout, stdout: w, hint: aptHint})
		w.CloseWithError(err)
		done <- err
	}()
	text, err := findChangelog(r)
	r.CloseWithError(errors.New("package is not read on"))
	if runErr := <-done; errors.Is(err, errNoChangelog) && runErr != nil {
		err = runErr
	}
	if err != nil {
		return "", fmt.Errorf("read changelog of %s: %w", deb, err)
	}
	return text, nil
}

// findChangelog looks for usr/share/doc/PACKAGE/changelog.Debian.gz, or changelog.gz
// of a native package, in a tar stream.
func findChangelog(r io.Reader) (string, error) {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return "", errNoChangelog
		}
		if err != nil {
			return "", err
		}
		name := path.Clean("/" + h.Name)
		base := path.Base(name)
		if h.Typeflag != tar.TypeReg || path.Dir(path.Dir(name)) != "/usr/share/doc" || base != "changelog.Debian.gz" && base != "changelog.gz" {
			continue
		}
		z, err := gzip.NewReader(in)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return readText(z)
	}
}

func readText(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxChangelog+1))
	if err == nil && len(b) > maxChangelog {
		err = fmt.Errorf("more than %d bytes", maxChangelog)
	}
	return string(b), err
}

// ChangelogAbout picks from a Debian changelog what the versions after one and up
// to another say about a subject, such as bpf, one change a line, newest first.
// Continuation lines are joined.
func ChangelogAbout(text, after, upto string, words ...string) []string {
	var out []string
	in, change := false, ""
	flush := func() {
		for _, w := range words {
			if in && strings.Contains(strings.ToLower(change), strings.ToLower(w)) {
				out = append(out, change)
				break
			}
		}
		change = ""
	}
	for _, line := range strings.Split(text, "\n") {
		if v := entryVersion(line); v != "" {
			flush()
			v = beforeRebuild(v)
			in = CompareDebian(v, beforeRebuild(after)) > 0 && CompareDebian(v, beforeRebuild(upto)) <= 0
			continue
		}
		item := strings.TrimSpace(line)
		switch {
		case item == "" || strings.HasPrefix(line, " -- "):
			flush()
		case strings.HasPrefix(item, "* ") || strings.HasPrefix(item, "- "):
			flush()
			change = item[2:]
		case change != "":
			change += " " + item
		}
	}
	flush()
	return out
}

// entryVersion is the version in a heading: "linux (6.1.192-2) bookworm; urgency=high".
// Signed packages write the dash of the source's version as a plus.
func entryVersion(line string) string {
	source, rest, ok := strings.Cut(line, " (")
	version, rest, closed := strings.Cut(rest, ")")
	if !ok || !closed || !isPackage(source) || !isPackageVersion(version) || !strings.Contains(rest, ";") {
		return ""
	}
	if strings.Contains(source, "-signed") && !strings.Contains(version, "-") {
		version = strings.Replace(version, "+", "-", 1)
	}
	return version
}

// beforeRebuild is the version that a backport was made of: 6.12.117-1~deb12u1 sorts
// before the 6.12.117-1 whose changes it has.
func beforeRebuild(version string) string {
	for _, mark := range []string{"~deb", "~bpo"} {
		if at := strings.LastIndex(version, mark); at > 0 {
			return version[:at]
		}
	}
	return version
}
