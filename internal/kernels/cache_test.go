package kernels

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// offeredKernel is a kernel that the distribution offers, and a fetch that gives its package.
func offeredKernel(t *testing.T, release string) (Kernel, func(context.Context, Part, string) error, *int) {
	t.Helper()
	pkg := debOf(t, "linux-image-"+release, "1", "amd64", ".gz", testMembers(release))
	k := Kernel{Release: release, Arch: "x86_64", Family: FamilyDebian, Source: SourcePackage, Testable: true,
		Parts: []Part{{Package: "linux-image-" + release, Version: "1", Arch: "amd64", SHA256: "of " + release}}}
	fetched := new(int)
	return k, func(_ context.Context, p Part, dst string) error {
		*fetched++
		return os.WriteFile(dst, pkg, 0o644)
	}, fetched
}

func openCache(t *testing.T, dir string, maxBytes int64) *Cache {
	t.Helper()
	c, err := OpenCache(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func mustTree(t *testing.T, c *Cache, k Kernel, fetch func(context.Context, Part, string) error) Kernel {
	t.Helper()
	k, err := c.Tree(t.Context(), k, fetch)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// leftovers are the entries of a cache that are neither trees nor its lock.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		if !isKey(e.Name()) && e.Name() != ".lock" {
			left = append(left, e.Name())
		}
	}
	return left
}

func TestCacheUnpacksOnce(t *testing.T) {
	dir := t.TempDir()
	k, fetch, fetched := offeredKernel(t, testRelease)
	got := mustTree(t, openCache(t, dir, 1<<30), k, fetch)
	for name, p := range map[string]string{"image": got.Image, "config": got.Config} {
		if !regular(p) || !strings.HasPrefix(p, got.Tree) {
			t.Errorf("%s = %q, which is no file of %s", name, p, got.Tree)
		}
	}
	if !isFolder(got.Modules) || filepath.Base(got.Modules) != testRelease {
		t.Errorf("modules = %q", got.Modules)
	}
	again := mustTree(t, openCache(t, dir, 1<<30), k, fetch) // as another process would
	if again.Image != got.Image || *fetched != 1 {
		t.Errorf("again: image %q after %d fetches; want %q after 1", again.Image, *fetched, got.Image)
	}
	for p := range filesBelow(t, dir) {
		if strings.HasSuffix(p, ".deb") {
			t.Errorf("the package %s was kept", p)
		}
	}
	if left := leftovers(t, dir); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestCacheFromFiles(t *testing.T) {
	for name, c := range map[string]struct {
		data    []byte
		release string
	}{
		"k.deb": {debOf(t, "linux-image-"+testRelease, "1", "amd64", ".xz", testMembers(testRelease)), testRelease},
		"k.rpm": {rpmOf("kernel-core", "5.14.0", "611.el9", "x86_64", "zstd", compressed(t, ".zst", cpioOf(t, rpmMembers()))), rpmRelease},
	} {
		t.Run(name, func(t *testing.T) {
			p := writeTemp(t, name, c.data)
			k, err := FromFile(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			got := mustTree(t, openCache(t, t.TempDir(), 1<<30), k, nil)
			if got.Release != c.release || !regular(got.Image) || !regular(got.Config) {
				t.Errorf("got %+v", got)
			}
			if !regular(p) {
				t.Error("the file that was given by hand is gone")
			}
		})
	}
}

func TestCacheMakesDamagedTreeAgain(t *testing.T) {
	dir := t.TempDir()
	k, fetch, fetched := offeredKernel(t, testRelease)
	got := mustTree(t, openCache(t, dir, 1<<30), k, fetch)
	for i, damage := range []func() error{
		func() error { return os.Remove(filepath.Join(got.Tree, treeMarker)) },
		func() error { return os.Truncate(filepath.Join(got.Tree, treeMarker), 0) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(got.Image); err != nil {
			t.Fatal(err)
		}
		got = mustTree(t, openCache(t, dir, 1<<30), k, fetch)
		if !regular(got.Image) || *fetched != i+2 {
			t.Errorf("image %q after %d fetches", got.Image, *fetched)
		}
	}
}

func TestCacheEvicts(t *testing.T) {
	dir := t.TempDir()
	// Room for one tree and a half.
	size := int64(0)
	for p, data := range wantTree("6.1.1") {
		if !strings.Contains(p, "→") {
			size += int64(len(data))
		}
	}
	var trees []string
	for i, release := range []string{"6.1.1", "6.1.2", "6.1.3"} {
		c, err := OpenCache(dir, size*3/2)
		if err != nil {
			t.Fatal(err)
		}
		k, fetch, _ := offeredKernel(t, release)
		k = mustTree(t, c, k, fetch)
		trees = append(trees, k.Tree)
		if release == "6.1.1" {
			defer c.Close() // stays in use
		} else {
			c.Close()
		}
		old := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(k.Tree, treeMarker), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, false, true} {
		if got := isFolder(trees[i]); got != want {
			t.Errorf("tree %d is there: %v, want %v (the first is in use, the last is new)", i, got, want)
		}
	}
}

func TestCacheClearsWhatNobodyUses(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{newTree + "killed/boot", strings.Repeat("ab", 16) + "/boot", "not-mine/boot"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	k, fetch, _ := offeredKernel(t, testRelease)
	k = mustTree(t, openCache(t, dir, 1<<30), k, fetch)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case ".lock", "not-mine", filepath.Base(k.Tree):
		default:
			t.Errorf("%s is still there", e.Name())
		}
	}
	if !isFolder(filepath.Join(dir, "not-mine")) {
		t.Error("a folder that is not the cache's is gone")
	}
}

func TestCacheFailures(t *testing.T) {
	k, fetch, _ := offeredKernel(t, testRelease)
	other, _, _ := offeredKernel(t, "6.1.0-98-cloud-amd64")
	arm := k
	arm.Arch = "aarch64"
	fetchErr := errors.New("mirror is gone")
	for name, c := range map[string]struct {
		k     Kernel
		fetch func(context.Context, Part, string) error
		want  error
		hint  string
	}{
		"fetch":         {k, func(context.Context, Part, string) error { return fetchErr }, fetchErr, ""},
		"no space":      {k, func(context.Context, Part, string) error { return unix.ENOSPC }, unix.ENOSPC, "make room"},
		"corrupt":       {k, func(_ context.Context, _ Part, dst string) error { return os.WriteFile(dst, []byte("x"), 0o644) }, ErrCorrupt, ""},
		"other release": {other, fetch, ErrCorrupt, ""},
		"other arch":    {arm, fetch, ErrCorrupt, ""},
		"no image": {k, func(_ context.Context, _ Part, dst string) error {
			return os.WriteFile(dst, debOf(t, "linux-doc", "1", "all", ".gz", nil), 0o644)
		}, ErrNotKernel, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cache := openCache(t, dir, 1<<30)
			good, goodFetch, _ := offeredKernel(t, "6.1.7")
			good = mustTree(t, cache, good, goodFetch)
			_, err := cache.Tree(t.Context(), c.k, c.fetch)
			if !errors.Is(err, c.want) {
				t.Fatalf("error = %v, want %v", err, c.want)
			}
			var hint *HintError
			if errors.As(err, &hint) != (c.hint != "") || hint != nil && (!strings.Contains(hint.Text, c.hint) || !strings.Contains(hint.Text, dir)) {
				t.Errorf("hint = %+v, want %q with %s", hint, c.hint, dir)
			}
			if left := leftovers(t, dir); left != nil {
				t.Errorf("left behind: %v", left)
			}
			if !regular(good.Image) {
				t.Error("the cache lost a tree that has nothing to do with it")
			}
		})
	}
}

func TestCacheSideBySide(t *testing.T) {
	dir := t.TempDir()
	k, fetch, fetched := offeredKernel(t, testRelease)
	var wg sync.WaitGroup
	for range 4 {
		c := openCache(t, dir, 1<<30) // its own lock, as of another process
		wg.Go(func() {
			if got, err := c.Tree(t.Context(), k, fetch); err != nil || !regular(got.Image) {
				t.Errorf("image %q, %v", got.Image, err)
			}
		})
	}
	wg.Wait()
	if *fetched != 1 {
		t.Errorf("%d fetches, want 1", *fetched)
	}
}

func TestCacheWaitEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	k, fetch, fetched := offeredKernel(t, testRelease)
	busy, c := openCache(t, dir, 1<<30), openCache(t, dir, 1<<30)
	if err := unix.Flock(int(busy.lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Tree(ctx, k, fetch); !errors.Is(err, context.Canceled) || *fetched != 0 {
		t.Errorf("error = %v after %d fetches; want context.Canceled and none", err, *fetched)
	}
}
