package page

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"strings"
	"sync"

	"lastgood/internal/report"
)

//go:embed assets
var assets embed.FS

// templates are parsed when a page is made: that takes some milliseconds, and every command is this program.
var templates = sync.OnceValue(func() *template.Template { return template.Must(template.ParseFS(assets, "assets/*.html")) })

// Style is the sheet of all pages, StylePath where they ask for it: its name changes with
// what is in it, so that a browser may keep it for ever.
var (
	Style     = mustRead("assets/style.css")
	StylePath = "/style-" + digest(Style) + ".css"
)

func mustRead(name string) []byte {
	b, err := assets.ReadFile(name)
	if err != nil {
		panic(err) // embedded by the compiler
	}
	return b
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:6])
}

// Policy is the Content-Security-Policy that pages are to be served with: nothing but
// their own sheet, the icon that is in them, and the form that compares boots.
const Policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// FilePolicy is that of a page that stands alone. It names the sheet by its hash.
func filePolicy() string {
	s := sha256.Sum256(Style)
	return "default-src 'none'; style-src 'sha256-" + base64Of(s[:]) + "'; img-src data:; form-action 'none'; base-uri 'none'"
}

// frame is what all pages have around them.
type frame struct {
	Title   string
	Host    string
	Version string
	Made    moment
	Level   string
	Single  bool // one file: what would be another page is a place in it
	here    string
}

// StyleURL is where the sheet is.
func (f *frame) StyleURL() string { return StylePath }

// CSS is the sheet itself, for a file that stands alone.
func (f *frame) CSS() template.CSS { return template.CSS(Style) }

// CSP is the policy of a file that stands alone.
func (f *frame) CSP() string { return filePolicy() }

// iconColours are those of the tab's icon by level; there the level is seen before the page is.
var iconColours = map[string]string{"good": "2f9e5b", "bad": "d53d48", "warn": "d98a00", "none": "868e99"}

// iconSigns tell levels apart without colours.
var iconSigns = map[string]string{"good": "M4.5 8.3l2.4 2.4 4.6-5", "bad": "M5 5l6 6m0-6l-6 6", "warn": "M8 4v4.5m0 2.6v.3", "none": "M5 8h6"}

// Icon is the tab's, with the verdict in it. It is made of the constants above alone.
func (f *frame) Icon() template.URL {
	svg := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="#%s"/><path d="%s" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>`,
		iconColours[f.Level], iconSigns[f.Level])
	return template.URL("data:image/svg+xml," + url.PathEscape(svg))
}

// navItem is a link of the head of a page, or of a row of pages.
type navItem struct {
	Name, URL string
	Here      bool
}

// places are the pages, with the heading that each has in a file that stands alone.
var places = []struct{ name, path, in string }{
	{"Overview", "/", "#content"}, {"Findings", "/findings", "#findings"}, {"Programs", "/programs", "#headroom"},
	{"Inventory", "/inventory", "#inventory"}, {"Boots", "/boots", "#boots"}, {"Compare", "/diff", ""},
}

// Nav are the links of the head.
func (f *frame) Nav() []navItem {
	var out []navItem
	for _, p := range places {
		if !f.Single {
			out = append(out, navItem{p.name, p.path, p.path == f.here})
		} else if p.in != "" {
			out = append(out, navItem{p.name, p.in, false})
		}
	}
	return out
}

// To is the link to a page.
func (f *frame) To(path string) string {
	if !f.Single {
		return path
	}
	for _, p := range places {
		if p.path == path && p.in != "" {
			return p.in
		}
	}
	return "#content"
}

// content is all that a page may hold; each page fills in its own.
type content struct {
	*frame
	Verdict      *verdictView
	Findings     []findingView
	FindingsAll  int
	FindingsMore int
	FindingsURL  string
	Remarks      []remarks
	Meaning      []mechanismView
	AlsoDearer   string
	Candidates   []candidateView
	Since        *sinceView
	Bars         *barsView
	Series       *kernelsView
	Tree         *treeView
	Heat         *heatView
	Boots        *bootsView
	Gaps         *gapsView
	Pager        []navItem
	Options      []option
	Query        DiffQuery
	Diff         *diffView
	Problem      string
	ProblemHint  []piece
}

// gapsView is what could not be measured, by reason.
type gapsView struct {
	Groups []gapView
	Total  int
	More   int
	Quiet  bool // none of it weighs
}

type gapView struct {
	Reason, Who string
	Counts      bool
}

const mostGaps = 20

func gapsOf(r *report.Report) *gapsView {
	if r == nil || len(r.Incomplete) == 0 {
		return nil
	}
	groups := report.GapsByReason(r.Incomplete)
	v := &gapsView{Total: len(r.Incomplete), More: max(0, len(groups)-mostGaps), Quiet: !groups[0].Counts}
	for _, g := range groups[:min(len(groups), mostGaps)] {
		const most = 5
		who := strings.Join(g.Who[:min(most, len(g.Who))], ", ")
		if len(g.Who) > most {
			who += fmt.Sprintf(" and %d more", len(g.Who)-most)
		}
		v.Groups = append(v.Groups, gapView{g.Reason, report.Flat(who, 300), g.Counts})
	}
	return v
}

// Page is one page as bytes. Between its two halves stands what is only known when it is
// asked for; see Notice. The second half is kept packed: all pages of a large host have
// two megabytes, and a tenth of that so.
type Page struct{ top, rest []byte }

func pack(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	return bytes.Clone(out.Bytes()), err
}

// Notice is what is said above a page: what is wrong with what it shows.
type Notice struct {
	Stale     bool     // it is of an earlier result, for the newest could not be read
	OtherBoot bool     // it is not of the boot that runs
	Faults    []string // what of the folder could not be read
}

// With is the page with a notice, as it is sent.
func (p Page) With(n Notice) []byte {
	var b bytes.Buffer
	b.Grow(len(p.top) + 8*len(p.rest) + 200)
	b.Write(p.top)
	if n.Stale || n.OtherBoot || len(n.Faults) > 0 {
		for i := range n.Faults {
			n.Faults[i] = report.Flat(n.Faults[i], longText)
		}
		_ = templates().ExecuteTemplate(&b, "notice", n) // to memory, of texts alone
	}
	_, _ = io.Copy(&b, flate.NewReader(bytes.NewReader(p.rest))) // from memory, as it was packed there
	return b.Bytes()
}

// render makes a page of a template and what it holds.
func render(name string, c *content) (Page, error) {
	var top, rest bytes.Buffer
	if err := templates().ExecuteTemplate(&top, "top", c); err != nil {
		return Page{}, fmt.Errorf("make page: %w", err)
	}
	for _, part := range []string{name, "end"} {
		if err := templates().ExecuteTemplate(&rest, part, c); err != nil {
			return Page{}, fmt.Errorf("make page %s: %w", name, err)
		}
	}
	packed, err := pack(rest.Bytes())
	if err != nil {
		return Page{}, fmt.Errorf("make page %s: %w", name, err)
	}
	return Page{bytes.Clone(top.Bytes()), packed}, nil
}
