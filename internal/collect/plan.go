package collect

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// task is one step with the source that it belongs to.
type task struct {
	source string
	source.Step
	skip string // why it is not run
}

func (t *task) id() string { return t.source + ":" + t.Group + "/" + t.Name }

// subject is what stands in the snapshot for a step that gave no subject.
func (t *task) subject(o snapshot.Outcome, reason string) snapshot.Subject {
	return snapshot.Subject{Kind: t.Kind, ID: t.ID, Outcome: o, Reason: reason}
}

// plan lists the steps of all sources, group by group, and marks those that will
// not be run: what the crash guard blocks, what is risky on a host that panics
// on a warning, and the costliest of what does not fit the time.
func plan(o *Options, guard Guard, sources []source.Source, panicOnWarn string, left time.Duration) []task {
	var tasks []task
	blocked := map[string]string{}
	if guard != nil {
		blocked = guard.Blocked()
	}
	for _, src := range sources {
		for _, step := range src.Steps(o.Host) {
			t := task{source: src.Name, Step: step}
			if why := cmp.Or(blocked[step.Group], blocked[AnyGroup]); why != "" {
				t.skip = why
			} else if step.Risky && panicOnWarn != "" {
				t.skip = panicOnWarn
			}
			tasks = append(tasks, t)
		}
	}
	dropCostliest(tasks, left*max(1, time.Duration(o.Jobs)))
	return tasks
}

// dropCostliest marks the costliest tasks until the rest fits into nine tenths
// of the time; a tenth is for starting up and for a machine slower than most.
func dropCostliest(tasks []task, budget time.Duration) {
	var total time.Duration
	order := make([]int, 0, len(tasks))
	for i := range tasks {
		if tasks[i].skip == "" {
			total += tasks[i].Cost
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(tasks[b].Cost - tasks[a].Cost) })
	for _, i := range order {
		if total <= budget*9/10 {
			return
		}
		tasks[i].skip = fmt.Sprintf("dropped to keep within the budget (about %v)", tasks[i].Cost)
		total -= tasks[i].Cost
	}
}

// inOrder lists the tasks that will be run, group by group. Where several children work
// side by side the costliest group comes first, so that none is left with it at the end.
func inOrder(tasks []task, children int) []*task {
	groups := map[string][]*task{}
	cost := map[string]time.Duration{}
	var names []string
	for i := range tasks {
		t := &tasks[i]
		if t.skip != "" {
			continue
		}
		if groups[t.Group] == nil {
			names = append(names, t.Group)
		}
		groups[t.Group] = append(groups[t.Group], t)
		cost[t.Group] += t.Cost
	}
	if children > 1 {
		slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(cost[b], cost[a]) })
	}
	var out []*task
	for _, g := range names {
		out = append(out, groups[g]...)
	}
	return out
}
