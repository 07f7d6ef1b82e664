package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lastgood/internal/baseline"
	"lastgood/internal/bootloader"
	"lastgood/internal/kernels"
	"lastgood/internal/preflight"
)

// finder knows where kernels come from: this host, files by name, the distribution.
type finder struct {
	s        *session
	suites   []string
	flavours []string // beside the running kernel's
	older    bool

	mu        sync.Mutex
	installed []kernels.Kernel
	faults    []error
	looked    bool
	client    kernels.Client
	offered   []kernels.Kernel
	asked     bool
	askErr    error
	cache     *kernels.Cache
}

func newFinder(s *session, suites []string) *finder { return &finder{s: s, suites: suites} }

func (f *finder) close() {
	if f.cache != nil {
		f.cache.Close()
	}
}

// cacheBytes bounds the unpacked kernels that are kept, some ten of them.
const cacheBytes = 4 << 30

func (f *finder) dir(name string) string { return filepath.Join(f.s.stateDir, "kernels", name) }

// here lists the installed kernels.
func (f *finder) here(ctx context.Context) []kernels.Kernel {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.looked {
		f.installed, f.faults = kernels.Installed(ctx, f.s.root)
		f.looked = true
	}
	return f.installed
}

// there lists what the distribution offers. It is asked once, and on demand: that
// takes the network.
func (f *finder) there(ctx context.Context) ([]kernels.Kernel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked {
		return f.offered, f.askErr
	}
	f.asked = true
	if !f.s.root.Live() {
		f.askErr = errors.New("a recorded host has no package client")
		return nil, f.askErr
	}
	if f.client, f.askErr = kernels.NewClient(ctx, f.s.root, f.dir("client"), f.suites); f.askErr != nil {
		return nil, f.askErr
	}
	f.askErr = f.client.Update(ctx)
	for _, e := range f.client.Problems() {
		printError(f.s.env.Err, e)
	}
	if f.askErr != nil {
		return nil, f.askErr
	}
	f.offered, f.askErr = f.client.Offered(ctx)
	return f.offered, f.askErr
}

// running is the release of the running kernel.
func (f *finder) running(ctx context.Context) string {
	release, _ := f.s.root.Attr(ctx, "/proc/sys/kernel/osrelease") // "" matches no kernel
	return release
}

// all is every kernel there is, those that cannot be tested among them.
func (f *finder) all(ctx context.Context) ([]kernels.Kernel, error) {
	here := f.here(ctx)
	offered, err := f.there(ctx)
	if err != nil {
		printError(f.s.env.Err, fmt.Errorf("ask the distribution for kernels: %w", err))
	}
	for _, e := range f.faults {
		printError(f.s.env.Err, e)
	}
	all := kernels.Candidates(here, offered, kernels.Kernel{Release: f.running(ctx)}, kernels.Choice{Flavours: f.flavours, Older: f.older})
	if len(all) == 0 {
		return nil, errors.Join(errors.New("no kernel was found"), err)
	}
	return all, nil
}

// next is what the boot loader boots next, or the newest that is installed where it
// boots the running one.
func (f *finder) next(ctx context.Context) (kernels.Kernel, error) {
	state, faults := bootloader.Read(ctx, f.s.root)
	if state.Next >= 0 && state.Next < len(state.Entries) {
		release := state.Entries[state.Next].Release
		if release != "" && release != f.running(ctx) {
			ks, err := f.named(ctx, release)
			if err != nil {
				return kernels.Kernel{}, err
			}
			return ks[0], nil
		}
	}
	var newest *kernels.Kernel
	for _, k := range f.here(ctx) {
		if k.Testable && k.Release != f.running(ctx) {
			newest = &k // they are in order
		}
	}
	if newest == nil {
		return kernels.Kernel{}, hinted(errors.Join(append([]error{errors.New("no other kernel is installed than the running one")}, faults...)...),
			"name one: a release that the distribution offers, a package or an image; --all-candidates shows what there is")
	}
	return *newest, nil
}

// named finds what a person calls a kernel: a path, or a release or package version
// that is installed or offered.
func (f *finder) named(ctx context.Context, name string) ([]kernels.Kernel, error) {
	st, err := os.Stat(name)
	switch {
	case err == nil && st.IsDir():
		return kernels.FromFolder(ctx, name)
	case err == nil:
		k, err := kernels.FromFile(ctx, name)
		return []kernels.Kernel{k}, err
	case strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".deb") || strings.HasSuffix(name, ".rpm"):
		return nil, fmt.Errorf("read kernel: %w", err)
	}
	if k, ok := pick(f.here(ctx), name); ok {
		return []kernels.Kernel{k}, nil
	}
	offered, err := f.there(ctx)
	if k, ok := pick(offered, name); ok {
		return []kernels.Kernel{k}, nil
	}
	return nil, hinted(errors.Join(fmt.Errorf("no kernel %q is installed or offered", name), err), "`lastgood preflight --all-candidates --no-vm` lists them; --suite offers more")
}

// pick finds a kernel by its release, its package or its version.
func pick(all []kernels.Kernel, name string) (kernels.Kernel, bool) {
	for _, same := range []func(kernels.Kernel) bool{
		func(k kernels.Kernel) bool { return k.Release == name },
		func(k kernels.Kernel) bool { return k.Package == name || k.Version == name },
	} {
		if i := slices.IndexFunc(all, same); i >= 0 {
			return all[i], true
		}
	}
	return kernels.Kernel{}, false
}

// reference is the kernel to compare with: the running one unless named.
func (f *finder) reference(ctx context.Context, name string) (kernels.Kernel, error) {
	if name == "" {
		if name = f.running(ctx); name == "" {
			return kernels.Kernel{}, errors.New("the running kernel's release cannot be read")
		}
		k, ok := pick(f.here(ctx), name)
		if !ok || !k.Testable {
			return k, hinted(fmt.Errorf("the running kernel %s has no image on this host", name), "name a kernel to compare with: --against RELEASE|FILE")
		}
		return k, nil
	}
	ks, err := f.named(ctx, name)
	if err != nil {
		return kernels.Kernel{}, err
	}
	if len(ks) != 1 {
		return kernels.Kernel{}, fmt.Errorf("--against %s: that is %d kernels", name, len(ks))
	}
	return ks[0], nil
}

// files gives a kernel its image and modules: they are there, or are fetched, verified
// and unpacked into the cache.
func (f *finder) files(ctx context.Context, k kernels.Kernel) (kernels.Kernel, error) {
	if !k.Testable {
		return k, fmt.Errorf("kernel %s: %s", k.Release, k.Reason)
	}
	if k.Image != "" {
		return k, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cache == nil {
		var err error
		if f.cache, err = kernels.OpenCache(f.dir("trees"), cacheBytes); err != nil {
			return k, err
		}
	}
	return f.cache.Tree(ctx, k, func(ctx context.Context, part kernels.Part, dst string) error {
		if f.client == nil {
			return fmt.Errorf("fetch %s: no package client", part.Package)
		}
		return f.client.Fetch(ctx, part, dst)
	})
}

// target is what the host's checks want to know of a candidate. Of one that is not
// installed nothing can be missing on this host yet.
func (f *finder) target(ctx context.Context, k kernels.Kernel, store *baseline.Store) preflight.Target {
	t := preflight.Target{Running: f.running(ctx)}
	if k.Source == kernels.SourceInstalled {
		t.Release, t.Image, t.Initramfs, t.Modules = k.Release, k.Image, k.Initramfs, k.Modules
	}
	if snap, _, err := store.LastGood(); err == nil {
		t.LastGood = snap.Identity.Kernel.Release
	}
	return t
}

// between lists the kernels from good to bad, in order and of one flavour.
func (f *finder) between(ctx context.Context, good, bad string, more []string) ([]kernels.Kernel, error) {
	var ends []kernels.Kernel
	for _, name := range []string{good, bad} {
		ks, err := f.named(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(ks) != 1 {
			return nil, fmt.Errorf("%s: that is %d kernels", name, len(ks))
		}
		ends = append(ends, ks[0])
	}
	all := slices.Clone(f.here(ctx))
	for _, name := range more {
		ks, err := f.named(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, ks...)
	}
	if len(more) == 0 {
		offered, err := f.there(ctx)
		if err != nil && !f.local(ends) {
			return nil, err
		}
		all = append(all, offered...)
	}
	return kernels.Between(ends[0], ends[1], all)
}

// local reports whether all of the kernels are files of this host.
func (f *finder) local(ks []kernels.Kernel) bool {
	return !slices.ContainsFunc(ks, func(k kernels.Kernel) bool { return k.Source == kernels.SourcePackage })
}

// changes are the lines of the newer kernel's changelog that speak of BPF, down to
// the older one's version.
func (f *finder) changes(ctx context.Context, older, newer kernels.Kernel) ([]string, error) {
	c, ok := f.client.(interface {
		Changelog(ctx context.Context, pkg, version string) (string, error)
	})
	if !ok || newer.Package == "" || older.Version == "" {
		return nil, errors.New("the kernels are not the distribution's packages, so there is none to read")
	}
	text, err := c.Changelog(ctx, newer.Package, newer.Version)
	if err != nil {
		return nil, err
	}
	lines := kernels.ChangelogAbout(text, older.Version, newer.Version, "bpf")
	if len(lines) == 0 {
		return []string{"(nothing)"}, nil
	}
	return lines, nil
}
