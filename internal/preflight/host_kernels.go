package preflight

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"lastgood/internal/bootloader"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func kernelChecks() []Check {
	return []Check{
		{Code: "last-good-missing", Title: "the last good kernel is still installed", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "Without it there is nothing to go back to.", Run: checkLastGood},
		{Code: "last-good-unprotected", Title: "the last good kernel is safe from autoremove", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "apt keeps the two newest kernels and the one that runs; an older one goes with the next autoremove.", Run: checkProtected},
	}
}

func checkLastGood(ctx context.Context, h source.Host, t Target) ([]snapshot.Finding, []snapshot.Gap) {
	if !safeRelease(t.LastGood) {
		return nil, nil // no last good boot yet
	}
	image, ierr := findImage(ctx, h.Root, t.LastGood)
	modules, merr := findModules(ctx, h.Root, t.LastGood)
	if err := first(ierr, merr); err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	var gone []string
	if image == "" {
		gone = append(gone, "image")
	}
	if modules == "" {
		gone = append(gone, "modules")
	}
	if len(gone) == 0 {
		return nil, nil
	}
	return []snapshot.Finding{{Subject: kernelRef(t.LastGood), Message: fmt.Sprintf("the last good kernel %s lacks its %s: there is no way back to it", t.LastGood, strings.Join(gone, " and its ")),
		Hint: "install it before the reboot: apt install linux-image-" + t.LastGood + " or dnf install kernel-core-" + t.LastGood}}, nil
}

func checkProtected(ctx context.Context, h source.Host, t Target) ([]snapshot.Finding, []snapshot.Gap) {
	if !safeRelease(t.LastGood) {
		return nil, nil
	}
	status, found, err := readText(ctx, h.Root, "/var/lib/dpkg/status")
	if err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	if !found {
		return nil, []snapshot.Gap{gap("which kernels are kept is known for dpkg and apt only")}
	}
	var pkg, held string
	for _, p := range stanzas(status) {
		if imagePackage(p["Package"], t.LastGood) && strings.HasSuffix(p["Status"], " installed") {
			pkg, held = p["Package"], p["Status"]
		}
	}
	if pkg == "" || strings.HasPrefix(held, "hold ") {
		return nil, nil // not a package's, or pinned by the administrator
	}
	safe, why, err := aptKeeps(ctx, h.Root, pkg, t)
	if err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	if safe {
		return nil, nil
	}
	return []snapshot.Finding{{Subject: kernelRef(t.LastGood), Message: "the next autoremove takes the last good kernel away: " + why,
		Hint: "keep it: apt-mark manual " + pkg, Evidence: pkg}}, nil
}

// imagePackage reports whether a package holds the image of a release.
func imagePackage(name, release string) bool {
	for _, p := range []string{"linux-image-", "linux-image-unsigned-", "linux-binary-", "linux-binary-unsigned-", "proxmox-kernel-", "pve-kernel-"} {
		if rest, ok := strings.CutPrefix(name, p); ok && strings.TrimSuffix(strings.TrimSuffix(rest, "-signed"), "-unsigned") == release {
			return true
		}
	}
	return false
}

// stanzas reads deb822 text: fields of one line each, stanzas parted by empty lines.
func stanzas(text string) []map[string]string {
	var out []map[string]string
	now := map[string]string{}
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if len(now) > 0 {
				out = append(out, now)
				now = map[string]string{}
			}
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if found && name != "" && name[0] != ' ' && name[0] != '\t' && (name == "Package" || name == "Status" || name == "Auto-Installed") {
			now[name] = strings.TrimSpace(value)
		}
	}
	return out
}

// aptKeeps follows apt: what was asked for by hand stays, what a NeverAutoRemove pattern matches
// stays, and of the kernels the running one and the two newest (apt-pkg/algorithms.cc,
// GetProtectedKernelsRegex; before apt 2.1 a hook wrote them down as patterns).
func aptKeeps(ctx context.Context, root *sysfs.Root, pkg string, t Target) (bool, string, error) {
	states, _, err := readText(ctx, root, "/var/lib/apt/extended_states")
	if err != nil {
		return false, "", err
	}
	auto := false
	for _, p := range stanzas(states) {
		auto = auto || p["Package"] == pkg && p["Auto-Installed"] == "1"
	}
	if !auto {
		return true, "", nil
	}
	patterns, err := neverRemoved(ctx, root)
	if err != nil {
		return false, "", err
	}
	for _, p := range patterns {
		if re, err := regexp.Compile(p); err == nil && re.MatchString(pkg) {
			return true, "", nil
		}
	}
	newer, err := newerKernels(ctx, root, t.LastGood)
	if err != nil {
		return false, "", err
	}
	if len(newer) < 2 {
		return true, "", nil
	}
	return false, fmt.Sprintf("%s was installed automatically and %s are newer", pkg, strings.Join(newer, ", ")), nil
}

// newerKernels are the releases in /boot that are newer than one.
func newerKernels(ctx context.Context, root *sysfs.Root, release string) ([]string, error) {
	names, err := root.List(ctx, "/boot")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		if r, ok := strings.CutPrefix(n, "vmlinuz-"); ok && bootloader.Compare(r, release) > 0 {
			out = append(out, r)
		}
	}
	return out, nil
}

// neverRemoved are the patterns of APT::NeverAutoRemove in all of apt's configuration.
func neverRemoved(ctx context.Context, root *sysfs.Root) ([]string, error) {
	dir := "/etc/apt/apt.conf.d"
	names, err := root.List(ctx, dir)
	if err != nil && !sysfs.Absent(err) {
		return nil, err
	}
	files := []string{"/etc/apt/apt.conf"}
	for _, n := range names {
		files = append(files, dir+"/"+n)
	}
	var out []string
	for _, f := range files {
		text, _, err := readText(ctx, root, f)
		if err != nil {
			return nil, err
		}
		out = append(out, parseNeverRemove(text)...)
	}
	return out, nil
}

var (
	aptComment = regexp.MustCompile(`(?m)^\s*(//|#).*$`)
	neverBlock = regexp.MustCompile(`(?is)\bNeverAutoRemove\s*\{([^}]*)\}`)
	neverLine  = regexp.MustCompile(`(?i)\bNeverAutoRemove::\s*("[^"]*")`)
	aptText    = regexp.MustCompile(`"([^"]*)"`)
)

// parseNeverRemove finds the patterns in a file of apt.conf(5), as a block or one by one.
func parseNeverRemove(text string) []string {
	text = aptComment.ReplaceAllString(text, "")
	var out []string
	for _, m := range append(neverBlock.FindAllStringSubmatch(text, -1), neverLine.FindAllStringSubmatch(text, -1)...) {
		for _, q := range aptText.FindAllStringSubmatch(m[1], -1) {
			if q[1] != "" {
				out = append(out, q[1])
			}
		}
	}
	return out
}
