// Package workload finds the BPF objects that this node's own agents load, so that the
// very same bytes can be verified on another kernel before the agents start.
//
// An object is known by its file name. Files of the same bytes are one object; of
// several that differ under one name the first keeps it and the others are told apart
// by the beginning of their digest. What was kept from the last good boot has the name
// that it had then.
package workload

import "lastgood/loader"

// Spec is an entry of the configuration: the objects of one agent.
type Spec struct {
	// Name is the agent's.
	Name string `yaml:"name"`
	// Objects are files, folders or patterns as the shell knows them.
	Objects []string `yaml:"objects"`
	// Values is a file with values of global variables. Without it, NAME.json beside
	// NAME.o is taken where it is there.
	Values string `yaml:"values"`
	// Types give programs a type where their sections do not tell it.
	Types map[string]string `yaml:"types"`
	// Programs are patterns of programs that the agent loads; !PATTERN leaves out.
	Programs []string `yaml:"programs"`
	// InnerMaps are shapes of maps in maps that the objects do not tell.
	InnerMaps map[string]loader.MapShape `yaml:"inner_maps"`
	// Loader is the library that the agent loads its objects with: libbpf (the default) or
	// ebpf-go. They put functions into another order, which moves counters a little.
	Loader string `yaml:"loader"`
	// ByKernel says that the agent picks one of several objects by the kernel's version:
	// NAME_v612.o for 6.12 and newer, NAME.o for older ones.
	ByKernel bool `yaml:"by_kernel"`
}

// Defaults are the places where agents are known to keep their objects.
func Defaults() []Spec {
	return []Spec{
		// pkg/datapath/loader/paths.go and cache.go; bpf is the source's own folder.
		{Name: "cilium", Objects: []string{
			"/var/run/cilium/state/templates/*/*.o", "/var/run/cilium/state/*.o", "/var/run/cilium/state/bpf/*/*.o",
			"/var/run/cilium/bpf/*/*.o", "/var/run/cilium/state/[0-9]*/*.o", "/var/lib/cilium/bpf/*.o"}, Loader: loader.LoaderEbpfGo},
		// pkg/sensors/base/base.go picks by version; the alignment check is no program of the agent's.
		{Name: "tetragon", Objects: []string{"/var/lib/tetragon/*.o"}, Programs: []string{"!alignchecker*"}, ByKernel: true, Loader: loader.LoaderEbpfGo},
		{Name: "system", Objects: []string{"/usr/lib/bpf/*.o", "/usr/lib/*/bpf/*.o"}},
	}
}

// File is one object to be verified.
type File struct {
	loader.ObjectFile
	Workload string
	// Origin is where its agent keeps it; Path is where its bytes are.
	Origin string
	Size   int64
	// ValuesDigest is the digest of its values, "" without.
	ValuesDigest string
	State        State
	// Idle objects are not verified: on this kernel their agent picks another. They are
	// kept, for on the next one it may be theirs.
	Idle bool
}

// State says where the bytes come from.
type State string

// The states of an object.
const (
	// Present objects are where their agent keeps them.
	Present State = "present"
	// Waiting ones are kept from the last good boot; none of their agent's is there yet.
	Waiting State = "kept, its agent is not up"
	// Replaced ones are kept, and others of their agent's are there in their place.
	Replaced State = "kept, no longer there"
)

// Problem is something that could not be measured and why.
type Problem struct {
	Name, Workload string
	Why            string
}

// Set is what this node is to be verified with.
type Set struct {
	Files    []File
	Problems []Problem
}

// ObjectFiles are the set's files as the measuring process takes them.
func (s *Set) ObjectFiles() []loader.ObjectFile {
	out := make([]loader.ObjectFile, 0, len(s.Files))
	for i := range s.Files {
		if !s.Files[i].Idle {
			out = append(out, s.Files[i].ObjectFile)
		}
	}
	return out
}
