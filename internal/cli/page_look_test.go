package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/browser"
)

// looks are the ways in which every kind of page is looked at. Scripts are off, as the
// pages have none; one test more has them on.
var looks = map[string]browser.Look{
	"desktop light": {Width: 1280, Height: 800},
	"desktop dark":  {Width: 1280, Height: 800, Dark: true},
	"phone light":   {Width: 390, Height: 844, Mobile: true},
	"phone dark":    {Width: 390, Height: 844, Mobile: true, Dark: true},
}

// seen is what the document tells of itself.
type seen struct {
	Title, Heading, Lang string
	ScrollWidth, Width   int
	Wide                 []string // what sticks out at the right
	Twice                []string // ids that stand more than once
	Scripts              int      // elements that could run something
	Hostile              int      // how often the hostile name is there as text
}

const seenScript = `(() => {
	const d = document.documentElement, all = [...document.querySelectorAll("*")], ids = all.map(e => e.id).filter(Boolean);
	const clipped = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) if (getComputedStyle(p).overflowX !== "visible" && p.clientWidth <= d.clientWidth) return true; return false; };
	return {
		title: document.title, heading: document.querySelector("h1")?.innerText ?? "", lang: d.lang,
		scrollWidth: Math.max(d.scrollWidth, document.body.scrollWidth), width: d.clientWidth, // innerWidth grows with what sticks out, on a phone
		wide: all.filter(e => e.checkVisibility() && e.getBoundingClientRect().right > d.clientWidth + 1 && !clipped(e)).map(e => e.outerHTML.slice(0, 120)).slice(0, 5),
		twice: ids.filter((id, i) => ids.indexOf(id) !== i),
		scripts: document.querySelectorAll("script, img, iframe, object, embed, base, [src], use:not([href^='#']), image").length
			+ all.filter(e => [...e.attributes].some(a => a.name.startsWith("on") || /^\s*javascript:/i.test(a.value))).length,
		hostile: document.body.textContent.split("<script>alert(1)</script>").length - 1,
	};
})()`

// lookAt opens a page and holds it to what every page must be, however it is looked at.
func lookAt(ctx context.Context, t *testing.T, p *browser.Page, l browser.Look, address string) seen {
	t.Helper()
	if err := p.Set(ctx, l); err != nil {
		t.Fatal(err)
	}
	if err := p.Open(ctx, address); err != nil {
		t.Fatal(err)
	}
	s := sight(ctx, t, p)
	wantQuiet(ctx, t, p, address)
	if s.Title == "" || s.Heading == "" || s.Lang != "en" {
		t.Errorf("%s: title %q, heading %q, language %q", address, s.Title, s.Heading, s.Lang)
	}
	if len(s.Twice)+s.Scripts > 0 {
		t.Errorf("%s: ids twice %q, %d elements that could run something", address, s.Twice, s.Scripts)
	}
	wantFits(t, address, s)
	return s
}

func sight(ctx context.Context, t *testing.T, p *browser.Page) seen {
	t.Helper()
	var s seen
	if err := p.Eval(ctx, seenScript, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func wantFits(t *testing.T, what string, s seen) {
	t.Helper()
	if s.ScrollWidth > s.Width {
		t.Errorf("%s: the document is %d wide where %d are seen: %s", what, s.ScrollWidth, s.Width, strings.Join(s.Wide, "\n"))
	}
}

// wantQuiet fails where the page had trouble or asked anybody but its own server.
func wantQuiet(ctx context.Context, t *testing.T, p *browser.Page, address string) {
	t.Helper()
	log, err := p.Log(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, trouble := range log.Trouble {
		t.Errorf("%s: %s", address, trouble)
	}
	if f := log.Foreign(address); len(f) > 0 {
		t.Errorf("%s asked for %q", address, f)
	}
	if len(log.Requests) == 0 {
		t.Errorf("%s: no request was seen", address)
	}
}

// larger looks at the open page with text of twice the size, and with all of it twice as
// large: WCAG 2.2, 1.4.4 and 1.4.10.
func larger(ctx context.Context, t *testing.T, p *browser.Page, l browser.Look, address string) {
	t.Helper()
	zoomed := l
	if zoomed.Width, zoomed.Height = max(l.Width/2, 320), l.Height/2; l.Mobile {
		zoomed.Width = 320 // a phone's page is enlarged by pinching, and 320 are asked for
	}
	if err := p.Set(ctx, zoomed); err != nil {
		t.Fatal(err)
	}
	wantFits(t, address+" twice as large", sight(ctx, t, p))
	if err := p.Set(ctx, l); err != nil {
		t.Fatal(err)
	}
	if err := p.Style(ctx, "html { font-size: 200% !important }"); err != nil {
		t.Fatal(err)
	}
	wantFits(t, address+" with text twice as large", sight(ctx, t, p))
}

func wantAccessible(ctx context.Context, t *testing.T, p *browser.Page, axe, address string) {
	t.Helper()
	broken, kept, err := p.Axe(ctx, axe, browser.WCAG)
	if err != nil {
		t.Fatal(err)
	}
	if kept < 5 {
		t.Errorf("%s: axe-core looked at %d rules only", address, kept)
	}
	for _, v := range broken {
		t.Errorf("%s: %v", address, v)
	}
}

// control is what the Tab key comes to.
type control struct {
	At      int // its place among the controls, -1 for one that is none
	Told    string
	Visible bool // that it has the focus can be seen
}

const controlsScript = `(() => {
	globalThis.controls = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
		.filter(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.tabIndex >= 0 && e.type !== "hidden");
	return controls.map(e => e.outerHTML.slice(0, 100));
})()`

const focusedScript = `(() => {
	const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
	const drawn = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1 || s.boxShadow !== "none";
	return {at: controls.indexOf(e), told: e === document.body ? "" : e.outerHTML.slice(0, 100), visible: drawn && e.matches(":focus-visible") && r.bottom > 0 && r.top < innerHeight};
})()`

// tabThrough presses Tab until all controls had the focus, in the document's order.
func tabThrough(ctx context.Context, t *testing.T, p *browser.Page, address string) {
	t.Helper()
	var want []string
	if err := p.Eval(ctx, controlsScript, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 {
		t.Fatalf("%s has no control", address)
	}
	var order []int
	for range 2*len(want) + 20 { // what scrolls has the focus too
		if err := p.Press(ctx, "Tab"); err != nil {
			t.Fatal(err)
		}
		var c control
		if err := p.Eval(ctx, focusedScript, &c); err != nil {
			t.Fatal(err)
		}
		if c.Told == "" || len(order) > 0 && c.At == order[0] {
			break // round
		}
		if !c.Visible {
			t.Errorf("%s: the focus is not seen on %s", address, c.Told)
		}
		if c.At >= 0 {
			order = append(order, c.At)
		}
	}
	if !slices.IsSorted(order) {
		t.Errorf("%s: Tab leads from one to another out of order: %v", address, order)
	}
	for i, told := range want {
		if !slices.Contains(order, i) {
			t.Errorf("%s: Tab does not lead to %s", address, told)
		}
	}
}

// reasons opens every "why" by a click and says how many there are.
func reasons(ctx context.Context, t *testing.T, p *browser.Page) int {
	t.Helper()
	var n int
	if err := p.Eval(ctx, `(() => { const all = [...document.querySelectorAll("details:not([open])")]; all.forEach((e, i) => { e.dataset.why = i; }); return all.length; })()`, &n); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		var shown bool
		if err := p.Eval(ctx, fmt.Sprintf(`document.querySelector("details[data-why='%d'] > summary").checkVisibility()`, i), &shown); err != nil {
			t.Fatal(err)
		}
		if !shown { // inside of another one, which is opened by now or folded for good
			continue
		}
		if err := p.Click(ctx, fmt.Sprintf("details[data-why='%d'] > summary", i)); err != nil {
			t.Fatal(err)
		}
		var open bool
		if err := p.Eval(ctx, fmt.Sprintf(`(() => { const d = document.querySelector("details[data-why='%d']"); return d.open && d.innerText.trim().length > d.querySelector("summary").innerText.trim().length; })()`, i), &open); err != nil {
			t.Fatal(err)
		}
		if !open {
			t.Errorf("the %dth details do not open, or are empty", i+1)
		}
	}
	return n
}
