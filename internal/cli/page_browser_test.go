package cli

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lastgood/internal/browser"
	"lastgood/internal/page/pagetest"
)

// servedAt runs the command over a state folder, and gives the address of its page.
func servedAt(t *testing.T, dir string) string {
	t.Helper()
	cmd := lastgoodProcess(t, "serve", "--state-dir", dir, "--web.listen-address", "127.0.0.1:0")
	errs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	said := bufio.NewReader(errs)
	line, err := said.ReadString('\n')
	_, address, found := strings.Cut(strings.TrimSpace(line), " at ")
	if err != nil || !found {
		t.Fatalf("serve said %q: %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, said) }() // ends with the process
	return "http://" + address + "/"
}

// The pages of a host that came back worse and whose devices bear hostile names are what
// they must be to everybody, at every size and in both schemes.
func TestPageInABrowser(t *testing.T) {
	ctx, b := browser.ForTest(t)
	axe := browser.AxeForTest(ctx, t)
	base := servedAt(t, pageState(t, true))
	p, err := b.NewPage(ctx, looks["desktop light"])
	if err != nil {
		t.Fatal(err)
	}
	pages := crawled(t, base)
	for _, address := range kindsOf(t, pages) {
		for name, l := range looks {
			t.Run(name+" "+strings.TrimPrefix(address, base), func(t *testing.T) {
				s := lookAt(ctx, t, p, l, address)
				if address == base && s.Hostile == 0 {
					t.Error("the hostile name is not there as text")
				}
				wantAccessible(ctx, t, p, axe, address)
				if l.Dark == l.Mobile { // what is enlarged does not depend on the colours
					larger(ctx, t, p, l, address)
				}
			})
		}
		t.Run("keys "+strings.TrimPrefix(address, base), func(t *testing.T) {
			lookAt(ctx, t, p, looks["desktop light"], address)
			tabThrough(ctx, t, p, address)
		})
	}
	t.Run("findings", func(t *testing.T) { findingsExplained(ctx, t, p, base, below(pages, base+"findings")) })
	t.Run("diff", func(t *testing.T) { diffChosen(ctx, t, p, base) })
	t.Run("scripts on", func(t *testing.T) { scriptsOn(ctx, t, b, base) })
	t.Run("print", func(t *testing.T) { onPaper(ctx, t, p, base) })
}

// Where every string of a host is hostile, nothing of it runs though the browser would run
// it, and nothing falls out of the page.
func TestHostilePageInABrowser(t *testing.T) {
	ctx, b := browser.ForTest(t)
	dir := t.TempDir()
	if err := pagetest.Hostile(dir); err != nil {
		t.Fatal(err)
	}
	base := servedAt(t, dir)
	l := browser.Look{Width: 390, Height: 844, Mobile: true, Scripts: true}
	for _, address := range kindsOf(t, crawled(t, base)) {
		p, err := b.NewPage(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		if s := lookAt(ctx, t, p, l, address); address == base && s.Hostile == 0 {
			t.Error("the hostile name is not there as text")
		}
		reasons(ctx, t, p)
		wantQuiet(ctx, t, p, address)
		wantFits(t, address+" with all reasons open", sight(ctx, t, p))
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// A host that was never checked, and one that holds its workloads after everything changed.
func TestOtherPagesInABrowser(t *testing.T) {
	ctx, b := browser.ForTest(t)
	axe := browser.AxeForTest(ctx, t)
	held := t.TempDir()
	if err := pagetest.Regressed(held); err != nil {
		t.Fatal(err)
	}
	for dir, empty := range map[string][]string{t.TempDir(): {"api/v1/report", "-/ready"}, held: nil} {
		t.Run(fmt.Sprintf("checked %v", empty == nil), func(t *testing.T) {
			p, err := b.NewPage(ctx, looks["phone dark"])
			if err != nil {
				t.Fatal(err)
			}
			base := servedAt(t, dir)
			for _, address := range kindsOf(t, crawled(t, base, empty...)) {
				l := looks["phone dark"]
				if address == base {
					l = looks["desktop light"]
				}
				lookAt(ctx, t, p, l, address)
				wantAccessible(ctx, t, p, axe, address)
				larger(ctx, t, p, l, address)
			}
		})
	}
}

// The page as one file says the same and needs nothing beside it.
func TestPageFileInABrowser(t *testing.T) {
	ctx, b := browser.ForTest(t)
	axe := browser.AxeForTest(ctx, t)
	name := filepath.Join(t.TempDir(), "report.html")
	if out, err := lastgoodProcess(t, "report", "--state-dir", pageState(t, true), "--html", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(text))
	address := "file://" + name
	file := readPage(t, address, text)
	for _, link := range file.links {
		if plainAddress(link) != address || !file.ids[link.Fragment] {
			t.Errorf("it leads to %s", link)
		}
	}
	for _, kind := range []string{"desktop light", "phone dark"} {
		l := looks[kind]
		t.Run(kind, func(t *testing.T) {
			p, err := b.NewPage(ctx, l)
			if err != nil {
				t.Fatal(err)
			}
			if s := lookAt(ctx, t, p, l, address); s.Hostile == 0 {
				t.Error("the hostile name is not there as text")
			}
			if log, err := p.Log(ctx); err != nil || !slices.Equal(log.Requests, []string{address}) {
				t.Errorf("it asked for %q: %v", log.Requests, err)
			}
			wantAccessible(ctx, t, p, axe, address)
			reasons(ctx, t, p)
			larger(ctx, t, p, l, address)
		})
	}
}

// scriptsOn shows that nothing runs or is asked for where a browser would let it, and that
// all is quiet after the page was loaded.
func scriptsOn(ctx context.Context, t *testing.T, b *browser.Browser, base string) {
	p, err := b.NewPage(ctx, browser.Look{Width: 1280, Height: 800, Scripts: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Open(ctx, base); err != nil {
		t.Fatal(err)
	}
	if err := p.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	wantQuiet(ctx, t, p, base)
}

func onPaper(ctx context.Context, t *testing.T, p *browser.Page, base string) {
	lookAt(ctx, t, p, browser.Look{Width: 1280, Height: 800, Dark: true}, base)
	doc, err := p.PDF(ctx)
	if err != nil || !bytes.HasPrefix(doc, []byte("%PDF-")) || !bytes.Contains(doc, []byte("%%EOF")) || len(doc) > 4<<20 {
		t.Errorf("printed: %d bytes, %v", len(doc), err)
	}
}

var screenshots = flag.String("screenshots", "", "folder to write screenshots of the page to, as docs/images")

// maxShot bounds a screenshot that is kept in the repository.
const maxShot = 200_000

// shots are the pictures of the documentation.
var shots = []struct {
	name, path string
	look       browser.Look
}{
	{"page", "", browser.Look{Width: 1280, Height: 900, Bare: true}},
	{"page-dark", "#headroom", browser.Look{Width: 1280, Height: 1000, Dark: true, Bare: true}},
	{"page-phone", "", browser.Look{Width: 390, Height: 844, Mobile: true, Bare: true}},
	{"page-inventory", "#inventory", browser.Look{Width: 1280, Height: 1000, Bare: true}},
	{"page-compare", "diff?from=last-good&to=current", browser.Look{Width: 1280, Height: 800, Dark: true, Bare: true}},
}

// TestScreenshots looks at the page as a reader of the documentation will; with
// -screenshots it writes what it saw.
func TestScreenshots(t *testing.T) {
	ctx, b := browser.ForTest(t)
	base := servedAt(t, pageState(t, false))
	for _, s := range shots {
		p, err := b.NewPage(ctx, s.look)
		if err != nil {
			t.Fatal(err)
		}
		lookAt(ctx, t, p, s.look, base+s.path)
		shot, err := p.Screenshot(ctx, false)
		if err != nil || len(shot) == 0 {
			t.Fatalf("%s: %d bytes, %v", s.name, len(shot), err)
		}
		if *screenshots == "" {
			continue
		}
		if shot, err = browser.Small(shot); err != nil || len(shot) > maxShot {
			t.Errorf("%s: %d bytes, at most %d: %v", s.name, len(shot), maxShot, err)
		}
		if err := os.WriteFile(filepath.Join(*screenshots, s.name+".png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
