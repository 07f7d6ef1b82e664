package browser

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// axe-core (MPL-2.0) is fetched for tests and is no part of what is built. Sum is npm's
// dist.integrity of the version.
const (
	axePackage = "axe-core"
	axeVersion = "4.14.1"
	axeSum     = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// FetchAxe gives the script of axe-core. It is fetched with npm, from wherever that is
// configured to fetch, and kept in dir; what lies there is checked each time.
func FetchAxe(ctx context.Context, dir string) (script string, err error) {
	name := filepath.Join(dir, axePackage+"-"+axeVersion+".tgz") // as npm names it
	b, err := os.ReadFile(name)
	if err == nil && sum(b) == axeSum {
		return unpack(b)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Into a folder of its own and then into place, for another test may be doing the same.
	tmp, err := os.MkdirTemp(dir, "npm-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, "npm", "pack", "--ignore-scripts", "--pack-destination", tmp, axePackage+"@"+axeVersion)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch %s %s with npm: %w: %s", axePackage, axeVersion, err, bytes.TrimSpace(out))
	}
	fetched := filepath.Join(tmp, filepath.Base(name))
	if b, err = os.ReadFile(fetched); err != nil {
		return "", err
	}
	if have := sum(b); have != axeSum {
		return "", fmt.Errorf("fetch %s %s: its sum is %s, want %s", axePackage, axeVersion, have, axeSum)
	}
	if err := os.Rename(fetched, name); err != nil {
		return "", err
	}
	return unpack(b)
}

func sum(b []byte) string {
	s := sha512.Sum512(b)
	return "sha512-" + base64.StdEncoding.EncodeToString(s[:])
}

// maxScript bounds axe.min.js, which has 600 kB.
const maxScript = 8 << 20

// unpack finds the script in the package.
func unpack(b []byte) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", axePackage, err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("unpack %s: axe.min.js is not in it", axePackage)
		}
		if err != nil {
			return "", fmt.Errorf("unpack %s: %w", axePackage, err)
		}
		if h.Name == "package/axe.min.js" {
			script, err := io.ReadAll(io.LimitReader(r, maxScript))
			return string(script), err
		}
	}
}

// Violation is a rule of axe-core that a page breaks.
type Violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s", v.ID, v.Impact, v.Help)
	for i, n := range v.Nodes {
		if i == 5 {
			fmt.Fprintf(&b, "\n  and %d more", len(v.Nodes)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %.300s\n    %s", n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n    "))
	}
	return b.String()
}

// WCAG are axe-core's names for the rules of WCAG 2.2, levels A and AA.
var WCAG = []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"}

// Axe is what axe-core says of the page as it stands: the rules that it breaks, and how
// many were kept, for a check that looked at nothing breaks none either.
func (p *Page) Axe(ctx context.Context, script string, tags []string) (broken []Violation, kept int, err error) {
	wanted, err := json.Marshal(tags)
	if err != nil {
		return nil, 0, err
	}
	// Its timers run only where a page's scripts may; the document is loaded by now.
	if err := p.call(ctx, "Emulation.setScriptExecutionDisabled", arguments{"value": false}, nil); err != nil {
		return nil, 0, err
	}
	if err := p.Eval(ctx, script+"\n;undefined", nil); err != nil {
		return nil, 0, err
	}
	var out struct {
		Violations []Violation
		Passes     int
	}
	err = p.Eval(ctx, `axe.run(document, {runOnly: {type: "tag", values: `+string(wanted)+`}, resultTypes: ["violations"]})
		.then(r => ({violations: r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help,
			nodes: v.nodes.map(n => ({html: n.html, failureSummary: n.failureSummary}))})), passes: r.passes.length}))`, &out)
	return out.Violations, out.Passes, err
}
