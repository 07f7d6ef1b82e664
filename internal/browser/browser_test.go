package browser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func opened(ctx context.Context, t *testing.T, b *Browser, l Look, address string) *Page {
	t.Helper()
	p, err := b.NewPage(ctx, l)
	if err == nil {
		err = p.Open(ctx, address)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pages serves a page under each name, with a policy that forbids what is not the server's own.
func pages(t *testing.T, texts map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, known := texts[r.URL.Path]
		if r.URL.Path == "/favicon.ico" { // what a browser asks for unasked
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if !known {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		fmt.Fprint(w, `<!DOCTYPE html><html lang="en"><head><title>t</title><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"></head><body><main>`, text, `</main></body></html>`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Each fault of a page is seen, so that none being seen means something.
func TestFaultsAreSeen(t *testing.T) {
	ctx, b := ForTest(t)
	base := pages(t, map[string]string{
		"/clean":   `<h1>clean</h1><p>words</p>`,
		"/image":   `<h1>a</h1><img alt="x" src="http://elsewhere.example/x.png">`,
		"/script":  `<h1>a</h1><script>document.title = "ran"</script>`,
		"/onerror": `<h1>a</h1><img alt="x" src="data:," onerror="alert(1)">`,
		"/missing": `<h1>a</h1><img alt="x" src="/nothing.png">`,
		"/font":    `<h1>a</h1><p style="color: red">words</p>`,
	})
	for path, want := range map[string]string{
		"/clean": "", "/image": "ContentSecurityPolicy", "/script": "ContentSecurityPolicy", "/onerror": "ContentSecurityPolicy",
		"/missing": "status 404", "/font": "ContentSecurityPolicy",
	} {
		p := opened(ctx, t, b, Look{Width: 800, Height: 600, Scripts: true}, base+path)
		if err := p.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		log, err := p.Log(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(log.Trouble, "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if want == "" && !slices.Equal(log.Requests, []string{base + path, base + "/favicon.ico"}) {
			t.Errorf("%s asked for %q", path, log.Requests)
		}
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	foreign := Log{Requests: []string{base + "/a", "http://elsewhere.example/", "https" + strings.TrimPrefix(base, "http")}}.Foreign(base + "/x")
	if len(foreign) != 2 {
		t.Errorf("foreign: %q", foreign)
	}
}

func TestLooks(t *testing.T) {
	ctx, b := ForTest(t)
	base := pages(t, map[string]string{"/": `<h1>looks</h1>`})
	for _, l := range []Look{{Width: 1280, Height: 800}, {Width: 390, Height: 844, Mobile: true, Dark: true}, {Width: 640, Height: 400, Scripts: true, Contrast: true}} {
		p := opened(ctx, t, b, l, base)
		var got Look
		if err := p.Eval(ctx, `Promise.resolve({width: innerWidth, height: innerHeight, dark: matchMedia("(prefers-color-scheme: dark)").matches, contrast: matchMedia("(prefers-contrast: more)").matches})`, &got); err != nil {
			t.Fatal(err)
		}
		got.Mobile, got.Scripts, got.Bare = l.Mobile, l.Scripts, l.Bare
		if got != l {
			t.Errorf("looked at as %+v, want %+v", got, l)
		}
		shot, err := p.Screenshot(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		c, err := png.DecodeConfig(bytes.NewReader(shot))
		if err != nil || c.Width != l.Width || c.Height != l.Height {
			t.Errorf("the screenshot is %dx%d: %v", c.Width, c.Height, err)
		}
		small, err := Small(shot)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := png.DecodeConfig(bytes.NewReader(small)); err != nil || c.Width != l.Width || len(small) > len(shot) {
			t.Errorf("the small one is %d wide and has %d bytes of %d: %v", c.Width, len(small), len(shot), err)
		}
		if doc, err := p.PDF(ctx); err != nil || !bytes.HasPrefix(doc, []byte("%PDF-")) {
			t.Errorf("printed: %v", err)
		}
	}
}

func TestActs(t *testing.T) {
	ctx, b := ForTest(t)
	base := pages(t, map[string]string{
		"/":     `<h1>a</h1><details><summary>why</summary>because</details><form action="/form"><input name="x" value="1" aria-label="x"><button>go</button></form>`,
		"/form": `<h1>b</h1>`,
	})
	p := opened(ctx, t, b, Look{Width: 800, Height: 600}, base)
	if err := p.Click(ctx, "summary"); err != nil {
		t.Fatal(err)
	}
	var open bool
	if err := p.Eval(ctx, `document.querySelector("details").open`, &open); err != nil || !open {
		t.Errorf("it is not open: %v", err)
	}
	if err := p.Click(ctx, "#nothing"); err == nil || !strings.Contains(err.Error(), "no such element") {
		t.Errorf("clicking nothing: %v", err)
	}
	if err := p.Press(ctx, "Nothing"); err == nil {
		t.Error("a key that is none is pressed")
	}
	var focused string
	for range 2 {
		if err := p.Press(ctx, "Tab"); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Eval(ctx, `document.activeElement.localName`, &focused); err != nil || focused != "button" {
		t.Errorf("%s has the focus: %v", focused, err)
	}
	if err := p.Follow(ctx, func() error { return p.Press(ctx, "Enter") }); err != nil {
		t.Fatal(err)
	}
	var at string
	if err := p.Eval(ctx, `location.pathname + location.search`, &at); err != nil || at != "/form?x=1" {
		t.Errorf("the form led to %s: %v", at, err)
	}
	if err := p.Style(ctx, "h1 { width: 5000px }"); err != nil {
		t.Fatal(err)
	}
	var wide int
	if err := p.Eval(ctx, `document.documentElement.scrollWidth`, &wide); err != nil || wide < 5000 {
		t.Errorf("%d wide: %v", wide, err)
	}
	if err := p.Open(ctx, "http://127.0.0.1:1/"); err == nil {
		t.Error("nothing was opened without a word")
	}
}

// The script of axe-core finds what is wrong and passes what is not.
func TestAxe(t *testing.T) {
	ctx, b := ForTest(t)
	script := AxeForTest(ctx, t)
	base := pages(t, map[string]string{
		"/clean": `<h1>clean</h1><p>words</p>`,
		"/wrong": `<h1>a</h1><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><a href="/x"></a><p><font color="#888888">pale</font></p>`,
	})
	for path, want := range map[string][]string{"/clean": nil, "/wrong": {"color-contrast", "image-alt", "link-name"}} {
		p := opened(ctx, t, b, Look{Width: 800, Height: 600}, base+path)
		broken, kept, err := p.Axe(ctx, script, WCAG)
		if err != nil || kept == 0 {
			t.Fatalf("%s: %d rules kept, %v", path, kept, err)
		}
		var ids []string
		for _, v := range broken {
			ids = append(ids, v.ID)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, want) {
			t.Errorf("%s breaks %v, want %v", path, broken, want)
		}
	}
}

// The browser ends with the pipe, as when the test that started it is killed.
func TestEndsWithThePipe(t *testing.T) {
	ctx, b := ForTest(t)
	if v, err := b.Version(ctx); err != nil || !strings.Contains(v, "Chrome/") {
		t.Fatalf("version %q: %v", v, err)
	}
	if err := b.conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.exited:
	case <-ctx.Done():
		t.Error("it runs on")
	}
	if _, err := b.Version(ctx); err == nil {
		t.Error("it answers")
	}
	b.conn = newConn(os.Stdin, nopCloser{}) // closed by the clean-up once more
}

type nopCloser struct{}

func (nopCloser) Write(b []byte) (int, error) { return 0, errors.New("closed") }
func (nopCloser) Close() error                { return nil }

// What is fetched is checked: another file in its place is not used.
func TestFetchAxeChecks(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, axePackage+"-"+axeVersion+".tgz")
	if err := os.WriteFile(name, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir()) // no npm
	if _, err := FetchAxe(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "npm") {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, b := range [][]byte{nil, []byte("no archive"), {0x1f, 0x8b}} {
		if _, err := unpack(b); err == nil {
			t.Errorf("%q was unpacked", b)
		}
	}
}

// FuzzRead has the browser say anything: reading ends, and who waits is told.
func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"id\":1,\"result\":{}}\x00"))
	f.Add([]byte("{\"method\":\"a\",\"sessionId\":\"s\",\"params\":{\"entry\":3}}\x00{}\x00\x00"))
	f.Add([]byte("{\"id\":1,\"error\":{\"code\":-1,\"message\":\"no\"}}\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		p := &Page{news: make(chan struct{}), events: map[string]bool{}}
		c := &conn{in: io.NopCloser(bytes.NewReader(said)), waiting: map[int]chan message{1: make(chan message, 1)}, sinks: map[string]func(message){"s": p.event}, over: make(chan struct{})}
		c.read()
		if <-c.over; c.err == nil {
			t.Error("it ended and nobody knows why")
		}
	})
}
