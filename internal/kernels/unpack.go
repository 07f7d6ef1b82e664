package kernels

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
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

// unpacker takes out of packages what a kernel needs, into a folder.
type unpacker struct {
	dir   string
	left  int64
	files int
}

func newUnpacker(dir string) *unpacker { return &unpacker{dir: dir, left: maxUnpacked} }

// wanted is where a member goes below the folder, or "" where nothing needs it: the
// image, the configuration and the module tree. /usr/lib and /lib are one.
func wanted(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	name = strings.TrimPrefix(name, "usr/")
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
// left out; a link that leads out of the folder is refused.
func (u *unpacker) take(ctx context.Context, m member, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name := wanted(m.name)
	if name == "" {
		return nil
	}
	to := filepath.Join(u.dir, filepath.FromSlash(name))
	switch m.kind {
	case tar.TypeDir:
		return os.MkdirAll(to, 0o755)
	case tar.TypeReg:
		return u.file(m, to, r)
	case tar.TypeSymlink:
		// "build" and "source" lead to headers, which are other packages'.
		if target := path.Join(path.Dir(name), m.link); path.IsAbs(m.link) || strings.HasPrefix(target, "..") {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.Symlink(m.link, to)
	}
	return nil
}

func (u *unpacker) file(m member, to string, r io.Reader) error {
	if m.size < 0 || m.size > maxMember || m.size > u.left {
		return fmt.Errorf("%s of %d bytes: too much for a kernel package: %w", m.name, m.size, ErrCorrupt)
	}
	u.left -= m.size
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	// O_EXCL and O_NOFOLLOW: a member may not be written through a link that an
	// earlier one made.
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, m.size))
	if err == nil && n != m.size {
		err = fmt.Errorf("%s: %d of %d bytes: %w", m.name, n, m.size, ErrCorrupt)
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
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if err := u.take(ctx, member{h.Name, h.Typeflag, h.Linkname, h.Size}, t); err != nil {
			return err
		}
	}
}
