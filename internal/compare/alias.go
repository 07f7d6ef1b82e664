package compare

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// align gives subjects of old the IDs that new knows them by, where the kind has
// aliases and they say that it is the same thing: one kernel reads a disk's WWID, the
// next does not, and neither is the disk lost nor another come. It returns old itself
// where there is none, and else a sorted copy.
func align(old, new *snapshot.Snapshot, kinds snapshot.Kinds) *snapshot.Snapshot {
	others := map[int]string{} // place in old → the ID that new has for it
	for _, name := range aliased(kinds) {
		a, from := ofKind(old.Subjects, name)
		b, _ := ofKind(new.Subjects, name)
		for i, j := range matchAliases(a, b, kinds[name]) {
			others[from+i] = b[j].ID
		}
	}
	if len(others) == 0 {
		return old
	}
	out := *old
	out.Subjects = slices.Clone(old.Subjects)
	moved := make(map[string]string, len(others))
	for i, id := range others {
		s := &out.Subjects[i]
		was := s.Key().String()
		s.ID = id
		moved[was] = s.Key().String()
	}
	for i := range out.Subjects {
		if s := &out.Subjects[i]; s.Parent != "" {
			s.Parent = cmp.Or(moved[s.Parent], s.Parent)
		}
	}
	rename(out.Subjects, moved, kinds)
	if out.Sort() != nil { // two would be one: better two that differ than one lost
		return old
	}
	return &out
}

// rename gives what refers to subjects that have other IDs now those IDs.
func rename(subjects []snapshot.Subject, moved map[string]string, kinds snapshot.Kinds) {
	for i := range subjects {
		s := &subjects[i]
		k := kinds[s.Kind]
		if k == nil {
			continue
		}
		for _, a := range k.Attrs {
			if v := s.Attrs[a.Name]; a.Ref && !v.IsZero() {
				if now := renamed(v, moved); !now.Equal(v) {
					s.Attrs = maps.Clone(s.Attrs)
					s.Attrs[a.Name] = now
				}
			}
		}
	}
}

func renamed(v snapshot.Value, moved map[string]string) snapshot.Value {
	if key, ok := v.Text(); ok {
		return snapshot.Text(cmp.Or(moved[key], key))
	}
	items, ok := v.Items()
	if !ok {
		return v
	}
	items = slices.Clone(items)
	for i, key := range items {
		items[i] = cmp.Or(moved[key], key)
	}
	return snapshot.List(items...)
}

func aliased(kinds snapshot.Kinds) []string {
	var out []string
	for name, k := range kinds {
		if k.AliasAttr != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// ofKind is the part of sorted subjects that is of a kind, and where it begins.
func ofKind(sorted []snapshot.Subject, kind string) ([]snapshot.Subject, int) {
	from, _ := slices.BinarySearchFunc(sorted, kind, func(s snapshot.Subject, k string) int { return strings.Compare(s.Kind, k) })
	to := from
	for to < len(sorted) && sorted[to].Kind == kind {
		to++
	}
	return sorted[from:to], from
}

// matcher joins the subjects of one kind that stand on one side only.
type matcher struct {
	weakSchemes []string
	sides       [2]side // old, new
	known       map[string]int32
	borne       []bearers
}

// side is the subjects of one kind in one snapshot.
type side struct {
	subjects []snapshot.Subject
	alone    []bool    // whether the other side has none of its ID
	aliases  [][]int32 // each subject's, as places in borne
}

// bearers says which subject bears an alias on either side, nobody or shared.
type bearers struct {
	by     [2]int32
	scheme string
	weak   bool
}

const (
	nobody = -1
	shared = -2
)

// maxAliases bounds how many aliases of a subject are looked at; a disk has four or so.
const maxAliases = 16

// matchAliases finds the pairs among a and b, as places in them.
func matchAliases(a, b []snapshot.Subject, kind *snapshot.Kind) map[int]int {
	oldAlone, newAlone := alone(a, b)
	if !slices.Contains(oldAlone, true) || !slices.Contains(newAlone, true) {
		return nil // the common case: nothing is missing, or nothing new
	}
	m := matcher{weakSchemes: kind.WeakAliases, known: make(map[string]int32, 4*max(len(a), len(b)))}
	m.sides = [2]side{{subjects: a, alone: oldAlone}, {subjects: b, alone: newAlone}}
	for n := range m.sides {
		m.index(n, kind.AliasAttr)
	}
	pairs, taken := map[int]int{}, make([]bool, len(b))
	for _, weak := range []bool{false, true} {
		m.round(weak, taken, pairs)
	}
	return pairs
}

// alone tells, for two sorted lists, which subjects have no like on the other side.
func alone(a, b []snapshot.Subject) (oldAlone, newAlone []bool) {
	oldAlone, newAlone = make([]bool, len(a)), make([]bool, len(b))
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch order(a[i:], b[j:]) {
		case -1:
			oldAlone[i] = true
			i++
		case +1:
			newAlone[j] = true
			j++
		default:
			i, j = i+1, j+1
		}
	}
	return oldAlone, newAlone
}

// index enters all aliases of a side, those of subjects that are not alone as well:
// what two bear tells none of them.
func (m *matcher) index(n int, attr string) {
	s := &m.sides[n]
	s.aliases = make([][]int32, len(s.subjects))
	room := make([]int32, 0, 4*len(s.subjects))
	for i := range s.subjects {
		all, _ := s.subjects[i].Attrs[attr].Items()
		begin := len(room)
		for _, a := range all[:min(len(all), maxAliases)] {
			at, known := m.known[a]
			if !known {
				scheme, value, found := strings.Cut(a, ":")
				if !found || scheme == "" || value == "" {
					continue
				}
				at = int32(len(m.borne))
				m.known[a] = at
				m.borne = append(m.borne, bearers{by: [2]int32{nobody, nobody}, scheme: scheme, weak: slices.Contains(m.weakSchemes, scheme)})
			}
			by := &m.borne[at].by[n]
			switch *by {
			case nobody:
				*by = int32(i)
			default:
				*by = shared
			}
			room = append(room, at)
		}
		s.aliases[i] = room[begin:len(room):len(room)]
	}
}

// none and several are what candidate answers where there is not exactly one.
const (
	none    = -1
	several = -2
)

// round joins each old subject that is alone to the new one that its aliases lead to,
// where they lead to exactly one and that one's lead back.
func (m *matcher) round(weak bool, taken []bool, pairs map[int]int) {
	for i, alone := range m.sides[0].alone {
		if _, done := pairs[i]; !alone || done {
			continue
		}
		j := m.candidate(0, i, weak)
		if j < 0 || taken[j] || m.candidate(1, j, weak) != i {
			continue
		}
		pairs[i], taken[j] = j, true
	}
}

// candidate is the subject of the other side that subject i of side n shares aliases
// with, which nobody else bears.
func (m *matcher) candidate(n, i int, weak bool) int {
	found := none
	other := &m.sides[1-n]
	for _, at := range m.sides[n].aliases[i] {
		b := &m.borne[at]
		j := int(b.by[1-n])
		if b.weak != weak || j < 0 || b.by[n] < 0 || !other.alone[j] || j == found {
			continue
		}
		if weak && m.contradict(m.sides[n].aliases[i], other.aliases[j]) {
			continue
		}
		if found != none {
			return several
		}
		found = j
	}
	return found
}

// contradict reports whether two subjects differ in what a strong scheme says of both.
func (m *matcher) contradict(a, b []int32) bool {
	for _, x := range a {
		s := m.borne[x].scheme
		if m.borne[x].weak || slices.ContainsFunc(a, func(o int32) bool { return m.borne[o].scheme == s && slices.Contains(b, o) }) {
			continue
		}
		if slices.ContainsFunc(b, func(y int32) bool { return m.borne[y].scheme == s }) {
			return true
		}
	}
	return false
}
