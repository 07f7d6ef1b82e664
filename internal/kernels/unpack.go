package kernels

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

const (
	// maxUnpacked bounds what one package may become, and maxMember one file of it.
	// Debian's generic flavour has some 600 MB of modules.
	maxUnpacked = 4 << 30
	maxMember   = 1 << 30
)

// member is one file, folder or link of a package.
type member struct {
	name string // as it stands in the package
	kind byte   // tar's type flags
	link string
	size int64
}

// unpacker takes out of packages what a kernel needs, into a folder. All is written
// through root: links that earlier members made lead nowhere outside of it.
type unpacker struct {
	root  *os.Root
	left  int64
	files int
}

// newUnpacker unpacks into dir, which is there. The caller closes it.
func newUnpacker(dir string) (*unpacker, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &unpacker{root: root, left: maxUnpacked}, nil
}

func (u *unpacker) close() { u.root.Close() }

// wanted is where a member goes below the folder, or "" where nothing needs it: the
// image, the configuration and the module tree. /usr/lib and /lib are one.
func wanted(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(path.Clean("/"+name), "/"), "usr/")
	dir, base := path.Split(name)
	switch {
	case dir == "boot/" && (strings.HasPrefix(base, "vmlinu") || strings.HasPrefix(base, "config-") || strings.HasPrefix(base, "Image") || strings.HasPrefix(base, "kernel-")):
		return name
	case strings.HasPrefix(name, "lib/modules/") && dir != "lib/modules/":
		return name
	}
	return ""
}

// take unpacks one member. Anything that a kernel package has no business with is
// left out; a name that climbs, and a device or a hard link in place of a file that
// is needed, are refused.
func (u *unpacker) take(ctx context.Context, m member, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.Contains(strings.Split(m.name, "/"), "..") || strings.ContainsRune(m.name, 0) {
		return fmt.Errorf("member %q leads out of the package: %w", m.name, ErrCorrupt)
	}
	name := wanted(m.name)
	if name == "" {
		return nil
	}
	switch m.kind {
	case tar.TypeDir:
		return u.root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		return u.file(ctx, m, name, r)
	case tar.TypeSymlink:
		return u.symlink(m, name)
	}
	return fmt.Errorf("member %q is no file, folder or symbolic link: %w", m.name, ErrCorrupt)
}

// symlink makes a link that stays in the kernel's own folder. "build" and "source"
// lead to headers, which are other packages', and are left out.
func (u *unpacker) symlink(m member, name string) error {
	switch path.Base(name) {
	case "build", "source":
		return nil
	}
	if path.IsAbs(m.link) || wanted(path.Join(path.Dir(name), m.link)) == "" {
		return fmt.Errorf("link %q leads out of the kernel, to %q: %w", m.name, m.link, ErrCorrupt)
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return u.root.Symlink(m.link, name)
}

func (u *unpacker) file(ctx context.Context, m member, to string, r io.Reader) error {
	if m.size < 0 || m.size > maxMember || m.size > u.left {
		return fmt.Errorf("%s of %d bytes: too much for a kernel package: %w", m.name, m.size, ErrCorrupt)
	}
	u.left -= m.size
	if err := u.root.MkdirAll(path.Dir(to), 0o755); err != nil {
		return err
	}
	// O_EXCL: a member may not be written through a link that an earlier one made.
	f, err := u.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(ctxReader{ctx, r}, m.size))
	if err == nil && n != m.size {
		err = ErrCorrupt
	}
	if err != nil {
		err = fmt.Errorf("%s: %d of %d bytes: %w", m.name, n, m.size, err)
	}
	u.files++
	return errors.Join(err, f.Close())
}

// tarMembers unpacks a tar stream.
func (u *unpacker) tarMembers(ctx context.Context, r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return drain(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if err := u.take(ctx, member{h.Name, h.Typeflag, h.Linkname, h.Size}, t); err != nil {
			return err
		}
	}
}

// ctxReader ends a stream when ctx is done, and tells what cannot be read from what
// cannot be written.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return n, err
}

// maxTail bounds what may follow the end of an archive: padding to a full record.
const maxTail = 16 << 20

// drain reads what is left behind an archive's end. Only there does a decompressor
// compare checksums.
func drain(ctx context.Context, r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(ctxReader{ctx, r}, maxTail+1))
	if err == nil && n > maxTail {
		err = fmt.Errorf("more than %d bytes after the end of the archive: %w", maxTail, ErrCorrupt)
	}
	return err
}
