package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// How long apt may take: the indexes of ten suites are 40 MB, a kernel up to 150 MB.
const (
	updateTimeout = 10 * time.Minute
	fetchTimeout  = 20 * time.Minute
	localTimeout  = time.Minute // for what needs no network
)

const aptHint = "this needs apt-get, apt-helper and dpkg of a Debian-like host"

// aptHelper is where apt keeps the tool that reads its stored indexes, whatever
// they are compressed with.
const aptHelper = "/usr/lib/apt/apt-helper"

// AptOptions are what an Apt works from.
type AptOptions struct {
	Root   *sysfs.Root // whose /etc/apt and /etc/os-release are read
	Suites []string    // beside the host's own; see DebianSuites
	Arch   string      // in Debian's words (amd64); "" for dpkg's
}

// Apt asks the distribution's own client which kernels it offers, through a root
// of its own: the host's sources, keys, proxies and passwords are read, its package
// lists, caches and locks are not touched. Its methods may not run side by side on
// one folder; apt locks it.
type Apt struct {
	dir      string
	opts     AptOptions
	sources  []aptSource
	mu       sync.Mutex
	problems []error
}

// NewApt is an Apt that keeps its indexes in dir, which it makes and which stays.
// Where apt is run by root its transports run as the account _apt; they leave
// their sandbox, and say so, if that account cannot enter dir's parents.
func NewApt(dir string, opts AptOptions) (*Apt, error) {
	if opts.Root == nil {
		return nil, errors.New("open apt: want the host's root")
	}
	for _, name := range []string{"apt-get", aptHelper, "dpkg"} {
		if _, err := lookProgram(name, aptHint); err != nil {
			return nil, fmt.Errorf("open apt: %w", err)
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open apt: %w", err)
	}
	return &Apt{dir: dir, opts: opts}, nil
}

// Problems are the suites that the last Update could not add or refresh, each with
// the cause: ErrUnreachable, ErrSignature or apt's own words. The others are usable.
func (a *Apt) Problems() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.problems
}

// prepare writes the private root from the host's sources.
func (a *Apt) prepare(ctx context.Context) error {
	if a.sources != nil {
		return nil
	}
	if a.opts.Arch == "" {
		arch, err := debArch(ctx)
		if err != nil {
			return err
		}
		a.opts.Arch = arch
	}
	release, err := osRelease(ctx, a.opts.Root)
	if err != nil {
		return fmt.Errorf("prepare apt root: %w", err)
	}
	own, errs := readSources(ctx, a.opts.Root)
	all, more := addSuites(own, release["VERSION_CODENAME"], a.opts.Arch, a.opts.Suites)
	errs = append(errs, more...)
	if len(all) == 0 {
		return &HintError{errors.Join(append(errs, errors.New("prepare apt root: the host has no package sources"))...),
			"add the distribution's mirror to /etc/apt/sources.list.d"}
	}
	if err := writeAptRoot(a.dir, a.opts.Arch, all); err != nil {
		return err
	}
	a.sources = all
	a.setProblems(errs)
	return nil
}

func (a *Apt) setProblems(errs []error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.problems = errs
}

// get runs apt-get on the private root.
func (a *Apt) get(ctx context.Context, dir string, timeout time.Duration, args ...string) (stdout, stderr string, err error) {
	args = append([]string{"-c", filepath.Join(a.dir, "apt.conf"), "-q"}, args...)
	return run(ctx, command{name: "apt-get", args: args, dir: dir, timeout: timeout, hint: aptHint})
}

// Update fetches and verifies the package indexes. It fails where no suite is left
// to look at; suites that failed beside others are in Problems.
func (a *Apt) Update(ctx context.Context) error {
	a.sources = nil // the host's may have changed
	if err := a.prepare(ctx); err != nil {
		return err
	}
	stdout, stderr, runErr := a.get(ctx, a.dir, updateTimeout, "update")
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("update package indexes: %w", err)
	}
	said := complaints(stdout + "\n" + stderr)
	indexes, err := a.indexes(ctx)
	if err != nil {
		return err
	}
	problems := append([]error(nil), a.Problems()...)
	for _, s := range a.sources {
		for _, suite := range s.suites {
			if err := suiteProblem(s, suite, said, indexes); err != nil {
				problems = append(problems, err)
			}
		}
	}
	a.setProblems(problems)
	switch {
	case len(indexes) == 0:
		return aptError("update package indexes", stdout+"\n"+stderr, errors.Join(append(problems, runErr)...))
	case runErr != nil && len(problems) == 0:
		a.setProblems([]error{aptError("update package indexes", stdout+"\n"+stderr, runErr)})
	}
	return nil
}

// suiteProblem is what keeps a suite from being used, or from being fresh.
func suiteProblem(s aptSource, suite string, said []string, indexes []aptIndex) error {
	have := false
	for _, i := range indexes {
		for _, u := range s.uris {
			have = have || i.suite == suite && strings.Trim(i.uri, "/") == strings.Trim(u, "/")
		}
	}
	text := ""
	for _, line := range said {
		if about(line, s.uris, suite) {
			text += line + "\n"
		}
	}
	op := "read suite " + suite + " of " + strings.Join(s.uris, " ")
	switch {
	case text != "" && have:
		return aptError(op+": not refreshed, the index fetched before is used", text, nil)
	case text != "":
		return aptError(op, text, nil)
	case !have:
		return fmt.Errorf("%s: it has no package index for this architecture", op)
	}
	return nil
}

// about tells whether a message of apt's is about a suite: messages name
// "URI SUITE InRelease" or a file under URI/dists/SUITE/.
func about(line string, uris []string, suite string) bool {
	for _, u := range uris {
		u = strings.TrimRight(u, "/")
		if strings.Contains(line, u+" "+suite+" ") || strings.Contains(line, u+"/ "+suite+" ") || strings.Contains(line, u+"/dists/"+suite+"/") {
			return true
		}
	}
	return false
}

// complaints are apt's errors and warnings, one a line.
func complaints(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "W: ") {
			out = append(out, line)
		}
	}
	return out
}

// aptIndex is one package index that apt has fetched and verified.
type aptIndex struct{ file, suite, uri string }

func (a *Apt) indexes(ctx context.Context) ([]aptIndex, error) {
	out, _, err := a.get(ctx, a.dir, localTimeout, "indextargets", "--format", "$(FILENAME)\t$(RELEASE)\t$(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return nil, fmt.Errorf("list package indexes: %w", err)
	}
	var all []aptIndex
	for _, line := range strings.Split(out, "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 3 {
			continue
		}
		if _, err := os.Stat(f[0]); err == nil {
			all = append(all, aptIndex{f[0], f[1], f[2]})
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("list package indexes: %w", err)
		}
	}
	return all, nil
}

// Offered lists the kernels that the suites offer for this architecture, older
// versions that are still in an index included, in order. An index that cannot be
// read is an error; what the others offer is returned beside it.
func (a *Apt) Offered(ctx context.Context) ([]Kernel, error) {
	if err := a.prepare(ctx); err != nil {
		return nil, err
	}
	indexes, err := a.indexes(ctx)
	if err != nil {
		return nil, err
	}
	if len(indexes) == 0 {
		return nil, &HintError{errors.New("list offered kernels: no package index is here"), "update the package indexes first"}
	}
	var errs []error
	var bySuite [][]Kernel
	for _, i := range indexes {
		offers, err := readIndexFile(ctx, i.file)
		if err != nil {
			errs = append(errs, fmt.Errorf("read index of %s: %w", i.suite, err))
		}
		bySuite = append(bySuite, kernelsIn(i.suite, offers))
	}
	return mergeOffers(bySuite), errors.Join(errs...)
}

// readIndexFile streams a stored index through apt's own reader.
func readIndexFile(ctx context.Context, name string) ([]offer, error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, _, err := run(ctx, command{name: aptHelper, args: []string{"cat-file", name}, timeout: localTimeout, stdout: w, hint: aptHint})
		w.CloseWithError(err)
		done <- err
	}()
	offers, err := readIndex(r)
	r.CloseWithError(errors.New("index is not read on"))
	if runErr := <-done; err == nil {
		err = runErr
	}
	return offers, err
}

// Fetch downloads one package of an offered kernel to dst, a file's path, and checks
// it against the signed index twice: apt does, and Fetch does with the part's own
// SHA-256. dst is not there after an error.
func (a *Apt) Fetch(ctx context.Context, part Part, dst string) error {
	op := fmt.Sprintf("fetch %s %s", part.Package, part.Version)
	if !isPackage(part.Package) || !isPackage(part.Arch) || !isPackageVersion(part.Version) {
		return fmt.Errorf("%s: no package of a Debian archive", op)
	}
	if !isSHA256(part.SHA256) {
		return fmt.Errorf("%s: no checksum from a signed index: %w", op, ErrSignature)
	}
	if err := a.prepare(ctx); err != nil {
		return err
	}
	dir, err := downloadFolder(a.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer os.RemoveAll(dir)
	stdout, stderr, err := a.get(ctx, dir, fetchTimeout, "download", part.Package+":"+part.Arch+"="+part.Version)
	if err != nil {
		return aptError(op, stdout+"\n"+stderr, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s: apt-get left %d packages, want one", op, len(found))
	}
	if err := copyVerified(found[0], dst, part.SHA256); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// copyVerified copies a file and sums what it copies: the folder that it lies in
// may belong to another account, which could change it after a check. An empty sum
// is not compared.
func copyVerified(src, dst, sum string) error {
	in, err := os.OpenFile(src, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(dst), ".fetch-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); sum != "" && got != sum {
		return &HintError{fmt.Errorf("its SHA-256 is %s, the index says %s: %w", got, sum, ErrSignature), "update the package indexes and try again"}
	}
	return os.Rename(out.Name(), dst)
}

// isPackage and isPackageVersion keep a name from becoming an option or a pattern.
func isPackage(s string) bool {
	return s != "" && (letter(s[0]) || digit(s[0])) && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+-._") == ""
}

func isPackageVersion(s string) bool {
	return s != "" && digit(s[0]) && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+-._~:^") == ""
}
