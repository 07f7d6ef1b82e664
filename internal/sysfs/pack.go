package sysfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MaxRecording bounds a recording that is packed, by its length unpacked. OpenTree takes
// more, for trees that were recorded otherwise.
const MaxRecording = 16 << 20

// Pack makes one .tar.gz of a recording, which OpenTree opens. Equal recordings of one
// time are equal bytes. A file that is too large is left out and answers EFBIG, so that
// its absence is never taken for the host's; left names these.
func (r Recording) Pack(when time.Time) (packed []byte, left []string, err error) {
	var buf, errnos bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, nil, fmt.Errorf("pack recording: %w", err)
	}
	p := packer{w: tar.NewWriter(z), when: when.UTC().Truncate(time.Second), made: map[string]bool{"/": true}}
	for _, name := range r.Paths() {
		e := *r[name]
		if len(e.Data) > maxFile {
			e = Entry{Errno: unix.EFBIG}
			left = append(left, name)
		}
		if e.Errno != 0 {
			if p.folders(path.Dir(name)); e.Dir {
				p.folders(name)
			}
			fmt.Fprintf(&errnos, "%s\t%d\t%s\n", name, int(e.Errno), e.Errno.Error())
			continue
		}
		p.entry(name, &e)
	}
	p.entry("/"+errnoFile, &Entry{Data: errnos.Bytes()})
	for _, end := range []func() error{p.w.Close, z.Close} {
		if p.err == nil {
			p.err = end()
		}
	}
	if p.err != nil {
		return nil, left, fmt.Errorf("pack recording: %w", p.err)
	}
	return buf.Bytes(), left, nil
}

type packer struct {
	w    *tar.Writer
	when time.Time
	made map[string]bool // folders that stand in the archive
	size int
	err  error
}

// folders writes a folder and what leads to it.
func (p *packer) folders(dir string) {
	if p.made[dir] {
		return
	}
	p.folders(path.Dir(dir))
	p.made[dir] = true
	p.header(&tar.Header{Name: "." + dir + "/", Typeflag: tar.TypeDir, Mode: 0o755})
}

func (p *packer) entry(name string, e *Entry) {
	if e.Dir {
		p.folders(name)
		return
	}
	p.folders(path.Dir(name))
	h := &tar.Header{Name: "." + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.Data))}
	if e.Link != "" {
		h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, e.Link, 0
	}
	p.header(h)
	if p.err == nil {
		_, p.err = p.w.Write(e.Data)
	}
}

func (p *packer) header(h *tar.Header) {
	if p.size += 512 + int(h.Size); p.size > MaxRecording && p.err == nil {
		p.err = fmt.Errorf("more than %d MiB", MaxRecording>>20)
	}
	if strings.ContainsAny(h.Name, "\t\n") && p.err == nil {
		p.err = fmt.Errorf("%q has a tab or a line end in its name", clip(h.Name))
	}
	h.ModTime = p.when
	if p.err == nil {
		p.err = p.w.WriteHeader(h)
	}
}
