package probes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// LoadedKind is the name of the kind of programs that the kernel holds.
const LoadedKind = "bpf.loaded"

// loadedSetKind is the name of the kind of the one subject that stands for all of them.
const loadedSetKind = "bpf.loaded_set"

// LoadedSource is the name of the source of both.
const LoadedSource = "bpf_loaded"

// loaded is read at a boot and not in a VM: nobody's programs are loaded there.
var _ = catalogue.Add(source.Source{
	Name: LoadedSource, Tier: source.Native,
	Doc:   "Loaded programs.\nLists the BPF programs that the kernel holds, whoever loaded them: how far each is from the verifier's limit, how large it is, where it is attached.",
	Kinds: []snapshot.Kind{loadedDeclaration, loadedSetDeclaration},
	Read:  readLoaded,
})

var loadedDeclaration = snapshot.Kind{
	Name: LoadedKind, Foreign: true,
	Doc: "A BPF program that somebody loaded: what the kernel says of it, and never its insns. It is known by type, name and where it is attached, " +
		"never by its tag or number. Programs that are alike in these and use maps of the same names (one for each container, say) are one subject, which has the figures of the largest. " +
		"Those of lastgood itself are left out. That a program is not there is no finding of its own: a check may run before the agents do.",
	Attrs: slices.Concat([]snapshot.Attr{
		{Name: "type", Doc: "the program's type, as the kernel names it"},
		{Name: "programs", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "how many programs the subject stands for"},
		{Name: "targets", Better: snapshot.HigherBetter, Doc: "where it is attached: interface, cgroup, function or tracepoint, and how. What containers and sessions are called is replaced by *"},
	}, programAttrsNamed("insns_processed", "insns_limit", "xlated_bytes", "jited_bytes", "memlock_bytes"), []snapshot.Attr{
		{Name: "maps_bytes", Unit: snapshot.Bytes, Noise: snapshot.Ambient, Doc: "memory charged to its maps, those that it shares with others among them; some grow with what is in them"},
		{Name: "run_count", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "how often it ran, where kernel.bpf_stats_enabled is set"},
		{Name: "run_seconds", Unit: snapshot.Seconds, Noise: snapshot.Ambient, Doc: "time in it, where kernel.bpf_stats_enabled is set"},
		{Name: "seconds_per_run", Unit: snapshot.Seconds, Better: snapshot.LowerBetter, Noise: snapshot.Sampled, Doc: "mean time of a run, where kernel.bpf_stats_enabled is set"},
		{Name: "loaded_at_seconds", Unit: snapshot.Seconds, Noise: snapshot.Ambient, Doc: "when it was loaded, from the boot on; of several the first"},
		{Name: "uid", Noise: snapshot.Evidence, Doc: "users that loaded it"},
		{Name: "owners", Noise: snapshot.Evidence, Doc: "processes that hold a descriptor of it or of its link; many agents hold none once it is attached"},
		{Name: "maps", Noise: snapshot.Evidence, Doc: "its maps, with type, entries and memory"},
		{Name: "copies", Noise: snapshot.Evidence, Doc: "of several programs, the least and the most insns processed"},
	}),
	Rules: []snapshot.Rule{
		{Code: "loaded-headroom-critical", On: snapshot.OnHeadroom, Attr: "insns_processed", Share: 0.10, Topic: topicCost,
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "{name}: {old} -> {new}, {left} headroom left",
			Hint:    "the next change of the kernel or of the program may be too much for the verifier; if its agent was updated too, see which of the two it was"},
		{Code: "loaded-headroom-low", On: snapshot.OnHeadroom, Attr: "insns_processed", Share: 0.20, Topic: topicCost,
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name}: {old} -> {new}, {left} headroom left",
			Hint:    "if its agent was updated too, see which of the two it was: the kernel or the program"},
		{Code: "loaded-insns-grew", On: snapshot.OnGrowth, Attr: "insns_processed", Ratio: 1.25, Floor: 5_000, Topic: topicCost,
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name}: {old} -> {new} ({ratio}), {left} headroom left",
			Hint:    "if its agent was updated too, see which of the two it was: the kernel or the program"},
		{Code: "loaded-detached", On: snapshot.OnWorse, Attr: "targets",
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name} is loaded and no longer attached at {lost}",
			Hint:    "its agent may not be ready yet; if it is, see in its log why the kernel would not attach the program"},
	},
}

var loadedSetDeclaration = snapshot.Kind{
	Name: loadedSetKind, Foreign: true,
	Doc: "All BPF programs that the kernel holds, taken together.",
	Attrs: []snapshot.Attr{
		{Name: "names", Better: snapshot.HigherBetter, Doc: "the programs, by type, name and where they are attached"},
		{Name: "programs", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "how many there are, copies counted"},
		{Name: "links", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "how many links hold one"},
		{Name: "maps", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "how many maps they use"},
		{Name: "programs_bytes", Unit: snapshot.Bytes, Noise: snapshot.Ambient, Doc: "memory charged to all programs"},
		{Name: "maps_bytes", Unit: snapshot.Bytes, Noise: snapshot.Ambient, Doc: "memory charged to all their maps"},
	},
	Rules: []snapshot.Rule{
		{Code: "loaded-gone", On: snapshot.OnWorse, Attr: "names",
			Severity: snapshot.Info, Class: snapshot.ClassObject,
			Message: "not loaded, and were at the last good boot: {lost}",
			Hint:    "no fault where their agents were not started yet"},
	},
}

// programAttrsNamed are the declarations that measured programs have too.
func programAttrsNamed(names ...string) []snapshot.Attr {
	var out []snapshot.Attr
	for _, a := range programAttrs {
		if slices.Contains(names, a.Name) {
			out = append(out, a)
		}
	}
	return out
}

// readLoaded is the source. An error besides the subjects means that something may be
// missing among them, so that the source vouches for none.
func readLoaded(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	all := snapshot.Subject{Kind: loadedSetKind, ID: "all", Label: "BPF programs", Outcome: snapshot.Measured}
	if !h.Root.Live() {
		all.Outcome, all.Reason = snapshot.Skipped, "a recorded host: this kernel's programs are not its"
		return []snapshot.Subject{all}, nil
	}
	have, err := loader.ReadLoaded(ctx)
	switch {
	case errors.Is(err, loader.ErrNoWalk):
		all.Outcome, all.Reason = snapshot.Unsupported, err.Error()
		return []snapshot.Subject{all}, nil
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%w: it takes root (CAP_SYS_ADMIN), and no container's", err)
	case have == nil:
		return nil, err
	}
	points, placeErr := findPoints(ctx, have)
	owners := findOwners(ctx, h)
	limit, limitErr := insnsLimit()
	groups := groupLoaded(have, points, owners)
	out := make([]snapshot.Subject, 0, len(groups)+1)
	var names []string
	for _, g := range groups {
		s := g.subject(have, limit, limitErr)
		names = append(names, s.ID)
		out = append(out, s)
	}
	if err = errors.Join(err, placeErr); err != nil {
		all.Outcome, all.Reason = snapshot.Inconclusive, err.Error()
		return append(out, all), err
	}
	all.Set("names", snapshot.List(names...))
	totals(&all, have, groups)
	return append(out, all), nil
}

// insnsLimit is how many insns the verifier walks before it gives up, as it says
// itself of an empty program. It says so of every program since 4.15.
func insnsLimit() (uint64, error) {
	errno, log := loader.NewTrier().Prog(loader.TryProg{Type: ebpf.SocketFilter, Insns: mustEncode(asm.Mov.Imm(asm.R0, 0), asm.Return()), Name: objectName})
	if errno != 0 {
		return 0, fmt.Errorf("load an empty program: %w", errno)
	}
	limit, ok := loader.ParseLog(log).Stats.InsnsLimit.Get()
	if !ok {
		return 0, errors.New("load an empty program: the verifier does not say its limit")
	}
	return limit, nil
}
