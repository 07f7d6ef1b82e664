package bpf

import "github.com/cilium/ebpf"

// Datapath is one size of the datapath.
type Datapath struct {
	Name string // small, medium or large
	// Load returns the parsed object: programs named as in Stages, and maps whose
	// inner maps are described.
	Load func() (*ebpf.CollectionSpec, error)
}

// Datapaths returns the sizes of the datapath, smallest first.
func Datapaths() []Datapath {
	return []Datapath{
		{"small", LoadDatapathSmall},
		{"medium", LoadDatapathMedium},
		{"large", LoadDatapathLarge},
	}
}

// Stages returns the names of a datapath's programs, the same in each size, in the
// order in which a packet meets them; NAT is done by one of two. The position of a
// name is its key in the program array "stages".
func Stages() []string {
	return []string{"dp_parse", "dp_policy", "dp_conntrack", "dp_lb", "dp_nat4", "dp_nat6", "dp_emit"}
}
