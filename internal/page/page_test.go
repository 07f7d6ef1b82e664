package page_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/page"
	"lastgood/internal/page/pagetest"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// read makes the Input of a folder that write fills.
func read(t testing.TB, write func(dir string) error) page.Input {
	t.Helper()
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	kinds, err := pagetest.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	in, faults, err := page.Read(dir, pagetest.Current, page.Given{Kinds: kinds, Now: pagetest.Now, Version: "1.0"})
	if err != nil || len(faults) > 0 {
		t.Fatalf("read: %v, faults %q", err, faults)
	}
	return in
}

func make1(t testing.TB, in page.Input) *page.Site {
	t.Helper()
	s, err := page.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(t testing.TB, s *page.Site, path string) string {
	t.Helper()
	p, ok := s.Page(path)
	if !ok {
		t.Fatalf("there is no page %s", path)
	}
	return string(p.With(page.Notice{}))
}

func sized(programs, devices int) func(string) error {
	return func(dir string) error { return pagetest.Sized(dir, programs, devices) }
}

// TestOverview holds the first page to what a person came for.
func TestOverview(t *testing.T) {
	in := read(t, pagetest.Regressed)
	html := text(t, make1(t, in), "/")
	for _, want := range []string{
		"Worse than the last good boot</h1>", "6.1.0-52-amd64", "6.1.0-56-amd64", "by anna", "12 May 2026, 06:53 UTC", "booted</dt><dd>as intended", // verdict
		`<p class="sentence"><a href="#program-rejected-`, "more critical finding", "workloads held", "What to do", "<code>lastgood accept current</code>",
		"tail_nodeport_nat_egress_ipv4 is refused", "accepted</span> <span aria-hidden=\"true\">→</span>", "Its agent will not start", "stay on the last good one", // findings
		"processed 1000001 insns (limit 1000000)", "86 % of the growth is in ipv4_policy", "snat_v4_nat", "reset high-speed USB device", // evidence
		"861,223 of 1,000,000 insns", "was 440,312", "86 %</span>", // headroom
		"merge_branches</title>", "6.1.0-51-amd64: 633,020 insns", "1 program rejected", // kernels
		"slower 480 Mb/s (was 5 Gb/s)", "renamed (was sda)", "Logitech Keyboard", "<span class=\"name\">usb 1-5</span>", // inventory
		"85.8 °C, above its limit", "sampled by lastgood watch, last on 21 May 2026, 09:30 UTC", "limit 85 °C", "under the last good kernel mostly", // temperatures
		"rolled back", "fell back", "not judged", "Boots in order of time, by kernel", // boots
		"Loops are walked once per turn again", "6.12.57&#43;deb12-amd64", "unattended-upgrade", "the controller passes no commands on", // since, gaps
	} {
		if !strings.Contains(html, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	first, second := strings.Index(html, `class="critical"`), strings.Index(html, `class="warning"`)
	if first < 0 || second < first {
		t.Errorf("the first critical finding stands at %d, the first warning at %d", first, second)
	}
	if len(html) > 150_000 {
		t.Errorf("the page has %d bytes", len(html))
	}
}

// TestWellFormed reads every page as XML would be: each element is closed, each attribute
// quoted, each id there once, and each link within a page leads somewhere.
func TestWellFormed(t *testing.T) {
	for _, host := range []struct {
		name  string
		write func(string) error
	}{{"regressed", pagetest.Regressed}, {"hostile", pagetest.Hostile}, {"sized", sized(300, 90)}} {
		in := read(t, host.write)
		site := make1(t, in)
		all := map[string]string{}
		for _, path := range site.Paths() {
			all[path] = text(t, site, path)
		}
		file, err := page.File(in, page.Notice{Stale: true, OtherBoot: true, Faults: []string{pagetest.Markup}})
		if err != nil {
			t.Fatal(err)
		}
		all["file"] = string(file)
		for path, html := range all {
			t.Run(host.name+path, func(t *testing.T) { wellFormed(t, html, path == "file") })
		}
		for path, html := range all {
			for _, m := range regexp.MustCompile(`href="(/[^"#?]*)(#[^"]*)?`).FindAllStringSubmatch(html, -1) {
				served := strings.HasPrefix(m[1], "/api/") || strings.HasPrefix(m[1], "/-/") || slices.Contains([]string{"/metrics", "/diff", page.StylePath}, m[1])
				target, ok := all[m[1]]
				if !served && (!ok || m[2] != "" && !strings.Contains(target, `id="`+m[2][1:]+`"`)) {
					t.Errorf("%s: the link %s%s leads nowhere", path, m[1], m[2])
				}
			}
		}
	}
}

var void = []string{"meta", "link", "br", "img", "input", "hr"}

func wellFormed(t *testing.T, html string, single bool) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(html))
	d.Strict, d.Entity, d.AutoClose = true, xml.HTMLEntity, void
	ids, links := map[string]int{}, []string{}
	for {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v\n… %.200s", err, html[max(0, int(d.InputOffset())-150):])
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if slices.Contains([]string{"script", "iframe", "object", "embed", "img", "base"}, el.Name.Local) {
			t.Errorf("there is an element %s", el.Name.Local)
		}
		for _, a := range el.Attr {
			switch name := strings.ToLower(a.Name.Local); {
			case name == "id":
				ids[a.Value]++
			case name == "style" || strings.HasPrefix(name, "on"):
				t.Errorf("%s has the attribute %s", el.Name.Local, name)
			case name == "href" && strings.HasPrefix(a.Value, "#"):
				links = append(links, a.Value[1:])
			case name == "href" || name == "src" || name == "action":
				outside := !strings.HasPrefix(a.Value, "/") && !strings.HasPrefix(a.Value, "data:image/svg+xml,") || strings.HasPrefix(a.Value, "//")
				if outside || single && strings.HasPrefix(a.Value, "/") {
					t.Errorf("%s leads to %.60q", el.Name.Local, a.Value)
				}
			}
		}
	}
	for id, n := range ids {
		if n > 1 || !regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*$`).MatchString(id) {
			t.Errorf("id %q stands %d times", id, n)
		}
	}
	for _, l := range links {
		if ids[l] == 0 {
			t.Errorf("the link #%s leads nowhere", l)
		}
	}
	if n := strings.Count(html, "<h1"); n != 1 {
		t.Errorf("there are %d headings of the first level", n)
	}
}

// TestHostile looks for the markup itself, unescaped, wherever it may stand.
func TestHostile(t *testing.T) {
	in := read(t, pagetest.Hostile)
	site := make1(t, in)
	diff, err := site.Diff(page.DiffQuery{From: "last-good", To: "current"}, in.Base, in.Snapshot, in.Report)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"diff": string(diff), "problem": string(site.Problem(pagetest.Markup, pagetest.Markup))}
	for _, path := range site.Paths() {
		all[path] = text(t, site, path)
	}
	for path, html := range all {
		for _, bad := range []string{"<script", "<img", `href="javascript`, "alert(1)</script>", "--><", "ZgotmplZ"} {
			if strings.Contains(html, bad) {
				t.Errorf("%s holds %q", path, bad)
			}
		}
		if !strings.Contains(html, "&lt;script&gt;") && path != "/temperatures" {
			t.Errorf("%s does not show the names of this host", path)
		}
	}
}

// TestBounds holds every page to its size, whatever the host has.
func TestBounds(t *testing.T) {
	for _, size := range [][2]int{{0, 0}, {1000, 300}, {40_000, 10_000}} {
		if testing.Short() && size[0] > 1000 {
			continue
		}
		in := read(t, sized(size[0], size[1]))
		site := make1(t, in)
		total := 0
		for _, path := range site.Paths() {
			n := len(text(t, site, path))
			total += n
			if n > 150_000 {
				t.Errorf("%v: %s has %d bytes", size, path, n)
			}
		}
		if total > 8<<20 {
			t.Errorf("%v: all pages have %d bytes", size, total)
		}
		diff, err := site.Diff(page.DiffQuery{From: "last-good", To: "current"}, in.Base, in.Snapshot, in.Report)
		if err != nil || len(diff) > 150_000 {
			t.Errorf("%v: the comparison has %d bytes, %v", size, len(diff), err)
		}
		if file, err := page.File(in, page.Notice{}); err != nil || len(file) > 2<<20 { // all of it in one, to be sent to somebody
			t.Errorf("%v: the file has %d bytes, %v", size, len(file), err)
		}
		if size[0] == 1000 && !strings.Contains(text(t, site, "/programs/9"), `aria-current="page"`) {
			t.Error("1,000 programs do not go on at further pages")
		}
	}
}

// TestAnchorsAreStable makes the pages twice, of the same findings in another order.
func TestAnchorsAreStable(t *testing.T) {
	in := read(t, pagetest.Regressed)
	ids := func(in page.Input) []string {
		m := regexp.MustCompile(`<li id="([a-z0-9-]+)" class="(critical|warning|info)"`).FindAllStringSubmatch(text(t, make1(t, in), "/findings"), -1)
		var out []string
		for _, id := range m {
			out = append(out, id[1])
		}
		slices.Sort(out)
		return out
	}
	before := ids(in)
	slices.Reverse(in.Report.Findings)
	if after := ids(in); !slices.Equal(before, after) || len(before) < 20 {
		t.Errorf("anchors %q became %q", before, after)
	}
	if !slices.ContainsFunc(before, func(id string) bool { return strings.HasPrefix(id, "program-rejected-") }) {
		t.Errorf("no anchor says the finding's code: %q", before)
	}
}

// TestVerdicts shows each verdict in words, with a sign and a tab icon of its own.
func TestVerdicts(t *testing.T) {
	icons := map[string]bool{}
	for verdict, want := range map[snapshot.Verdict]string{
		snapshot.Good: "As good as the last good boot", snapshot.Learned: "First boot", snapshot.Regressed: "Worse than", snapshot.Incomplete: "Not everything could be measured",
		snapshot.Invalid: "Not the boot that was meant", "": "No verdict", "odd": "No verdict",
	} {
		html := text(t, make1(t, page.Input{Report: &report.Report{Verdict: verdict, Summary: "s"}}), "/")
		if !strings.Contains(html, want) {
			t.Errorf("%s: %q is not on the page", verdict, want)
		}
		icons[regexp.MustCompile(`rel="icon" href="([^"]*)"`).FindStringSubmatch(html)[1]] = true
	}
	if len(icons) != 3 {
		t.Errorf("%d icons for good, bad and could not tell", len(icons))
	}
	if html := text(t, make1(t, page.Input{}), "/"); !strings.Contains(html, "was not checked yet") || strings.Contains(html, "..") {
		t.Error("an empty folder is not said to be one")
	}
}

func TestNotice(t *testing.T) {
	p, _ := make1(t, page.Input{}).Page("/")
	html := string(p.With(page.Notice{Stale: true, OtherBoot: true, Faults: []string{"<b>disk</b>"}}))
	for _, want := range []string{"This is an earlier result", "was not checked", "&lt;b&gt;disk"} {
		if !strings.Contains(html, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(string(p.With(page.Notice{})), "class=\"notice\"") {
		t.Error("a notice of nothing")
	}
}

func TestReadNothing(t *testing.T) {
	if _, _, err := page.Read(t.TempDir(), "", page.Given{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read of an empty folder: %v", err)
	}
}

// TestFile is one file that needs nothing beside it.
func TestFile(t *testing.T) {
	in := read(t, pagetest.Regressed)
	b, err := page.File(in, page.Notice{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<style>:root", "style-src &#39;sha256-", "cgroup_skb_ingress", "subprogram_chain", `href="#findings"`, "acpitz"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%q is not in the file", want)
		}
	}
	if !bytes.Contains(b, page.Style) {
		t.Error("the sheet in the file is not the one that its policy names")
	}
}

func BenchmarkPage(b *testing.B) {
	in := read(b, sized(1000, 300))
	var site *page.Site
	for b.Loop() {
		site = make1(b, in)
	}
	total := 0
	for _, p := range site.Paths() {
		total += len(text(b, site, p))
	}
	b.ReportMetric(float64(len(text(b, site, "/"))), "overview-bytes")
	b.ReportMetric(float64(total)/float64(len(site.Paths())), "bytes/page")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/float64(len(site.Paths())), "ms/page")
}

func BenchmarkFile(b *testing.B) {
	in := read(b, sized(1000, 300))
	for b.Loop() {
		if _, err := page.File(in, page.Notice{}); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleDiffQuery_URL() {
	fmt.Println(page.DiffQuery{From: "last-good", To: "6.1.0-56-amd64", Kind: "hw.disk"}.URL())
	// Output: /diff?from=last-good&kind=hw.disk&to=6.1.0-56-amd64
}
