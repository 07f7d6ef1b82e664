package probes

import (
	"fmt"
	"time"

	"lastgood/bpf"
)

// sizes are the cases of a program in C that comes in several sizes. costs is about
// what each takes on a slow machine, smallest first; grows says in words what a
// larger one does more.
func sizes(objects []bpf.Object, program, grows string, costs ...time.Duration) []Case {
	var cases []Case
	for i, o := range objects {
		cases = append(cases, Case{
			Name: o.Name, Cost: costs[i],
			Doc:   fmt.Sprintf("the %s size: %s", o.Name, grows),
			Build: func() (Program, error) { return stageOf(o.Load, program) },
		})
	}
	return cases
}
