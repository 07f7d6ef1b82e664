package vm

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"

	"lastgood/internal/kmod"
)

// File is one file of an initramfs.
type File struct {
	Path string // without a leading slash
	Mode uint32 // permission bits
	Data []byte // what is in it, or
	From string // the file of this host to copy
}

// Folders of the initramfs. The guest mounts file systems over the first ones.
const (
	payloadFolder = "payload"
	moduleFolder  = "modules"
)

// Image is what an initramfs is made of.
type Image struct {
	// Init is the path of a static executable, which becomes /init.
	Init string
	// Modules are kernel modules to load before anything else, in order, as
	// kmod.Tree.Resolve gives them.
	Modules []kmod.Module
	// Payload are the job's files, found in the guest under /payload.
	Payload []File
}

// Write writes the initramfs: a cpio archive in the kernel's "newc" form
// (Documentation/driver-api/early-userspace/buffer-format.rst). It is not
// compressed, for under emulation unpacking costs more than copying.
func (m *Image) Write(w io.Writer) error {
	if err := checkStatic(m.Init); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 1<<20)
	a := archive{w: cpio.NewWriter(buf), made: map[string]bool{}}
	files := []File{{Path: "init", Mode: 0o755, From: m.Init}}
	for i := range m.Modules {
		data, err := moduleData(m.Modules[i].File)
		if err != nil {
			return err
		}
		files = append(files, File{Path: fmt.Sprintf("%s/%03d-%s.ko", moduleFolder, i, m.Modules[i].Name), Mode: 0o444, Data: data})
	}
	for _, f := range m.Payload {
		f.Path = path.Join(payloadFolder, path.Clean("/"+f.Path))
		files = append(files, f)
	}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "run", "etc", moduleFolder, payloadFolder} {
		if err := a.folder(dir); err != nil {
			return err
		}
	}
	for i := range files {
		if err := a.file(&files[i]); err != nil {
			return err
		}
	}
	if err := a.w.Close(); err != nil {
		return fmt.Errorf("write initramfs: %w", err)
	}
	return buf.Flush()
}

type archive struct {
	w    *cpio.Writer
	made map[string]bool
}

func (a *archive) folder(name string) error {
	if name == "." || a.made[name] {
		return nil
	}
	if err := a.folder(path.Dir(name)); err != nil {
		return err
	}
	a.made[name] = true
	if err := a.w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755, Links: 2}); err != nil {
		return fmt.Errorf("write initramfs %s: %w", name, err)
	}
	return nil
}

func (a *archive) file(f *File) error {
	if a.made[f.Path] {
		return fmt.Errorf("write initramfs %s: it is there twice", f.Path)
	}
	if err := a.folder(path.Dir(f.Path)); err != nil {
		return err
	}
	a.made[f.Path] = true
	data := io.Reader(bytes.NewReader(f.Data))
	size := int64(len(f.Data))
	if f.From != "" {
		src, err := os.Open(f.From)
		if err != nil {
			return fmt.Errorf("write initramfs %s: %w", f.Path, err)
		}
		defer src.Close()
		st, err := src.Stat()
		if err != nil {
			return fmt.Errorf("write initramfs %s: %w", f.Path, err)
		}
		data, size = src, st.Size()
	}
	h := &cpio.Header{Name: f.Path, Mode: cpio.TypeReg | cpio.FileMode(f.Mode&0o777), Size: size, Links: 1}
	if err := a.w.WriteHeader(h); err != nil {
		return fmt.Errorf("write initramfs %s: %w", f.Path, err)
	}
	if n, err := io.Copy(a.w, data); err != nil || n != size {
		return errors.Join(fmt.Errorf("write initramfs %s: %d of %d bytes", f.Path, n, size), err)
	}
	return nil
}

// moduleData is a module unpacked: the guest's kernel may have no decompressor of its
// own (finit_module's flag for it came with 5.17).
func moduleData(file string) ([]byte, error) {
	data, err := kmod.Read(file)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", file, err)
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil, fmt.Errorf("read module %s: not an ELF file", file)
	}
	return data, nil
}

// checkStatic refuses an init that wants a dynamic loader: there is none in the guest.
func checkStatic(name string) error {
	f, err := elf.Open(name)
	if err != nil {
		return fmt.Errorf("read init %s: %w", name, err)
	}
	defer f.Close()
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return &NotStaticError{Path: name}
	}
	return nil
}

// NotStaticError is an executable that cannot be the guest's init.
type NotStaticError struct{ Path string }

func (e *NotStaticError) Error() string {
	return fmt.Sprintf("read init %s: it is linked dynamically, and the guest has no libraries", strings.TrimSpace(e.Path))
}

// Hint is the way out.
func (e *NotStaticError) Hint() string {
	return "build it with `make build`, or with CGO_ENABLED=0 in the environment"
}
