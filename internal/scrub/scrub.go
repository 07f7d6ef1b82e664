// Package scrub takes out of a recorded host what names it: serial numbers, hardware
// addresses, UUIDs, world-wide names, host names, IP addresses and secrets.
//
// It works in two passes. The first finds identifiers: by the meaning of the file that they
// stand in (find.go), and by their shape wherever a text holds them (shape.go). The second
// puts another of the same shape and length in the place of each, everywhere: in contents, paths,
// links' targets and errors' paths, in every form that kernel and udev write it in. Equal
// stays equal, and the makers' parts of addresses stay as they are.
//
// What takes a value's place follows from the value and a key. With a key that belongs to
// the host two recordings of it, before and after a reboot, can be compared.
package scrub

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// Class is a kind of identifier.
type Class string

// The classes, as a report calls them.
const (
	Serial  Class = "serial numbers"
	MAC     Class = "hardware addresses"
	UUID    Class = "UUIDs and machine ids"
	WWN     Class = "world-wide names"
	Host    Class = "host names"
	IP      Class = "IP addresses"
	Network Class = "names of wireless networks"
	Secret  Class = "secrets"
)

// Options say how to scrub.
type Options struct {
	// Key decides what takes a value's place. Keep it secret, or make it anew each time.
	Key []byte
	// Junk reports whether a serial number is one that nobody set. It tells nothing of
	// the host, and a reader knows it by how it looks: it stays.
	Junk func(string) bool
}

// Report says what was done.
type Report struct {
	Classes []Count  // what was replaced, in the order of the classes' names
	Left    []string // files that were left out, for nobody knows what they hold
}

// Count is how many different identifiers of a class were replaced, in how many places.
type Count struct {
	Class             Class
	Different, Places int
}

// Scrub changes a recording in place. An error means that it must not be given away.
func Scrub(rec sysfs.Recording, o Options) (Report, error) {
	s := &scrubber{o: o, known: map[string]*identifier{}, keep: map[string]bool{}, places: map[string]bool{}}
	var report Report
	for _, p := range rec.Paths() {
		if e := rec[p]; len(e.Data) > 0 && !s.reduce(p, e) {
			*e = sysfs.Entry{Errno: unix.ENODATA}
			report.Left = append(report.Left, p)
		}
	}
	for p := range rec {
		for e := range strings.SplitSeq(p, "/") {
			s.places[e] = true
		}
	}
	for _, p := range rec.Paths() {
		s.find(p, rec[p])
	}
	s.compile()
	if err := s.replace(rec); err != nil {
		return report, err
	}
	counts := s.counts()
	for _, class := range slices.Sorted(maps.Keys(counts)) {
		report.Classes = append(report.Classes, counts[class])
	}
	if s.secrets > 0 {
		report.Classes = append(report.Classes, Count{Secret, s.secrets, s.secrets})
	}
	return report, s.check(rec)
}

// identifier is one that was found.
type identifier struct {
	class Class
	value string
	fake  string
	where reach
	hits  int
}

// reach says where a text that looks like an identifier is one.
type reach int

const (
	anywhere  reach = iota
	asWord          // where neither a letter nor a digit stands beside it
	inContext       // where it is all that there is, or stands behind a word that says so
)

type scrubber struct {
	o     Options
	known map[string]*identifier // by class and value
	keep  map[string]bool        // what has the shape of an identifier and is none
	// places are the names that the kernel has for devices: a root hub gives as its serial
	// number the PCI address of its controller.
	places map[string]bool
	forms  table
	// secrets is how many were taken out.
	secrets int
}

// add enters an identifier.
func (s *scrubber) add(class Class, value string, where reach) {
	key := string(class) + "\x00" + value
	if value == "" || s.known[key] != nil || s.keep[value] {
		return
	}
	if fake := s.fake(class, value); fake != value {
		s.known[key] = &identifier{class: class, value: value, fake: fake, where: where}
	}
}

// compile lists every form of every identifier.
func (s *scrubber) compile() {
	s.forms = table{}
	for _, key := range slices.Sorted(maps.Keys(s.known)) {
		id := s.known[key]
		if s.keep[id.value] {
			delete(s.known, key)
			continue
		}
		for _, f := range formsOf(id) {
			s.forms.add(f)
		}
	}
	s.forms.sort()
}

// replace puts other identifiers in place of all forms. Two paths that become one are an error.
func (s *scrubber) replace(rec sysfs.Recording) error {
	for _, p := range rec.Paths() {
		e := rec[p]
		e.Data = s.forms.apply(e.Data)
		e.Link = string(s.forms.apply([]byte(e.Link)))
		to := string(s.forms.apply([]byte(p)))
		if to == p {
			continue
		}
		if rec[to] != nil {
			return fmt.Errorf("scrub %s: two paths would become one", to)
		}
		delete(rec, p)
		rec[to] = e
	}
	return nil
}

// check looks for what must not be there any more, by plain search and not by the table.
func (s *scrubber) check(rec sysfs.Recording) error {
	var whole bytes.Buffer
	for _, p := range rec.Paths() {
		fmt.Fprintf(&whole, "%s\n%s\n%s\n", p, rec[p].Link, rec[p].Data)
	}
	text := lowered(whole.Bytes())
	for _, id := range s.known {
		for _, f := range formsOf(id) {
			if f.where == anywhere && len(f.from) >= longEnough && bytes.Contains(text, lowered([]byte(f.from))) {
				return fmt.Errorf("scrub recording: one of the %s is still in it", id.class)
			}
		}
	}
	return nil
}

func (s *scrubber) counts() map[Class]Count {
	out := map[Class]Count{}
	for _, id := range s.known {
		if id.hits == 0 {
			continue
		}
		c := out[id.class]
		out[id.class] = Count{id.class, c.Different + 1, c.Places + id.hits}
	}
	return out
}

// form is one way of writing an identifier; from is in small letters.
type form struct {
	from, to string
	where    reach
	id       *identifier
}

// table finds forms in a text, in small letters or capitals: by their first three bytes,
// longest first.
type table map[[3]byte][]form

func (t table) add(f form) {
	f.from = string(lowered([]byte(f.from)))
	if len(f.from) < 3 || f.from == f.to {
		return
	}
	k := [3]byte{f.from[0], f.from[1], f.from[2]}
	if !slices.ContainsFunc(t[k], func(o form) bool { return o.from == f.from }) {
		t[k] = append(t[k], f)
	}
}

func (t table) sort() {
	for _, fs := range t {
		slices.SortStableFunc(fs, func(a, b form) int { return cmp.Compare(len(b.from), len(a.from)) })
	}
}

// apply gives text with every form replaced by its other, at each place the longest.
func (t table) apply(text []byte) []byte {
	var out []byte
	done, low := 0, lowered(text)
	for i := 0; i+3 <= len(text); i++ {
		for _, f := range t[[3]byte{low[i], low[i+1], low[i+2]}] {
			if !bytes.HasPrefix(low[i:], []byte(f.from)) || !f.fits(low, i) {
				continue
			}
			out = append(out, text[done:i]...)
			done = i + len(f.from)
			out = append(out, inCase(f.to, text[i:done])...)
			f.id.hits++
			i = done - 1
			break
		}
	}
	if done == 0 {
		return text
	}
	return append(out, text[done:]...)
}

// lowered is a text with the letters A to Z made small; it stays as long as it is.
func lowered(text []byte) []byte {
	out := bytes.Clone(text)
	for i, b := range out {
		if b >= 'A' && b <= 'Z' {
			out[i] = b + 'a' - 'A'
		}
	}
	return out
}

// inCase writes s in capitals or small letters where like is in these alone.
func inCase(s string, like []byte) string {
	small := bytes.ContainsAny(like, "abcdefghijklmnopqrstuvwxyz")
	capital := bytes.ContainsAny(like, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	switch {
	case capital && !small:
		return strings.ToUpper(s)
	case small && !capital:
		return strings.ToLower(s)
	}
	return s
}

func (f *form) fits(text []byte, at int) bool {
	if f.where == anywhere {
		return true
	}
	end := at + len(f.from)
	if at > 0 && alnum(text[at-1]) || end < len(text) && alnum(text[end]) {
		return false
	}
	return f.where == asWord || inItsContext(text, at, end)
}

func alnum(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// inItsContext reports whether a short text is all that its line holds, or stands behind
// "serial", "SerialNumber:" or the like, or behind the "_" of a name under by-id.
func inItsContext(text []byte, at, end int) bool {
	line := bytes.LastIndexByte(text[:at], '\n') + 1
	before, after := text[line:at], text[end:]
	after, _, _ = bytes.Cut(after, []byte("\n"))
	if len(bytes.Trim(before, " \t\x00")) == 0 && len(bytes.Trim(after, " \t\r\x00")) == 0 {
		return true
	}
	if at > line && before[len(before)-1] == '_' {
		return true
	}
	near := lowered(before[max(0, len(before)-contextBytes):])
	return bytes.Contains(near, []byte("serial")) || bytes.Contains(near, []byte("hostname"))
}

// contextBytes is how far before a text a word that says what it is may stand.
const contextBytes = 24
