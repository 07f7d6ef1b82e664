package boot

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/sysfs"
)

// host is a file tree in memory: files and links by path, and errors to answer.
type host struct {
	files, links map[string]string
	errs         map[string]error
}

func newHost() *host {
	return &host{files: map[string]string{}, links: map[string]string{}, errs: map[string]error{}}
}

func (h *host) root() *sysfs.Root { return sysfs.New(h) }

func (h *host) with(name, content string) *host {
	h.files[name] = content
	return h
}

func (h *host) fail(name string, err error) *host {
	h.errs[name] = err
	return h
}

func (h *host) ReadFile(name string, max int) ([]byte, error) {
	if err := h.errs[name]; err != nil {
		return nil, err
	}
	s, ok := h.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(s[:min(len(s), max)]), nil
}

func (h *host) ReadDir(name string) ([]string, error) {
	if err := h.errs[name]; err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for file := range h.files {
		if rest, below := strings.CutPrefix(file, name+"/"); below {
			first, _, _ := strings.Cut(rest, "/")
			names[first] = true
		}
	}
	if len(names) == 0 {
		return nil, fs.ErrNotExist
	}
	return slices.Sorted(maps.Keys(names)), nil
}

func (h *host) Readlink(name string) (string, error) {
	if err := h.errs[name]; err != nil {
		return "", err
	}
	if t, ok := h.links[name]; ok {
		return t, nil
	}
	return "", fs.ErrNotExist
}

func (h *host) Exists(name string) (bool, error) {
	if err := h.errs[name]; err != nil {
		return false, err
	}
	_, file := h.files[name]
	_, link := h.links[name]
	return file || link, nil
}

// readHost reads a host of testdata: "=== PATH [hex|gzip|link]" and the content,
// which ends before the next such line.
func readHost(t *testing.T, name string) *host {
	t.Helper()
	b, err := os.ReadFile(path.Join("testdata", name+".host"))
	if err != nil {
		t.Fatal(err)
	}
	h := newHost()
	for part := range strings.SplitSeq("\n"+string(b), "\n=== ") {
		head, content, _ := strings.Cut(part, "\n")
		file, form, _ := strings.Cut(head, " ")
		switch form {
		case "":
			if file != "" {
				h.files[file] = content + "\n"
			}
		case "hex":
			h.files[file] = unhex(t, content)
		case "gzip":
			h.files[file] = zip(t, content+"\n")
		case "link":
			h.links[file] = strings.TrimSpace(content)
		default:
			t.Fatalf("%s: %s: form %q is not known", name, file, form)
		}
	}
	return h
}

func unhex(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func zip(t testing.TB, s string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}
