package kernels

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Cache keeps unpacked kernels, so that each package is fetched and unpacked once.
// It is bounded, and safe for several processes at once.
type Cache struct {
	dir  string
	max  int64
	lock *os.File

	mu    sync.Mutex
	inUse map[string]*os.File // holds the tree's folder locked, against eviction by any process
}

const (
	// treeMarker is written last: a tree without it was cut off.
	treeMarker = ".lastgood-tree.json"
	newTree    = ".new-"
)

// marker is what is known of a tree.
type marker struct {
	Release string `json:"release"`
	Bytes   int64  `json:"bytes"`
}

// OpenCache opens the cache in dir, which is made where it is not there. maxBytes
// bounds what stays in it; a single kernel may be larger.
func OpenCache(dir string, maxBytes int64) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open kernel cache: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open kernel cache: %w", err)
	}
	return &Cache{dir: dir, max: maxBytes, lock: lock, inUse: map[string]*os.File{}}, nil
}

// Close ends the use of the cache. The trees stay, and may be evicted from now on.
func (c *Cache) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.inUse {
		f.Close()
	}
	clear(c.inUse)
	c.lock.Close()
}

// Tree gives a kernel the paths of its unpacked files. Where they are not there yet
// its parts are fetched, unless they are files already, and unpacked. The image's own
// word on its release and architecture is checked against what was asked for.
func (c *Cache) Tree(ctx context.Context, k Kernel, fetch func(ctx context.Context, part Part, dst string) error) (Kernel, error) {
	if len(k.Parts) == 0 {
		return k, fmt.Errorf("unpack kernel %s: it has no packages", k.Release)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// One process at a time: two would fetch and unpack the same packages.
	if err := lockFile(ctx, c.lock); err != nil {
		return k, fmt.Errorf("lock kernel cache %s: %w", c.dir, err)
	}
	defer unix.Flock(int(c.lock.Fd()), unix.LOCK_UN)
	key, err := treeKey(k)
	if err != nil {
		return k, err
	}
	dir := filepath.Join(c.dir, key)
	if _, err := readMarker(dir); err != nil {
		if err := c.make(ctx, k, dir, fetch); err != nil {
			return k, withHint(fmt.Errorf("unpack kernel %s: %w", k.Release, err), c.dir)
		}
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(dir, treeMarker), now, now) // the least recently used go first
	if err := c.use(key, dir); err != nil {
		return k, fmt.Errorf("unpack kernel %s: %w", k.Release, err)
	}
	return fromTree(k, dir)
}

// lockFile waits for a lock as long as ctx allows: another process may be fetching.
func lockFile(ctx context.Context, f *os.File) error {
	const again = 50 * time.Millisecond
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
}

// use marks a tree as in use until Close.
func (c *Cache) use(key, dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	if old := c.inUse[key]; old != nil {
		old.Close() // of a tree that was made anew, or the same
	}
	c.inUse[key] = f
	return nil
}

// used reports whether any process has the tree in use.
func used(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// withHint gives the way out of a full disk.
func withHint(err error, dir string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &HintError{err, "make room where " + dir + " is, or name another --state-dir"}
	}
	return err
}

// treeKey names a tree by what it is made of: the contents of files given by hand,
// the signed index's digests of packages.
func treeKey(k Kernel) (string, error) {
	h := sha256.New()
	for _, p := range k.Parts {
		sum := p.SHA256
		if p.File != "" {
			var err error
			if sum, err = digestOf(p.File); err != nil {
				return "", fmt.Errorf("unpack kernel %s: %w", k.Release, err)
			}
		}
		fmt.Fprintln(h, p.Package, p.Version, p.Arch, sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func digestOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// make unpacks a kernel beside its place and renames it there.
func (c *Cache) make(ctx context.Context, k Kernel, dir string, fetch func(context.Context, Part, string) error) (err error) {
	if err := os.RemoveAll(dir); err != nil { // cut off by a crash
		return err
	}
	tmp, err := os.MkdirTemp(c.dir, newTree)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	u, err := newUnpacker(tmp)
	if err != nil {
		return err
	}
	defer u.close()
	for i, p := range k.Parts {
		file := p.File
		if file == "" {
			file = filepath.Join(tmp, fmt.Sprintf("part%d.%s", i, cmp.Or(k.Family, FamilyDebian)))
			if err := fetch(ctx, p, file); err != nil {
				return err
			}
		}
		if err := u.unpack(ctx, file); err != nil {
			return err
		}
		if p.File == "" {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	if _, err := fromTree(k, tmp); err != nil {
		return err
	}
	b, err := json.Marshal(marker{Release: k.Release, Bytes: maxUnpacked - u.left})
	if err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, treeMarker), b, 0o644); err != nil {
		return err
	}
	// A power cut must not leave a marker beside files that never reached the disk.
	if err := syncFS(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return c.evict(filepath.Base(dir))
}

// syncFS writes out the file system that dir is on: one call for thousands of files.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

func (u *unpacker) unpack(ctx context.Context, file string) error {
	if filepath.Ext(file) == ".rpm" {
		return u.rpm(ctx, file)
	}
	return u.deb(ctx, file)
}

func readMarker(dir string) (marker, error) {
	var m marker
	b, err := os.ReadFile(filepath.Join(dir, treeMarker))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

// evict removes the least recently used trees over the bound, and what killed
// processes left. keep and what this process uses stay.
func (c *Cache) evict(keep string) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	type tree struct {
		name  string
		bytes int64
		used  time.Time
	}
	var trees []tree
	var total int64
	for _, e := range entries {
		dir := filepath.Join(c.dir, e.Name())
		if strings.HasPrefix(e.Name(), newTree) {
			// The lock is held, so nobody is at work on it.
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		st, err := os.Stat(filepath.Join(dir, treeMarker))
		if !e.IsDir() || !isKey(e.Name()) {
			continue // not of the cache's making
		}
		m, merr := readMarker(dir)
		if err := errors.Join(err, merr); err != nil {
			if used(dir) {
				continue
			}
			if err := os.RemoveAll(dir); err != nil { // damaged: nobody can use it
				return err
			}
			continue
		}
		total += m.Bytes
		if e.Name() != keep && !used(dir) {
			trees = append(trees, tree{e.Name(), m.Bytes, st.ModTime()})
		}
	}
	slices.SortFunc(trees, func(a, b tree) int { return a.used.Compare(b.used) })
	for _, t := range trees {
		if total <= c.max {
			break
		}
		if err := os.RemoveAll(filepath.Join(c.dir, t.name)); err != nil {
			return err
		}
		total -= t.bytes
	}
	return nil
}

// fromTree finds a kernel's files in an unpacked tree and checks the image.
func fromTree(k Kernel, dir string) (Kernel, error) {
	images, trees, err := lookIn(dir)
	if err != nil {
		return k, err
	}
	for _, t := range trees {
		if filepath.Base(t) == k.Release || len(trees) == 1 {
			k.Modules = t
		}
	}
	for _, name := range images {
		img, err := ReadImage(name)
		if err != nil {
			return k, err
		}
		if k.Arch != "" && img.Arch != "" && img.Arch != k.Arch {
			return k, fmt.Errorf("its image is for %s, its package for %s: %w", img.Arch, k.Arch, ErrCorrupt)
		}
		if img.Release != "" && img.Release != k.Release {
			return k, fmt.Errorf("its image is of %s, its package of %s: %w", img.Release, k.Release, ErrCorrupt)
		}
		k.Image = name
	}
	if k.Image == "" {
		return k, fmt.Errorf("its packages hold no image: %w", ErrNotKernel)
	}
	for _, name := range []string{filepath.Join(dir, "boot", "config-"+k.Release), filepath.Join(k.Modules, "config")} {
		if k.Config == "" && regular(name) {
			k.Config = name
		}
	}
	k.Tree = dir
	return k, nil
}

// lookIn lists the images and module trees of an unpacked package.
func lookIn(dir string) (images, trees []string, err error) {
	boot, err := os.ReadDir(filepath.Join(dir, "boot"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range boot {
		if p := filepath.Join(dir, "boot", e.Name()); imageRelease(p) != "" && regular(p) {
			images = append(images, p)
		}
	}
	mods, err := os.ReadDir(filepath.Join(dir, "lib", "modules"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range mods {
		tree := filepath.Join(dir, "lib", "modules", e.Name())
		trees = append(trees, tree)
		if inside := filepath.Join(tree, "vmlinuz"); len(images) == 0 && regular(inside) {
			images = append(images, inside)
		}
	}
	return images, trees, nil
}

// isKey reports a name that treeKey makes.
func isKey(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == 16
}
