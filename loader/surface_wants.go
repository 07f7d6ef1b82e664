package loader

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Wants is what the programs of one ELF object lean on in a kernel, whatever kernel
// that is. Each list is sorted and has everything once.
type Wants struct {
	Types    []TypeWant // what their CO-RE relocations name
	Kfuncs   []KfuncWant
	Attach   []AttachWant // what their sections say that they are attached to
	Programs []string     // names of the programs
	Kinds    []string     // types of the programs, as ebpf.ProgramType spells them
}

// TypeWant is a type, field or value of the kernel's.
type TypeWant struct {
	Need
	// Asked is set where every program that reaches for it asks first whether the kernel
	// has it, or something else of the same type: such a program knows another way.
	Asked       bool
	relocations []*btf.CORERelocation
	order       binary.ByteOrder
}

// KfuncWant is a kernel function that programs call. A weak one they ask for first.
type KfuncWant struct {
	Name string
	Weak bool
}

// Ways of attaching to something that has a name in the kernel.
const (
	AttachKprobe        = "kprobe"       // a symbol; return probes as well
	AttachKprobeMulti   = "kprobe.multi" // symbols that ftrace knows; may be a pattern
	AttachFentry        = "fentry"       // a function with type information: fentry, fexit, fmod_ret
	AttachLSM           = "lsm"          // a hook, by the function bpf_lsm_NAME
	AttachIter          = "iter"         // an iterator, by the function bpf_iter_NAME
	AttachTracepoint    = "tracepoint"   // a record of tracefs, CATEGORY/NAME
	AttachRawTracepoint = "raw"          // a tracepoint's own arguments: raw_tp and tp_btf
)

// AttachWant is something that a program is attached to by its section's name.
type AttachWant struct{ How, Name string }

// ReadWants reads an object for what it leans on. The kernel is not asked.
func ReadWants(object io.ReaderAt) (_ *Wants, err error) {
	defer func() {
		if p := recover(); p != nil { // the library promises nothing of hostile files
			err = fmt.Errorf("read object: its ELF reader gave up: %v", p)
		}
	}()
	spec, err := ebpf.LoadCollectionSpecFromReader(object)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	weak, err := weakNames(object)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	w := &Wants{Programs: slices.Sorted(maps.Keys(spec.Programs))}
	types := map[Need]*TypeWant{}
	for _, name := range w.Programs {
		p := spec.Programs[name]
		w.Kinds = append(w.Kinds, p.Type.String())
		if err := gatherTypes(types, spec.Types, p); err != nil {
			return nil, fmt.Errorf("read program %s: %w", name, err)
		}
		if a, ok := attachWant(p); ok {
			w.Attach = append(w.Attach, a)
		}
		for i := range p.Instructions {
			if ins := &p.Instructions[i]; ins.IsKfuncCall() && ins.Reference() != "" {
				w.Kfuncs = append(w.Kfuncs, KfuncWant{ins.Reference(), weak[ins.Reference()]})
			}
		}
	}
	w.sort(types)
	return w, nil
}

func (w *Wants) sort(types map[Need]*TypeWant) {
	for _, n := range slices.SortedFunc(maps.Keys(types), func(a, b Need) int { return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Name, b.Name)) }) {
		w.Types = append(w.Types, *types[n])
	}
	slices.SortFunc(w.Kfuncs, func(a, b KfuncWant) int { return strings.Compare(a.Name, b.Name) })
	w.Kfuncs = slices.Compact(w.Kfuncs)
	slices.SortFunc(w.Attach, func(a, b AttachWant) int {
		return cmp.Or(strings.Compare(a.How, b.How), strings.Compare(a.Name, b.Name))
	})
	w.Attach = slices.Compact(w.Attach)
	slices.Sort(w.Kinds)
	w.Kinds = slices.Compact(w.Kinds)
}

// gatherTypes adds what one program's relocations name. A type's flavours (NAME___x) are
// one type of the kernel's under several views: a program that asks about one of them
// has a way for kernels without the others.
func gatherTypes(types map[Need]*TypeWant, local *btf.Spec, p *ebpf.ProgramSpec) error {
	var all []access
	asked := map[string]bool{}
	for i := range p.Instructions {
		r := btf.CORERelocationMetadata(&p.Instructions[i])
		if r == nil {
			continue
		}
		a, ok := parseAccess(r)
		if !ok {
			return fmt.Errorf("relocation %v is of a form that is not known", r)
		}
		if a.asks() {
			asked[essential(a.typ)] = true
		}
		all = append(all, a)
	}
	for _, a := range all {
		if a.kind == "local_type_id" || essential(a.typ) == "" {
			continue // of the object's own types, or of one that no kernel can find by name
		}
		n := a.need(local)
		t := types[n]
		if t == nil {
			t = &TypeWant{Need: n, Asked: true, order: p.ByteOrder}
			types[n] = t
		}
		t.Asked = t.Asked && asked[essential(a.typ)]
		if !slices.ContainsFunc(t.relocations, func(r *btf.CORERelocation) bool { return sameAccess(r, a.relocation) }) {
			t.relocations = append(t.relocations, a.relocation)
		}
	}
	return nil
}

func essential(name string) string {
	name, _, _ = strings.Cut(name, "___")
	return name
}

func sameAccess(a, b *btf.CORERelocation) bool { return a == b || a.String() == b.String() }

// attachWant reads a section's name the way loaders do.
func attachWant(p *ebpf.ProgramSpec) (AttachWant, bool) {
	how, name, found := strings.Cut(strings.TrimPrefix(p.SectionName, "?"), "/")
	if !found || name == "" {
		return AttachWant{}, false
	}
	how = strings.TrimSuffix(how, ".s") // sleepable
	switch how {
	case "kprobe", "kretprobe":
		name, _, _ = strings.Cut(name, "+") // an offset into the function
		return AttachWant{AttachKprobe, name}, name != ""
	case "kprobe.multi", "kretprobe.multi", "kprobe.session":
		return AttachWant{AttachKprobeMulti, name}, true
	case "fentry", "fexit", "fmod_ret":
		return AttachWant{AttachFentry, name}, true
	case "lsm":
		return AttachWant{AttachLSM, name}, true
	case "iter":
		return AttachWant{AttachIter, name}, true
	case "tracepoint", "tp":
		return AttachWant{AttachTracepoint, name}, strings.Count(name, "/") == 1
	case "raw_tracepoint", "raw_tp", "raw_tracepoint.w", "raw_tp.w", "tp_btf":
		return AttachWant{AttachRawTracepoint, name}, true
	}
	return AttachWant{}, false
}

// Has tells whether the kernel has what the programs want, as the loader would find
// out, and where: a text that is the same only if the layout is. The text is empty
// where the kernel does not have it.
func (k *Kernel) Has(w *TypeWant) (has bool, layout string, err error) {
	spec := &ebpf.ProgramSpec{ByteOrder: w.order}
	for _, r := range w.relocations {
		a, ok := parseAccess(r)
		if !ok || a.asks() {
			continue
		}
		missing, err := k.poisoned(r, spec)
		if err != nil {
			return false, "", fmt.Errorf("relocate %s: %w", w.Need, err)
		}
		if missing {
			return false, "", nil
		}
		has = true
	}
	layout = k.layout(w.Need)
	if !has { // it is only asked for, so the name decides
		has = layout != ""
	}
	return has, layout, nil
}
