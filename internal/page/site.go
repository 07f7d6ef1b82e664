package page

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// Bounds of the first page: it is at most 150 kB whatever the host has.
const (
	mostFirst       = 10     // findings with their evidence
	evidenceRoom    = 30_000 // runes of evidence
	mostCodes       = 12     // codes of remarks
	firstWorkloads  = 12
	firstBuiltin    = 6
	seriesWorkloads = 6
	seriesFamilies  = 6
	firstSensors    = 6
	firstBoots      = 12
)

// Bounds of the pages behind it. A list that is longer goes on at the next page, and
// past the last page it is cut and says so.
const (
	perFindings  = 30
	perPrograms  = 100
	mostPages    = 20
	allSensors   = 60
	allBoots     = 64
	mostNodes    = 400
	moreWorkload = 18
	moreFamilies = 18
)

// Site is all pages of one state of the folder. It is not changed.
type Site struct {
	pages   map[string]Page
	frame   frame
	options []option
	kinds   snapshot.Kinds
}

// Page is the page at a path, false where there is none.
func (s *Site) Page(path string) (Page, bool) {
	if s == nil {
		return Page{}, false
	}
	p, ok := s.pages[path]
	return p, ok
}

// Paths are those that have a page, in no order.
func (s *Site) Paths() []string {
	var out []string
	for p := range s.pages {
		out = append(out, p)
	}
	return out
}

// maker makes the pages of one Input.
type maker struct {
	in      *Input
	site    *Site
	base    *snapshot.Snapshot
	nodes   []*report.Node
	bars    barsView
	where   map[string]string // a finding's anchor → its page
	single  bool
	problem error
}

// Make makes all pages.
func Make(in Input) (*Site, error) {
	m := newMaker(&in, false)
	m.site = &Site{pages: map[string]Page{}, frame: m.frame("", ""), options: optionsOf(&in), kinds: in.Kinds}
	m.add("/", "overview", m.overview())
	m.findingPages()
	m.programPages()
	c := m.content("/inventory", "Inventory")
	c.Tree = inventory(&in, m.nodes, mostNodes)
	m.add("/inventory", "inventorypage", c)
	c = m.content("/temperatures", "Temperatures")
	c.Heat = heatOfHost(&in, allSensors)
	m.add("/temperatures", "temperaturespage", c)
	c = m.content("/boots", "Boots")
	c.Boots = m.boots(allBoots)
	m.add("/boots", "bootspage", c)
	return m.site, m.problem
}

// File is one page that stands alone: it needs no server and nothing beside it.
func File(in Input, n Notice) ([]byte, error) {
	m := newMaker(&in, true)
	c := m.overview()
	p, err := render("overview", c)
	return p.With(n), err
}

func newMaker(in *Input, single bool) *maker {
	m := &maker{in: in, base: aligned(in), where: map[string]string{}, single: single}
	m.bars, m.nodes = bars(in, m.base), hardware(in, m.base)
	if in.Report != nil {
		weighty, _ := divide(in.Report.Findings)
		for i, f := range weighty {
			page := "/findings"
			if n := i / perFindings; n > 0 {
				page = "/findings/" + strconv.Itoa(n+1)
			}
			if i < m.most(mostFirst, 200) {
				page = ""
			}
			if i < perFindings*mostPages {
				m.where[findingAnchor(f)] = page
			}
		}
	}
	return m
}

// most is a bound of the first page, or that of a file, which has no second one.
func (m *maker) most(page, file int) int {
	if m.single {
		return file
	}
	return page
}

func (m *maker) frame(path, title string) frame {
	f := frame{Title: "lastgood", Host: hostName(m.in.Snapshot), Version: clean(m.in.Version), Made: at(m.in.Made), Level: "none", Single: m.single, here: path}
	if m.in.Report != nil {
		f.Level = verdictOf(m.in).Level
		f.Title = string(m.in.Report.Verdict) + " · lastgood"
	}
	if title != "" {
		f.Title = title + " · lastgood"
	}
	if f.Host != "" {
		f.Title = f.Host + ": " + f.Title
	}
	f.Title = clean(f.Title)
	return f
}

func (m *maker) content(path, title string) *content {
	f := m.frame(path, title)
	return &content{frame: &f}
}

func (m *maker) add(path, name string, c *content) {
	p, err := render(name, c)
	if err != nil && m.problem == nil {
		m.problem = err
	}
	m.site.pages[path] = p
}

func (m *maker) overview() *content {
	c := m.content("/", "")
	in := m.in
	c.Verdict, c.Since, c.Gaps = verdictOf(in), sinceOf(in.Report), gapsOf(in.Report)
	c.Meaning, c.AlsoDearer = mechanismsOf(in.Report)
	c.Candidates = candidatesOf(in.Report)
	if in.Report != nil {
		m.findings(c)
	}
	if m.bars.Total > 0 {
		c.Bars = m.bars.first(m.most(firstWorkloads, 60), firstBuiltin, m.most(0, 1000))
		m.link(c.Bars, true)
	}
	c.Series = seriesOf(in, m.most(seriesWorkloads, moreWorkload), m.most(seriesFamilies, moreFamilies))
	c.Tree = inventory(in, m.nodes, m.most(0, mostNodes))
	c.Heat = heatOfHost(in, m.most(firstSensors, allSensors))
	c.Boots = m.boots(m.most(firstBoots, allBoots))
	return c
}

func (m *maker) findings(c *content) {
	e := newEvidence(m.in, m.base, m.most(evidenceRoom, 400_000))
	weighty, info := divide(m.in.Report.Findings)
	most := m.most(mostFirst, 200)
	for _, f := range weighty[:min(len(weighty), most)] {
		c.Findings = append(c.Findings, e.finding(f))
	}
	c.Remarks, _ = e.grouped(info, m.most(mostCodes, 60), m.most(3, 50))
	c.FindingsAll, c.FindingsMore = len(weighty)+len(info), max(0, len(weighty)-most)
	if !m.single {
		c.FindingsURL = "/findings"
	}
}

// link says where the findings on programs stand.
func (m *maker) link(v *barsView, first bool) {
	for _, list := range [][]barView{v.Workload, v.Builtin, v.Rest} {
		for i := range list {
			b := &list[i]
			page, known := m.where[b.Link]
			if b.Link == "" || !known {
				continue
			}
			if page == "" && !first {
				page = "/"
			}
			b.URL = page + "#" + b.Link
		}
	}
}

func (m *maker) findingPages() {
	if m.in.Report == nil {
		m.add("/findings", "findingspage", m.content("/findings", "Findings"))
		return
	}
	weighty, info := divide(m.in.Report.Findings)
	all := append(weighty, info...)
	pages := min(max((len(all)+perFindings-1)/perFindings, 1), mostPages)
	for n := range pages {
		c := m.content("/findings", "Findings")
		e := newEvidence(m.in, m.base, 60_000)
		for _, f := range all[min(n*perFindings, len(all)):min((n+1)*perFindings, len(all))] {
			c.Findings = append(c.Findings, e.finding(f))
		}
		c.FindingsAll, c.Pager = len(all), pager("/findings", n, pages)
		m.add(pathOf("/findings", n), "findingspage", c)
	}
}

func (m *maker) programPages() {
	all := m.bars.Total
	pages := min(max((all+perPrograms-1)/perPrograms, 1), mostPages)
	for n := range pages {
		c := m.content("/programs", "Programs")
		c.Bars = m.bars.part(min(n*perPrograms, all), (n+1)*perPrograms)
		m.link(c.Bars, false)
		if n == 0 {
			c.Series = seriesOf(m.in, moreWorkload, moreFamilies)
		}
		c.Pager = pager("/programs", n, pages)
		m.add(pathOf("/programs", n), "programspage", c)
	}
}

func (m *maker) boots(most int) *bootsView {
	v := boots(m.in, most)
	if v == nil || m.single {
		return v
	}
	for i := range v.Boots {
		if b := &v.Boots[i]; b.diffFrom != "" && b.Trouble == "" {
			b.DiffURL = DiffQuery{From: b.diffFrom, To: b.bootID}.URL()
		}
	}
	return v
}

// pathOf is where the n-th page of a list is, counted from 0.
func pathOf(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "/" + strconv.Itoa(n+1)
}

func pager(path string, here, pages int) []navItem {
	var out []navItem
	for n := range pages {
		out = append(out, navItem{Name: strconv.Itoa(n + 1), URL: pathOf(path, n), Here: n == here})
	}
	return out
}

// Problem is a page that says why there is none.
func (s *Site) Problem(text, hint string) []byte {
	c := &content{frame: &frame{Title: "lastgood", Level: "none"}, Problem: text, ProblemHint: pieces(hint)}
	if s != nil {
		f := s.frame
		c.frame = &f
	}
	p, err := render("problempage", c)
	if err != nil {
		return fmt.Appendf(nil, "%s\n", template404)
	}
	return p.With(Notice{})
}

// template404 stands where not even the page of a problem could be made.
const template404 = "<!DOCTYPE html><title>lastgood</title><p>this page could not be made</p>"

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
