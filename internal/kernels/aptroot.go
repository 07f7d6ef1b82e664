package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/sysfs"
)

// DebianSuites are Debian's suites that still may offer kernels, oldest first.
// Archived ones vanish from mirrors with time; apt then says so.
var DebianSuites = []string{
	"bullseye", "bullseye-security", "bookworm", "bookworm-security", "bookworm-backports",
	"trixie", "trixie-security", "trixie-backports", "sid", "experimental",
}

// addSuites returns the host's own sources and, for each suite that none of them
// has, one more made after the host's own: same mirror, same key. codename is the
// host's release, "" if it does not say. A suite that cannot be placed is an error.
func addSuites(own []aptSource, codename, arch string, suites []string) ([]aptSource, []error) {
	var all []aptSource
	for _, s := range own {
		if s.hasArch(arch) {
			all = append(all, s.without("Architectures"))
		}
	}
	base := findSuite(all, codename, "stable", "oldstable", "testing", "sid", "unstable")
	security := findSuite(all, codename+"-security", "stable-security", "oldstable-security", "testing-security")
	var errs []error
	for _, suite := range suites {
		if findSuite(all, suite) != nil {
			continue
		}
		s, err := placeSuite(base, security, suite)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, s)
	}
	return all, errs
}

// findSuite is the first source that has the first of names that any has.
func findSuite(all []aptSource, names ...string) *aptSource {
	for _, n := range names {
		for i := range all {
			if n != "" && slices.Contains(all[i].suites, n) {
				return &all[i]
			}
		}
	}
	return nil
}

func placeSuite(base, security *aptSource, suite string) (aptSource, error) {
	if !isSuite(suite) {
		return aptSource{}, fmt.Errorf("add suite %q: not the name of a suite", suite)
	}
	if base == nil {
		return aptSource{}, &HintError{fmt.Errorf("add suite %s: the host's own sources have no entry for its own release", suite),
			"add the distribution's mirror to /etc/apt/sources.list.d"}
	}
	s := *base
	if strings.HasSuffix(suite, "-security") {
		if security != nil {
			s = *security
		} else {
			s.uris = securityURIs(base.uris)
		}
	}
	s.suites = []string{suite}
	// That the host takes one suite unsigned says nothing about another.
	for _, o := range []string{"Trusted", "Allow-Insecure", "Allow-Weak", "Allow-Downgrade-To-Insecure", "InRelease-Path"} {
		s = s.without(o)
	}
	return s, nil
}

// securityURIs are where a mirror keeps Debian's security updates: beside the
// main archive, under debian-security.
func securityURIs(base []string) []string {
	var out []string
	for _, u := range base {
		scheme, rest, ok := strings.Cut(u, "://")
		if !ok {
			scheme, rest, _ = strings.Cut(u, ":")
			out = append(out, scheme+":"+path.Join(path.Dir(path.Clean(rest)), "debian-security"))
			continue
		}
		rest = strings.Trim(rest, "/")
		if i := strings.LastIndexByte(rest, '/'); i >= 0 {
			rest = rest[:i]
		}
		out = append(out, scheme+"://"+rest+"/debian-security")
	}
	return out
}

// isSuite keeps a name from breaking out of its field or of the archive.
func isSuite(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("-._/", c) && (c > 127 || !letter(byte(c)) && !digit(byte(c))) {
			return false
		}
	}
	return s != "" && letter(s[0]) && !strings.Contains(s, "..")
}

// aptConf is the private configuration. It is read after the host's own (apt.conf(5)),
// which still gives proxies, transports, keyrings and passwords. The host's hooks are
// cleared: they would clean the host's package cache after an update of this one.
// Nothing here makes apt trust more than the host does; a host that accepts
// unsigned archives in general is not followed, one that trusts a single source is.
const aptConf = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear Acquire::GzipIndexes;
Dir::State "%[1]s/state";
Dir::State::lists "%[1]s/state/lists";
Dir::State::status "%[1]s/state/status";
Dir::State::extended_states "%[1]s/state/extended_states";
Dir::Cache "%[1]s/cache";
Dir::Cache::archives "%[1]s/cache/archives";
Dir::Cache::pkgcache "%[1]s/cache/pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Log "%[1]s/log";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "%[1]s/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "%[1]s/preferences";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Authentication::TrustCDROM "false";
`

// writeAptRoot makes the private root in dir.
func writeAptRoot(dir, arch string, sources []aptSource) error {
	if strings.ContainsAny(dir, "\"\n;\\") {
		return fmt.Errorf("prepare apt root %q: apt's configuration cannot hold this path", dir)
	}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "log", "sources", "preferences"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return fmt.Errorf("prepare apt root: %w", err)
		}
	}
	// apt writes its index cache anew only where the sources' time moves on, so
	// files that say the same are left alone.
	var b strings.Builder
	for _, s := range sources {
		b.WriteString(s.stanza(arch))
	}
	for name, text := range map[string]string{
		"apt.conf": fmt.Sprintf(aptConf, dir), "state/status": "", "sources/lastgood.sources": b.String(),
	} {
		name = filepath.Join(dir, name)
		if old, err := os.ReadFile(name); err == nil && string(old) == text {
			continue
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return fmt.Errorf("prepare apt root: %w", err)
		}
	}
	return nil
}

// aptUser is the account that apt's transports run as where apt is run by root
// (APT::Sandbox::User).
const aptUser = "_apt"

// downloadFolder makes a folder that apt's transports may write to.
func downloadFolder(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "fetch-")
	if err != nil {
		return "", fmt.Errorf("make download folder: %w", err)
	}
	if os.Geteuid() != 0 {
		return dir, nil
	}
	u, err := user.Lookup(aptUser)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return dir, nil // an apt without a sandbox
	}
	if err == nil {
		var uid int
		if uid, err = strconv.Atoi(u.Uid); err == nil {
			err = os.Chown(dir, uid, 0)
		}
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("give download folder to %s: %w", aptUser, err), os.RemoveAll(dir))
	}
	return dir, nil
}

// debArch is the architecture that dpkg installs for, in Debian's words.
func debArch(ctx context.Context) (string, error) {
	out, _, err := run(ctx, command{name: "dpkg", args: []string{"--print-architecture"}, hint: "this needs a Debian-like host"})
	if err != nil {
		return "", err
	}
	arch := strings.TrimSpace(out)
	if archOf(arch) == "" {
		return "", fmt.Errorf("read dpkg's architecture: %q is not known", arch)
	}
	return arch, nil
}

// osRelease is the host's os-release(5), without quotes.
func osRelease(ctx context.Context, root *sysfs.Root) (map[string]string, error) {
	text, err := root.Attr(ctx, "/etc/os-release")
	if sysfs.Absent(err) {
		text, err = root.Attr(ctx, "/usr/lib/os-release")
	}
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			m[k] = strings.Trim(v, `"'`)
		}
	}
	return m, nil
}
