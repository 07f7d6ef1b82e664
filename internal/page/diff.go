package page

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// DiffPath is where two boots are compared.
const DiffPath = "/diff"

// DiffQuery asks for two snapshots side by side.
type DiffQuery struct {
	From, To string // words of the store for a snapshot
	Kind     string // only this kind, "" for all
	Page     int    // from 0
}

// Empty reports whether no snapshot is asked for: the page is the form alone.
func (q DiffQuery) Empty() bool { return q.From == "" && q.To == "" }

// URL is the address of the page that q asks for.
func (q DiffQuery) URL() string {
	v := url.Values{"from": {q.From}, "to": {q.To}}
	if q.Kind != "" {
		v.Set("kind", q.Kind)
	}
	if q.Page > 0 {
		v.Set("page", strconv.Itoa(q.Page+1))
	}
	return DiffPath + "?" + v.Encode()
}

// mostWord bounds a word for a snapshot or a kind, in bytes.
const mostWord = 128

// ParseDiff reads a query: from and to together or neither, kind and page if they are
// wanted, each once. What it returns holds no sign that is not of a name.
func ParseDiff(raw string) (DiffQuery, error) {
	var q DiffQuery
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("read query: %w", err)
	}
	for name, v := range values {
		if len(v) != 1 || len(v[0]) > mostWord {
			return DiffQuery{}, fmt.Errorf("read query: %.20q is there twice, or is too long", name)
		}
		switch name {
		case "from":
			q.From = v[0]
		case "to":
			q.To = v[0]
		case "kind":
			q.Kind = v[0]
		case "page":
			n, err := strconv.Atoi(v[0])
			if err != nil || n < 1 || n > mostDiffPages {
				return DiffQuery{}, fmt.Errorf("read query: there is no page %.20q", v[0])
			}
			q.Page = n - 1
		default:
			return DiffQuery{}, fmt.Errorf("read query: %.20q is not known", name)
		}
	}
	for _, word := range []string{q.From, q.To, q.Kind} {
		if !name(word) {
			return DiffQuery{}, fmt.Errorf("read query: %.40q is no name", word)
		}
	}
	if (q.From == "") != (q.To == "") {
		return DiffQuery{}, fmt.Errorf("read query: it names one boot and not the other")
	}
	return q, nil
}

// name reports whether a text can be a boot id, a kernel release, a kind or nothing.
func name(s string) bool {
	if strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-_.+~", r)
	})
}

// option is a boot that may be picked.
type option struct{ Value, Text string }

const mostOptions = 64

func optionsOf(in *Input) []option {
	var out []option
	for i := range in.Boots {
		b := &in.Boots[i]
		if b.Err != nil || len(out) == mostOptions {
			continue
		}
		text := orUnknown(b.Release)
		if when := at(b.Taken); when.ISO != "" {
			text += ", " + when.Text
		}
		if b.Result != nil {
			text += ", " + string(b.Result.Verdict)
		}
		if b.LastGood {
			text += ", last good"
		}
		out = append(out, option{b.BootID, clean(text)})
	}
	if in.Base != nil {
		out = append([]option{{baseline.LastGood, clean("the last good boot: " + in.Base.Identity.Kernel.Release)}}, out...)
	}
	return out
}

// Bounds of the side-by-side view.
const (
	perDiff       = 200
	mostDiffPages = 500
	mostChips     = 60
)

// diffView is two snapshots side by side, without what is the same.
type diffView struct {
	Title, Lead      string
	FromName, ToName string
	Verdict, Counts  string
	API              string
	Identity         []change
	Kind             string
	Kinds            []navItem
	Rows             []diffRow
	Pager            []navItem
}

// diffRow is one difference. Span is how many rows are of the subject that is named in the
// first of them, 0 in the others.
type diffRow struct {
	Name, ID, What, Old, New string
	Span                     int
}

// Form is the page with the form alone.
func (s *Site) Form() ([]byte, error) {
	q := DiffQuery{From: baseline.LastGood}
	for _, o := range s.options {
		if o.Value != baseline.LastGood {
			q.To = o.Value
			break
		}
	}
	return s.diffPage(q, nil)
}

// Diff is the page of two snapshots side by side; rep is one judged against the other.
func (s *Site) Diff(q DiffQuery, from, to *snapshot.Snapshot, rep *report.Report) ([]byte, error) {
	v := diffOf(q, from, to, rep, s.kinds)
	q.From, q.To = s.picked(q.From, from), s.picked(q.To, to)
	return s.diffPage(q, v)
}

// picked is the option that stands for a snapshot: its boot, where it was asked for by another word.
func (s *Site) picked(word string, of *snapshot.Snapshot) string {
	for _, w := range []string{word, of.Identity.BootID} {
		if slices.ContainsFunc(s.options, func(o option) bool { return o.Value == w }) {
			return w
		}
	}
	return word
}

func (s *Site) diffPage(q DiffQuery, v *diffView) ([]byte, error) {
	f := s.frame
	f.here, f.Title = DiffPath, clean(strings.TrimPrefix(f.Host+": Compare · lastgood", ": "))
	c := &content{frame: &f, Options: slices.Clone(s.options), Query: q, Diff: v}
	for _, word := range []string{q.From, q.To} { // a release, say, or a boot that went away
		if word != "" && !slices.ContainsFunc(c.Options, func(o option) bool { return o.Value == word }) {
			c.Options = append(c.Options, option{word, word})
		}
	}
	p, err := render("diffpage", c)
	return p.With(Notice{}), err
}

func diffOf(q DiffQuery, from, to *snapshot.Snapshot, rep *report.Report, kinds snapshot.Kinds) *diffView {
	v := &diffView{Title: sideName(from) + " and " + sideName(to), FromName: orUnknown(from.Identity.Kernel.Release), ToName: orUnknown(to.Identity.Kernel.Release),
		Verdict: clean(string(rep.Verdict)), API: "/api/v1/diff?" + url.Values{"from": {q.From}, "to": {q.To}}.Encode(), Kind: clean(q.Kind)}
	if v.FromName == v.ToName {
		v.FromName, v.ToName = v.FromName+" (from)", v.ToName+" (to)"
	}
	var tally []string
	for _, c := range counts(rep) {
		tally = append(tally, c.Text)
	}
	v.Counts = strings.Join(tally, ", ")
	for _, c := range from.Identity.Changes(&to.Identity) {
		v.Identity = append(v.Identity, change{strings.ReplaceAll(c.Fact, "_", " "), report.Flat(c.Old, longText), report.Flat(c.New, longText)})
	}
	old := compare.Align(from, to, kinds)
	deltas := compare.Diff(from, to, kinds)
	v.chips(q, deltas)
	if q.Kind != "" {
		deltas = slices.DeleteFunc(slices.Clone(deltas), func(d snapshot.Delta) bool { return d.Key.Kind != q.Kind })
	}
	pages := min((len(deltas)+perDiff-1)/perDiff, mostDiffPages)
	here := min(q.Page, max(pages-1, 0))
	v.rows(deltas[here*perDiff:min((here+1)*perDiff, len(deltas))], old, to, kinds)
	for n := range min(pages, mostPages) {
		p := q
		p.Page = n
		v.Pager = append(v.Pager, navItem{Name: strconv.Itoa(n + 1), URL: p.URL(), Here: n == here})
	}
	return v
}

func sideName(s *snapshot.Snapshot) string {
	text := orUnknown(s.Identity.Kernel.Release)
	if id := start(s.Identity.BootID, 8); id != "" {
		text += " (boot " + id + ")"
	}
	return text
}

// chips are the kinds that differ, with how many differences each has.
func (v *diffView) chips(q DiffQuery, deltas []snapshot.Delta) {
	n := map[string]int{}
	var kinds []string
	for _, d := range deltas {
		if n[d.Key.Kind]++; n[d.Key.Kind] == 1 {
			kinds = append(kinds, d.Key.Kind)
		}
	}
	v.Lead = plural(len(deltas), "difference", "differences") + " in " + plural(len(kinds), "kind", "kinds") + "."
	if len(kinds) < 2 && q.Kind == "" {
		return
	}
	v.Kinds = append(v.Kinds, navItem{Name: fmt.Sprintf("all %s", count(float64(len(deltas)))), URL: DiffQuery{From: q.From, To: q.To}.URL(), Here: q.Kind == ""})
	slices.SortStableFunc(kinds, func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	for _, k := range kinds[:min(len(kinds), mostChips)] {
		if name(k) && len(k) <= mostWord {
			v.Kinds = append(v.Kinds, navItem{Name: clean(k) + " " + count(float64(n[k])), URL: DiffQuery{From: q.From, To: q.To, Kind: k}.URL(), Here: q.Kind == k})
		}
	}
}

// changeWords say what became of a subject.
var changeWords = map[snapshot.Change]string{
	snapshot.Added: "new", snapshot.Removed: "gone", snapshot.Lost: "could not be told any more", snapshot.Regained: "could be told again",
}

func (v *diffView) rows(deltas []snapshot.Delta, old, to *snapshot.Snapshot, kinds snapshot.Kinds) {
	var last snapshot.Key
	head := 0
	for _, d := range deltas {
		row := diffRow{What: clean(report.FactName(d.Attr)), Old: valueText(kinds, d.Key.Kind, d.Attr, d.Old), New: valueText(kinds, d.Key.Kind, d.Attr, d.New)}
		if d.Attr == "" {
			row.What = changeWords[d.Change]
		} else if d.Change == snapshot.Lost {
			row.New = "could not be read"
		}
		if d.Key != last {
			row.Name, row.ID = clean(d.Key.ID), clean(d.Key.Kind)
			if s := cmp.Or(to.Subject(d.Key), old.Subject(d.Key)); s != nil && clean(s.Name()) != row.Name {
				row.Name, row.ID = clean(s.Name()), clean(d.Key.String())
			}
			last, head = d.Key, len(v.Rows)
		}
		v.Rows = append(v.Rows, row)
		v.Rows[head].Span++
	}
}
