package probes

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/loader"
)

// rest are the subjects of what the kernel offers as a whole: a few kilobytes.
func (k *kernelTypes) rest(r *surface) []snapshot.Subject {
	types := snapshot.Subject{Kind: kindSurface, ID: "types", Label: "type information", Outcome: snapshot.Measured}
	types.Set("class", snapshot.Text("types"))
	types.Set("use", snapshot.Text(r.typesUse()))
	types.Set("available", snapshot.Text(hasIt))
	if errors.Is(k.err, errNoBTF) {
		types.Set("available", snapshot.Text(lacksIt))
		return []snapshot.Subject{types}
	}
	if k.err != nil {
		return []snapshot.Subject{couldNotTell(types, k.err)}
	}
	c := k.census()
	describeKinds(&types, c.Kinds)
	out := []snapshot.Subject{types,
		restSubject("tracepoints", "arguments of tracepoints", c.Tracepoints, hashedParts(c.Tracepoints)),
		restSubject("records", "classes of trace records", c.Records, hashedParts(c.Records))}
	kfuncs := restSubject("kfuncs", "kernel functions for programs", c.Kfuncs, hashedNames(c.Kfuncs))
	if len(c.Kfuncs) == 0 {
		kfuncs = snapshot.Subject{Kind: kindSurface, ID: "kfuncs", Label: kfuncs.Label, Outcome: snapshot.Unsupported,
			Reason: "this kernel's type information does not tell which functions programs may call"}
	}
	return append(out, kfuncs)
}

// typesUse tells whether any program leans on type information.
func (r *surface) typesUse() string {
	typed := len(r.wanted(loader.AttachFentry, loader.AttachLSM, loader.AttachIter)) > 0
	required := slices.ContainsFunc(slices.Collect(maps.Values(r.needs)), func(u *typeUse) bool { return u.required })
	if typed || required || len(r.kfuncs) > 0 {
		return useRequired
	}
	return "nobody"
}

func describeKinds(s *snapshot.Subject, kinds map[string]int) {
	names := slices.Sorted(maps.Keys(kinds))
	total, histogram := 0, []string{}
	for _, n := range names {
		total += kinds[n]
		histogram = append(histogram, fmt.Sprintf("%s %d", n, kinds[n]))
	}
	s.Set("kinds", snapshot.List(names...))
	s.Set("total", snapshot.Int(total))
	s.Set("histogram", snapshot.Text(strings.Join(histogram, ", ")))
}

func restSubject(class, label string, all map[string]uint32, members []string) snapshot.Subject {
	s := snapshot.Subject{Kind: kindSurface, ID: class, Label: label, Outcome: snapshot.Measured}
	s.Set("class", snapshot.Text(class))
	s.Set("total", snapshot.Int(len(all)))
	s.Set("members", snapshot.List(members...))
	return s
}

// hashedNames gives every name with its hash.
func hashedNames(all map[string]uint32) []string {
	var out []string
	for name, h := range all {
		out = append(out, fmt.Sprintf("%s %08x", name, h))
	}
	return out
}

// numParts is how many parts a large class is cut into, by the hash of the name. A
// change of n names changes n parts at most, and nearly n as long as n is small.
const numParts = 64

func hashedParts(all map[string]uint32) []string {
	names := slices.Sorted(maps.Keys(all))
	var sums [numParts]uint64
	for _, name := range names {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %08x", name, all[name])
		sums[partOf(name)] += h.Sum64() // the order within a part does not matter
	}
	var out []string
	for i, sum := range sums {
		if sum != 0 {
			out = append(out, fmt.Sprintf("%02d %08x", i, uint32(sum^sum>>32)))
		}
	}
	return out
}

func partOf(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32() % numParts
}

// layouts is one subject over all types that programs read, so that a kernel which moved
// a hundred fields is told in one line.
func layouts(types []snapshot.Subject) snapshot.Subject {
	s := snapshot.Subject{Kind: kindSurface, ID: "layouts", Label: "layouts of the types that programs read", Outcome: snapshot.Measured}
	types = slices.SortedFunc(slices.Values(types), func(a, b snapshot.Subject) int { return cmp.Compare(a.ID, b.ID) })
	needs, each := fnv.New64a(), map[string]uint64{}
	for i := range types {
		if types[i].Outcome != snapshot.Measured {
			s.Outcome, s.Reason = types[i].Outcome, types[i].Reason
			return s
		}
		layout := types[i].Text("layout")
		fmt.Fprintln(needs, types[i].ID)
		if layout == "" {
			continue // what is gone is told by its own subject
		}
		_, path, _ := strings.Cut(types[i].ID, "/")
		name, _, _ := strings.Cut(path, ".")
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %s", types[i].ID, layout)
		each[name] += h.Sum64()
	}
	var members []string
	for name, sum := range each {
		members = append(members, fmt.Sprintf("%s %04x", name, uint16(sum^sum>>16^sum>>32^sum>>48)))
	}
	s.Set("class", snapshot.Text("layouts"))
	s.Set("total", snapshot.Int(len(members)))
	s.Set("needs", snapshot.Text(fmt.Sprintf("%016x", needs.Sum64())))
	s.Set("members", snapshot.List(members...))
	return s
}
