package cli

import (
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxPage is the mark: bytes of a page as it is sent unpacked.
const maxPage = 150_000

var (
	linkPattern = regexp.MustCompile(`<(?:a|area|link)\s[^>]*?href="([^"]*)"`)
	idPattern   = regexp.MustCompile(`<[^>]*?\sid="([^"]*)"`)
)

// webPage is an answer of the server that is a page.
type webPage struct {
	address string
	size    int
	ids     map[string]bool
	links   []*url.URL
}

// fetched gets an address, which must be a good one or known to have nothing to tell; nil
// where it is no page.
func fetched(t *testing.T, address string, empty bool) *webPage {
	t.Helper()
	w, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil || (w.StatusCode != http.StatusOK) != empty {
		t.Errorf("%s: status %d, %v", address, w.StatusCode, err)
	}
	if !strings.HasPrefix(w.Header.Get("Content-Type"), "text/html") {
		return nil
	}
	return readPage(t, address, b)
}

func readPage(t *testing.T, address string, b []byte) *webPage {
	t.Helper()
	p := &webPage{address: address, size: len(b), ids: map[string]bool{}}
	for _, m := range idPattern.FindAllSubmatch(b, -1) {
		p.ids[html.UnescapeString(string(m[1]))] = true
	}
	here, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range linkPattern.FindAllSubmatch(b, -1) {
		link, err := here.Parse(html.UnescapeString(string(m[1])))
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if link.Scheme != "data" { // the icon
			p.links = append(p.links, link)
		}
	}
	return p
}

// crawled follows all links from a page on. Each must be the server's own and lead to
// something, to a place on a page where it names one; empty are those that have nothing to
// tell of this host.
func crawled(t *testing.T, base string, empty ...string) map[string]*webPage {
	t.Helper()
	pages, todo := map[string]*webPage{base: fetched(t, base, false)}, []string{base}
	for len(todo) > 0 {
		p := pages[todo[0]]
		todo = todo[1:]
		for _, link := range p.links {
			address := plainAddress(link)
			if _, known := pages[address]; known {
				continue
			}
			if !strings.HasPrefix(address, base) {
				t.Errorf("%s leads to %s", p.address, address)
				continue
			}
			if pages[address] = fetched(t, address, slices.Contains(empty, strings.TrimPrefix(address, base))); pages[address] != nil {
				todo = append(todo, address)
			}
			if len(pages) > 2000 {
				t.Fatalf("there is no end of pages: %q", slices.Sorted(maps.Keys(pages))[:100])
			}
		}
	}
	maps.DeleteFunc(pages, func(_ string, p *webPage) bool { return p == nil })
	for _, p := range pages {
		if p.size > maxPage {
			t.Errorf("%s has %d bytes, more than %d", p.address, p.size, maxPage)
		}
		for _, link := range p.links {
			if to := pages[plainAddress(link)]; link.Fragment != "" && (to == nil || !to.ids[link.Fragment]) {
				t.Errorf("%s leads to %s: there is no such place", p.address, link)
			}
		}
	}
	return pages
}

// plainAddress is a link without the place on the page.
func plainAddress(u *url.URL) string {
	plain := *u
	plain.Fragment, plain.RawFragment = "", ""
	return plain.String()
}

// kindsOf are pages of each kind, the largest of it: those that differ only in which boot
// or how much they are asked for are drawn alike.
func kindsOf(t *testing.T, pages map[string]*webPage) []string {
	t.Helper()
	largest := map[string]*webPage{}
	for _, p := range pages {
		u, err := url.Parse(p.address)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
		kind := first
		if u.RawQuery != "" {
			kind += "?"
		}
		if old := largest[kind]; old == nil || p.size > old.size {
			largest[kind] = p
		}
	}
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(largest)) {
		out = append(out, largest[kind].address)
	}
	t.Logf("%d pages, of which these are looked at: %q", len(pages), out)
	return out
}

// below are the addresses of pages that begin with one.
func below(pages map[string]*webPage, address string) []string {
	var out []string
	for a := range pages {
		if strings.HasPrefix(a, address) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}
