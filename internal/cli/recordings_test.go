package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/ulikunitz/xz"

	"lastgood/internal/report"
)

// unpack lays a recording out as a folder, and packs it with xz: unpack IN.tar.gz FOLDER OUT.tar.xz.
func unpack(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	ts.Check(err)
	plain, err := io.ReadAll(z)
	ts.Check(err)
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		ts.Check(lay(filepath.Join(ts.MkAbs(args[1]), h.Name), h, r))
	}
	var packed bytes.Buffer
	x, err := xz.NewWriter(&packed)
	ts.Check(err)
	_, err = x.Write(plain)
	ts.Check(err)
	ts.Check(x.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), packed.Bytes(), 0o600))
}

func lay(name string, h *tar.Header, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, name)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o600)
}

// taken takes the snapshot of each recorded host that is named.
func taken(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Check(ts.Exec("lastgood", "snapshot", "--root", filepath.Join(ts.Getenv("HOSTS"), name+".tar.gz"), "-o", "json"))
		ts.Check(os.WriteFile(ts.MkAbs(name+".json"), []byte(ts.ReadFile("stdout")), 0o600))
	}
}

// findings counts those of the last report by severity, by code, by the subject's kind
// and by the kinds of what they explain: findings critical=1 warning=0 behind-hw.disk=2.
func findings(ts *testscript.TestScript, _ bool, args []string) {
	var r report.Report
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &r))
	n := map[string]int{}
	var said []string
	for _, f := range r.Findings {
		n[string(f.Severity)]++
		n[f.Code]++
		n[f.Subject.Kind]++
		for _, b := range f.Behind {
			n["behind-"+b.Kind]++
		}
		said = append(said, string(f.Severity)+" "+f.Message)
	}
	for _, a := range args {
		what, want, _ := strings.Cut(a, "=")
		if got := fmt.Sprint(n[what]); got != want {
			ts.Fatalf("%s findings of %s, want %s:\n%s", got, what, want, strings.Join(said, "\n"))
		}
	}
}

// mode checks a file's permissions: mode 600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", st.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// cutShort copies the first half of a file.
func cutShort(ts *testscript.TestScript, _ bool, args []string) {
	whole := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(whole[:len(whole)/2]), 0o600))
}
