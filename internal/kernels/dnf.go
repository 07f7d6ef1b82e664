package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const dnfHint = "this needs dnf, and its download command: dnf install dnf-plugins-core"

// Dnf asks dnf (4 or 5) which kernels it offers. Its cache is its own.
//
// It was written after the two programs' manuals and is tested on recorded
// output alone: no dnf, no rpmkeys and no RPM archive has been run against it.
type Dnf struct {
	dir   string
	repos []string
}

// NewDnf is a Dnf that keeps its cache in dir, which it makes and which stays.
// repos are repositories to enable beside the host's own.
func NewDnf(dir string, repos []string) (*Dnf, error) {
	for _, r := range repos {
		if !isPackage(r) {
			return nil, fmt.Errorf("open dnf: %q is not the name of a repository", r)
		}
	}
	for _, name := range []string{"dnf", "rpmkeys"} {
		if _, err := lookProgram(name, dnfHint); err != nil {
			return nil, fmt.Errorf("open dnf: %w", err)
		}
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("open dnf: %w", err)
	}
	return &Dnf{dir, repos}, nil
}

// run runs dnf with its cache here. Version 5 run by root takes the second of the
// two names for it; version 4 warns about that one and goes on.
func (d *Dnf) run(ctx context.Context, args ...string) (string, error) {
	all := []string{"-q", "-y", "--setopt=cachedir=" + d.dir, "--setopt=system_cachedir=" + d.dir}
	for _, r := range d.repos {
		all = append(all, "--enablerepo="+r)
	}
	out, errs, err := run(ctx, command{name: "dnf", args: append(all, args...), timeout: fetchTimeout, hint: dnfHint})
	if err == nil {
		return out, nil
	}
	if strings.Contains(out+errs, "No such command") || strings.Contains(out+errs, "Unknown argument \"download\"") {
		return "", &HintError{fmt.Errorf("run dnf %s: %w", args[0], ErrNoTool), dnfHint}
	}
	return "", aptError("run dnf "+args[0], out+"\n"+errs, err)
}

// Update fetches the repositories' metadata.
func (d *Dnf) Update(ctx context.Context) error {
	_, err := d.run(ctx, "makecache")
	return err
}

// Problems are none: dnf fails as a whole where an enabled repository does.
func (d *Dnf) Problems() []error { return nil }

// dnfVariants are the words between "kernel" and the part's name, with what they
// append to the release.
var dnfVariants = []struct{ name, suffix string }{
	{"kernel", ""}, {"kernel-debug", "+debug"}, {"kernel-rt", "+rt"}, {"kernel-64k", "+64k"}, {"kernel-uek", ""},
}

// Order of the parts of a kernel. Where there is a core, the plain name only depends on it.
var dnfParts = []string{"-core", "-modules-core", "-modules"}

// Offered lists the kernels that the repositories offer for this host's architecture.
func (d *Dnf) Offered(ctx context.Context) ([]Kernel, error) {
	args := []string{"repoquery", "--available", "--queryformat", `%{name}|%{epoch}|%{version}|%{release}|%{arch}|%{repoid}|%{downloadsize}\n`}
	for _, v := range dnfVariants {
		args = append(args, v.name)
		for _, p := range dnfParts {
			args = append(args, v.name+p)
		}
	}
	out, err := d.run(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("list offered kernels: %w", err)
	}
	all, err := parseRepoquery(out)
	if err != nil {
		return nil, fmt.Errorf("list offered kernels: %w", err)
	}
	return all, nil
}

// rpmOffer is one package of a repository.
type rpmOffer struct{ name, epoch, version, release, arch, repo, size string }

func (o rpmOffer) evr() string {
	if o.epoch == "" || o.epoch == "0" || o.epoch == "(none)" {
		return o.version + "-" + o.release
	}
	return o.epoch + ":" + o.version + "-" + o.release
}

// part has no checksum: dnf does not print it; it checks it while downloading.
func (o rpmOffer) part() Part {
	size, err := strconv.ParseInt(o.size, 10, 64)
	if err != nil || size < 0 {
		size = 0 // not known
	}
	return Part{Package: o.name, Version: o.evr(), Arch: o.arch, Size: size}
}

// parseRepoquery makes kernels of repoquery's lines.
func parseRepoquery(out string) ([]Kernel, error) {
	type key struct{ variant, evr, arch string }
	groups := map[key]map[string]rpmOffer{}
	var order []key
	for i, line := range strings.Split(out, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 7 {
			return nil, fmt.Errorf("repoquery's line %d: want 7 fields, have %d", i+1, len(f))
		}
		o := rpmOffer{f[0], f[1], f[2], f[3], f[4], f[5], f[6]}
		variant, part := splitRPMName(o.name)
		if variant == "" || o.arch == "src" {
			continue
		}
		k := key{variant, o.evr(), o.arch}
		if groups[k] == nil {
			groups[k] = map[string]rpmOffer{}
			order = append(order, k)
		}
		if _, again := groups[k][part]; !again { // the same from a second repository
			groups[k][part] = o
		}
	}
	var all []Kernel
	for _, g := range order {
		if k, ok := rpmKernel(g.variant, groups[g]); ok {
			all = append(all, k)
		}
	}
	Sort(all)
	return all, nil
}

// splitRPMName splits kernel-rt-modules-core into variant and part.
func splitRPMName(name string) (variant, part string) {
	for _, v := range dnfVariants {
		if rest, ok := strings.CutPrefix(name, v.name); ok && (rest == "" || slices.Contains(dnfParts, rest)) {
			return v.name, rest
		}
	}
	return "", ""
}

func rpmKernel(variant string, by map[string]rpmOffer) (Kernel, bool) {
	image, ok := by["-core"]
	split := ok
	if !ok {
		image, ok = by[""]
	}
	if !ok {
		return Kernel{}, false
	}
	suffix := ""
	for _, v := range dnfVariants {
		if v.name == variant {
			suffix = v.suffix
		}
	}
	k := Kernel{
		Release: image.version + "-" + image.release + "." + image.arch + suffix, Arch: archOf(image.arch), Family: FamilyRPM,
		Package: image.name, Version: image.evr(), Suite: image.repo, Parts: []Part{image.part()}, Source: SourcePackage, Testable: true,
	}
	k.Flavour, _ = FlavourOf(k.Release)
	for _, p := range dnfParts[1:] {
		if o, ok := by[p]; ok {
			k.Parts = append(k.Parts, o.part())
		}
	}
	if split && len(k.Parts) == 1 {
		k.refuse("the repositories have its image and not its modules (%s-modules)", variant)
	}
	if k.Arch == "" {
		k.refuse("architecture %q is not known", image.arch)
	}
	return k, true
}

// Fetch downloads one package to dst, a file's path. dnf checks it against the
// repository's metadata and rpmkeys checks its signature, which `dnf download`
// does not. dst is not there after an error.
func (d *Dnf) Fetch(ctx context.Context, part Part, dst string) error {
	op := fmt.Sprintf("fetch %s %s", part.Package, part.Version)
	if !isPackage(part.Package) || !isPackage(part.Arch) || !isPackageVersion(part.Version) {
		return fmt.Errorf("%s: no package of an RPM repository", op)
	}
	dir, err := os.MkdirTemp(d.dir, "fetch-")
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer os.RemoveAll(dir)
	if _, err := d.run(ctx, "download", "--destdir", dir, part.Package+"-"+part.Version+"."+part.Arch); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.rpm"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s: dnf left %d packages, want one", op, len(found))
	}
	if err := checkRPMSignature(ctx, found[0]); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := copyVerified(found[0], dst, ""); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// checkRPMSignature asks for a signature by a key that rpm knows. rpmkeys is content
// with a package that has none, so the word for it must be in what it says:
// "digests signatures OK", or "pgp" before rpm 4.14.
func checkRPMSignature(ctx context.Context, file string) error {
	out, errs, err := run(ctx, command{name: "rpmkeys", args: []string{"--checksig", file}, timeout: localTimeout, hint: dnfHint})
	var ce *commandError
	if err != nil && (!errors.As(err, &ce) || ctx.Err() != nil) {
		return err
	}
	verdict := strings.TrimPrefix(lastLine(out), file)
	signed := strings.Contains(verdict, "signatures") || strings.Contains(verdict, "pgp")
	if err != nil || !signed || !strings.HasSuffix(verdict, "OK") || strings.Contains(verdict, "NOT OK") {
		return &HintError{fmt.Errorf("%s: %w", strings.TrimSpace(lastLine(out+errs)), ErrSignature), "import the repository's key: rpmkeys --import"}
	}
	return nil
}
