package workload

import (
	"context"
	"fmt"
	"path/filepath"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// ObjectKind is the name of the kind of objects.
const ObjectKind = "bpf.object"

var objectKind = snapshot.Kind{
	Name:     ObjectKind,
	Doc:      "An ELF object with BPF programs that an agent of this node loads.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "name", Doc: "what its programs are known by"},
		{Name: "workload", Doc: "the agent that it is of"},
		{Name: "origin", Noise: snapshot.Evidence, Doc: "where its agent keeps it"},
		{Name: "digest", Doc: "SHA-256 of its bytes"},
		{Name: "values", Doc: "SHA-256 of the values of its global variables, where they are known"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Noise: snapshot.Evidence, Doc: "its size"},
		{Name: "used", Doc: "no where its agent picks another one on this kernel, so that its programs were not verified"},
		{Name: "state", Order: []string{string(Present), string(Waiting), string(Replaced)},
			Doc: "whether it is where its agent keeps it, or its bytes were kept from the last good boot"},
	},
	Rules: []snapshot.Rule{
		{Code: "object-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassObject,
			Message: "{name} of {attr:workload} is new or another than at the last good boot: there is nothing to compare its programs with"},
		{Code: "object-gone", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassObject,
			Message: "{name} of {attr:workload} is gone, and its bytes were not kept: its programs were not verified"},
		{Code: "object-replaced", On: snapshot.OnBecomes, Attr: "state", From: []string{string(Present), string(Waiting)}, To: []string{string(Replaced)}, Severity: snapshot.Info, Class: snapshot.ClassObject,
			Message: "{name} of {attr:workload} is no longer there; the bytes of the last good boot were verified",
			Hint:    "`lastgood accept` takes the objects as they are now for the good ones"},
		{Code: "object-changed", On: snapshot.OnChanged, Attr: "digest", Severity: snapshot.Info, Class: snapshot.ClassObject,
			Message: "{name} of {attr:workload} is another object than before, so its programs were not compared"},
	},
}

// Kind is what a set's source gives.
func Kind() snapshot.Kind { return objectKind }

// SourceName is the name of the source of a set's objects.
const SourceName = "workloads"

// Source tells which objects this node is verified with.
func (s *Set) Source() source.Source {
	return source.Source{
		Name:  SourceName,
		Doc:   "objects of this node's agents\n\nFinds the ELF objects that the agents of this node load, and those that were kept from the last good boot.",
		Kinds: []snapshot.Kind{objectKind},
		Read:  func(context.Context, source.Host) ([]snapshot.Subject, error) { return s.subjects(), nil },
	}
}

func (s *Set) subjects() []snapshot.Subject {
	var out []snapshot.Subject
	for i := range s.Files {
		f := &s.Files[i]
		sub := snapshot.Subject{Kind: ObjectKind, ID: f.Name, Label: f.Name, Outcome: snapshot.Measured}
		sub.Set("name", snapshot.Text(f.Name))
		sub.Set("workload", snapshot.Text(f.Workload))
		sub.Set("origin", snapshot.Text(f.Origin))
		sub.Set("digest", snapshot.Text(f.Digest))
		if f.ValuesDigest != "" {
			sub.Set("values", snapshot.Text(f.ValuesDigest))
		}
		sub.Set("size_bytes", snapshot.Int(f.Size))
		sub.Set("state", snapshot.Text(string(f.State)))
		used := "yes"
		if f.Idle {
			used = "no"
		}
		sub.Set("used", snapshot.Text(used))
		out = append(out, sub)
	}
	seen := map[string]bool{}
	for i := range s.Files {
		seen[s.Files[i].Name] = true
	}
	for _, p := range s.Problems {
		id := p.Name
		if seen[id] {
			id = fmt.Sprintf("%s (%s)", p.Name, p.Workload)
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		sub := snapshot.Subject{Kind: ObjectKind, ID: id, Label: filepath.Base(p.Name), Outcome: snapshot.Inconclusive, Reason: p.Why}
		sub.Set("workload", snapshot.Text(p.Workload))
		out = append(out, sub)
	}
	return out
}

// Kept reads back which objects a snapshot was taken with. find says where the bytes of
// a digest are kept; what is kept no more is a problem.
func Kept(s *snapshot.Snapshot, specs []Spec, find func(digest string) (path string, err error), read func(digest string) ([]byte, error)) Set {
	var set Set
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if sub.Kind != ObjectKind || sub.Outcome != snapshot.Measured {
			continue
		}
		f, err := keptFile(sub, specs, find, read)
		if err != nil {
			set.Problems = append(set.Problems, Problem{Name: sub.ID, Workload: sub.Text("workload"), Why: err.Error()})
			continue
		}
		set.Files = append(set.Files, f)
	}
	return set
}

func keptFile(sub *snapshot.Subject, specs []Spec, find func(string) (string, error), read func(string) ([]byte, error)) (File, error) {
	f := File{Workload: sub.Text("workload"), Origin: sub.Text("origin"), ValuesDigest: sub.Text("values"), State: Waiting}
	f.Name, f.Digest = sub.ID, sub.Text("digest")
	f.Size, _ = sub.Attrs["size_bytes"].Int()
	var err error
	if f.Path, err = find(f.Digest); err != nil {
		return f, err
	}
	if f.ValuesDigest != "" {
		if f.Values, err = read(f.ValuesDigest); err != nil {
			return f, err
		}
	}
	for i := range specs {
		if specs[i].Name == f.Workload {
			f.Types, f.Inner, f.Only, f.Loader = specs[i].Types, specs[i].InnerMaps, specs[i].Programs, specs[i].Loader
		}
	}
	return f, nil
}
