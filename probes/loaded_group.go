package probes

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"lastgood/internal/snapshot"
	"lastgood/loader"
)

// group is the programs that are one subject.
type group struct {
	id, label string
	programs  []*loader.LoadedProgram
	points    []point
	owners    []string
	unowned   string // why owners may be missing
}

// groupLoaded sorts the programs into subjects. Those of lastgood itself are left out.
// The key is type, name and where the program is attached. Where several share it and
// the names of their maps tell them apart, that goes into the key as well; what is
// alike in all that is taken for copies of one program.
func groupLoaded(have *loader.Loaded, points map[uint32][]point, owners owners) []*group {
	byKey := map[string][]*loader.LoadedProgram{}
	for i := range have.Programs {
		p := &have.Programs[i]
		if !own(p, owners) {
			key := loadedKey(p, points[p.ID])
			byKey[key] = append(byKey[key], p)
		}
	}
	var out []*group
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		alike := map[string][]*loader.LoadedProgram{}
		for _, p := range byKey[key] {
			mark := ""
			if !collapsed(p) {
				mark = mapsMark(have.MapsOf(p))
			}
			alike[mark] = append(alike[mark], p)
		}
		for _, mark := range slices.Sorted(maps.Keys(alike)) {
			g := &group{id: key, programs: alike[mark]}
			if len(alike) > 1 {
				g.id += "#" + mark
			}
			g.gather(points, owners)
			out = append(out, g)
		}
	}
	return out
}

// ownComm is the name of lastgood's processes.
const ownComm = "lastgood"

// own reports whether lastgood loaded the program: the feature census, or a measurement
// that another lastgood makes now.
func own(p *loader.LoadedProgram, o owners) bool {
	return strings.HasPrefix(p.Name, loader.OwnPrefix) || slices.Contains(o.of[p.ID], ownComm)
}

// loadedKey is what a program is known by at another boot. A program without a name
// is known by its type.
func loadedKey(p *loader.LoadedProgram, at []point) string {
	key := progTypeName(p.Type) + "/" + cmp.Or(p.Name, "unnamed")
	if collapsed(p) {
		return key
	}
	where := ""
	for _, a := range at {
		if where != "" && a.where != where {
			where = "several"
			break
		}
		where = a.where
	}
	if where != "" {
		key += "@" + where
	}
	return key
}

// collapsed reports whether the program is one of many that a service manager or a
// container runtime makes for each unit or container: systemd's are named sd_…, device
// filters have no name at runc and crun. They come and go with what runs.
func collapsed(p *loader.LoadedProgram) bool {
	return p.Type == ebpf.CGroupDevice || strings.HasPrefix(p.Name, "sd_")
}

// mapNumbers are what agents put into a map's name for each endpoint or container.
var mapNumbers = regexp.MustCompile(`[0-9]{2,}`)

// mapsMark stands for the names of a program's maps. They are the loader's and not the
// kernel's, as the tag is, and in them copies of a program are alike.
func mapsMark(all []loader.LoadedMap) string {
	var names []string
	for _, m := range all {
		names = append(names, mapNumbers.ReplaceAllString(m.Name, "*"))
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return fmt.Sprintf("%x", sum[:3])
}

// gather takes together what is known of the group's programs.
func (g *group) gather(points map[uint32][]point, o owners) {
	for _, p := range g.programs {
		if !collapsed(p) {
			g.points = append(g.points, points[p.ID]...)
		}
		g.owners = append(g.owners, o.of[p.ID]...)
	}
	g.unowned = o.why
	first := g.programs[0]
	g.label = cmp.Or(first.Name, "unnamed "+progTypeName(first.Type))
	if _, where, found := strings.Cut(g.id, "@"); found {
		where, _, _ = strings.Cut(where, "#")
		g.label += " on " + where
	}
}

// subject is the group with the figures of its largest program.
func (g *group) subject(have *loader.Loaded, limit uint64, limitErr error) snapshot.Subject {
	s := snapshot.Subject{Kind: LoadedKind, ID: g.id, Label: g.label, Outcome: snapshot.Measured}
	s.Set("type", snapshot.Text(progTypeName(g.programs[0].Type)))
	s.Set("programs", snapshot.Int(len(g.programs)))
	setLargest(&s, "insns_processed", g.programs, func(p *loader.LoadedProgram) loader.Opt[uint64] { return p.VerifiedInsns })
	setLargest(&s, "xlated_bytes", g.programs, func(p *loader.LoadedProgram) loader.Opt[uint64] { return p.XlatedBytes })
	setLargest(&s, "jited_bytes", g.programs, func(p *loader.LoadedProgram) loader.Opt[uint64] { return p.JitedBytes })
	setLargest(&s, "memlock_bytes", g.programs, func(p *loader.LoadedProgram) loader.Opt[uint64] { return p.MemlockBytes })
	if limitErr != nil {
		s.Fail("insns_limit", limitErr)
	} else {
		s.Set("insns_limit", snapshot.Int(limit))
	}
	for _, p := range g.programs {
		for _, why := range p.Errs {
			s.Fail("xlated_bytes", fmt.Errorf("%s", why))
		}
	}
	g.describe(&s, have)
	g.runs(&s)
	return s
}

// setLargest keeps the largest figure of the programs; none where one of them has none,
// for that one might be the largest.
func setLargest(s *snapshot.Subject, attr string, all []*loader.LoadedProgram, of func(*loader.LoadedProgram) loader.Opt[uint64]) {
	var largest uint64
	for _, p := range all {
		n, ok := of(p).Get()
		if !ok {
			return
		}
		largest = max(largest, n)
	}
	s.Set(attr, snapshot.Int(largest))
}

// describe keeps where the programs are attached, whose they are and their maps.
func (g *group) describe(s *snapshot.Subject, have *loader.Loaded) {
	var targets, uids, described []string
	for _, p := range g.points {
		if p.how != "" {
			targets = append(targets, p.String())
		}
	}
	if len(targets) > 0 {
		s.Set("targets", snapshot.List(targets...))
	}
	maps := map[uint32]loader.LoadedMap{}
	for _, p := range g.programs {
		uids = append(uids, strconv.FormatUint(uint64(p.UID), 10))
		for _, m := range have.MapsOf(p) {
			maps[m.ID] = m
			described = append(described, describeMap(&m))
		}
	}
	s.Set("uid", snapshot.List(uids...))
	if len(maps) > 0 {
		s.Set("maps", snapshot.List(described...))
		setBytes(s, "maps_bytes", mapsMemory(maps))
	}
	if len(g.owners) > 0 {
		s.Set("owners", snapshot.List(g.owners...))
	} else if g.unowned != "" {
		s.Fail("owners", fmt.Errorf("%s", g.unowned))
	}
}

func describeMap(m *loader.LoadedMap) string {
	text := fmt.Sprintf("%s (%s, %d entries", cmp.Or(m.Name, "unnamed"), m.Type, m.MaxEntries)
	if n, ok := m.MemlockBytes.Get(); ok {
		text += fmt.Sprintf(", %d bytes", n)
	}
	return text + ")"
}

// mapsMemory is the memory charged to all of the maps, if each tells its own.
func mapsMemory(all map[uint32]loader.LoadedMap) loader.Opt[uint64] {
	sum := loader.Some(uint64(0))
	for _, m := range all {
		n, ok := m.MemlockBytes.Get()
		sum.V, sum.Set = sum.V+n, sum.Set && ok
	}
	return sum
}

func setBytes(s *snapshot.Subject, attr string, n loader.Opt[uint64]) {
	if v, ok := n.Get(); ok {
		s.Set(attr, snapshot.Int(v))
	}
}

// runs keeps how often the programs ran, when they were loaded and how their sizes differ.
func (g *group) runs(s *snapshot.Subject) {
	var count uint64
	var seconds float64
	first := g.programs[0].LoadTime
	least, most := g.programs[0].VerifiedInsns, g.programs[0].VerifiedInsns
	for _, p := range g.programs {
		count += p.RunCount
		seconds += p.RunTime.Seconds()
		first = min(first, p.LoadTime)
		least.V, most.V = min(least.V, p.VerifiedInsns.V), max(most.V, p.VerifiedInsns.V)
	}
	if count > 0 {
		s.Set("run_count", snapshot.Int(count))
		s.Set("run_seconds", snapshot.Float(seconds))
		s.Set("seconds_per_run", snapshot.Float(seconds/float64(count)))
	}
	s.Set("loaded_at_seconds", snapshot.Float(first.Seconds()))
	if len(g.programs) > 1 && least.Set {
		s.Set("copies", snapshot.Text(fmt.Sprintf("%d programs, %d to %d insns processed", len(g.programs), least.V, most.V)))
	}
}

// totals fills in the subject that stands for all programs.
func totals(s *snapshot.Subject, have *loader.Loaded, groups []*group) {
	n, memory := 0, loader.Some(uint64(0))
	used := map[uint32]loader.LoadedMap{}
	for _, g := range groups {
		n += len(g.programs)
		for _, p := range g.programs {
			m, ok := p.MemlockBytes.Get()
			memory.V, memory.Set = memory.V+m, memory.Set && ok
			for _, m := range have.MapsOf(p) {
				used[m.ID] = m
			}
		}
	}
	s.Set("programs", snapshot.Int(n))
	s.Set("maps", snapshot.Int(len(used)))
	if have.Links != nil {
		s.Set("links", snapshot.Int(len(have.Links)))
	}
	setBytes(s, "programs_bytes", memory)
	setBytes(s, "maps_bytes", mapsMemory(used))
}
