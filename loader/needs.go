package loader

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Need is something of the kernel's that a program reaches for by name.
type Need struct {
	What string // type, field, value, kfunc or function
	Name string // kernfs_node.parent, bpf_rdonly_cast
}

func (n Need) String() string { return n.What + " " + n.Name }

// Kernel is the type information of one kernel, running or not.
type Kernel struct{ spec *btf.Spec }

// ReadKernel reads a kernel's type information: raw BTF, or an ELF file that has it.
func ReadKernel(r io.ReaderAt) (*Kernel, error) {
	spec, err := btf.LoadSpecFromReader(r)
	if err != nil {
		return nil, fmt.Errorf("read BTF: %w", err)
	}
	return &Kernel{spec}, nil
}

// Lacks lists what the programs of an ELF object reach for and the kernel does not
// have, sorted, each once. What a program asks for before it uses it is optional and
// not listed. Types of kernel modules are not looked at.
func (k *Kernel) Lacks(object io.ReaderAt) ([]Need, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(object)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	weak, err := weakNames(object)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	var lacks []Need
	for _, p := range spec.Programs {
		types, err := k.lacksTypes(spec, p)
		if err != nil {
			return nil, fmt.Errorf("read program %s: %w", p.Name, err)
		}
		lacks = append(lacks, types...)
		lacks = append(lacks, k.lacksKfuncs(p, weak)...)
		if n, ok := attachNeed(p); ok && !k.has(n) {
			lacks = append(lacks, n)
		}
	}
	slices.SortFunc(lacks, func(a, b Need) int { return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Name, b.Name)) })
	return slices.Compact(lacks), nil
}

// lacksTypes relocates the program's accesses against the kernel, one by one: what
// cannot be is missing there.
func (k *Kernel) lacksTypes(spec *ebpf.CollectionSpec, p *ebpf.ProgramSpec) ([]Need, error) {
	var relocations []access
	asked := map[string]bool{}
	// A type that is looked at in several flavours (NAME___x) is one that the program knows
	// another way about, as soon as it asks for any of them.
	flavours, chosen := map[string]string{}, map[string]bool{}
	for i := range p.Instructions {
		r := btf.CORERelocationMetadata(&p.Instructions[i])
		if r == nil {
			continue
		}
		a, ok := parseAccess(r)
		if !ok {
			return nil, fmt.Errorf("relocation %v is of a form that is not known", r)
		}
		if a.asks() {
			asked[a.typ] = asked[a.typ] || !strings.Contains(a.path, ":")
			asked[a.typ+"["+a.path] = true
			asked[essential(a.typ)+" "] = true
		}
		if other, seen := flavours[essential(a.typ)]; seen && other != a.typ {
			chosen[essential(a.typ)] = true
		}
		flavours[essential(a.typ)] = a.typ
		relocations = append(relocations, a)
	}
	var lacks []Need
	for _, a := range relocations {
		if a.asks() || a.kind == "local_type_id" || asked[a.typ] || asked[a.typ+"["+a.path] ||
			chosen[essential(a.typ)] && asked[essential(a.typ)+" "] {
			continue
		}
		missing, err := k.poisoned(a.relocation, p)
		if err != nil {
			return nil, err
		}
		if missing {
			lacks = append(lacks, a.need(spec.Types))
		}
	}
	return lacks, nil
}

func (k *Kernel) poisoned(r *btf.CORERelocation, p *ebpf.ProgramSpec) (bool, error) {
	local := func(btf.Type) (btf.TypeID, error) { return 1, nil } // of this program's own types, which are not judged
	fixups, err := btf.CORERelocate([]*btf.CORERelocation{r}, []*btf.Spec{k.spec}, p.ByteOrder, local)
	if errors.Is(err, btf.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// A fixup tells of itself in words only.
	return len(fixups) == 1 && strings.HasSuffix(fixups[0].String(), "=poison"), nil
}

// access is a CO-RE relocation, of which the library tells in words only.
type access struct {
	relocation      *btf.CORERelocation
	kind, typ, path string
}

var accessForm = regexp.MustCompile(`^CORERelocation\((\w+), \w+:"([^"]*)"\[([0-9:]*)\], local_id=\d+\)$`)

func parseAccess(r *btf.CORERelocation) (access, bool) {
	m := accessForm.FindStringSubmatch(r.String())
	if m == nil {
		return access{}, false
	}
	return access{r, m[1], m[2], m[3]}, true
}

// asks reports whether the program only wants to know whether something is there.
func (a access) asks() bool { return strings.HasSuffix(a.kind, "_exists") || a.kind == "type_matches" }

// need names what the access is to. A suffix after three underscores tells flavours of
// one type apart and is not part of the kernel's name.
func (a access) need(types *btf.Spec) Need {
	name, _, _ := strings.Cut(a.typ, "___")
	switch {
	case strings.HasPrefix(a.kind, "enumval"):
		return Need{"value", name + a.member(types)}
	case strings.HasPrefix(a.kind, "type") || a.kind == "target_type_id":
		return Need{"type", name}
	}
	return Need{"field", name + a.member(types)}
}

// member is the path of an access in words. The first number indexes an array of the
// type and is dropped.
func (a access) member(types *btf.Spec) string {
	if types == nil {
		return ""
	}
	var out strings.Builder
	all, err := types.AnyTypesByName(a.typ)
	if err != nil || len(all) == 0 {
		return ""
	}
	t := all[0]
	numbers := strings.Split(a.path, ":")
	if e, ok := t.(*btf.Enum); ok {
		if i, err := strconv.Atoi(numbers[0]); err == nil && i < len(e.Values) {
			return "." + e.Values[i].Name
		}
		return ""
	}
	for _, n := range numbers[1:] {
		i, err := strconv.Atoi(n)
		if err != nil {
			break
		}
		name, next := step(btf.UnderlyingType(t), i)
		if next == nil {
			break
		}
		if t = next; name != "" {
			out.WriteString("." + name)
		}
	}
	return out.String()
}

// step goes into one member of a struct or union, or one element of an array.
func step(t btf.Type, i int) (string, btf.Type) {
	var members []btf.Member
	switch t := t.(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	case *btf.Array:
		return "", t.Type
	}
	if i >= len(members) {
		return "", nil
	}
	return members[i].Name, members[i].Type
}

// weakNames are the object's weak symbols: a program asks whether such a kfunc is there
// before it calls it (bpf_ksym_exists), and loads without.
func weakNames(object io.ReaderAt) (map[string]bool, error) {
	f, err := elf.NewFile(object)
	if err != nil {
		return nil, err
	}
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, err
	}
	weak := map[string]bool{}
	for _, s := range symbols {
		weak[s.Name] = weak[s.Name] || elf.ST_BIND(s.Info) == elf.STB_WEAK
	}
	return weak, nil
}

func (k *Kernel) lacksKfuncs(p *ebpf.ProgramSpec, weak map[string]bool) []Need {
	var lacks []Need
	for i := range p.Instructions {
		if ins := &p.Instructions[i]; ins.IsKfuncCall() && ins.Reference() != "" && !weak[ins.Reference()] {
			if n := (Need{"kfunc", ins.Reference()}); !k.has(n) {
				lacks = append(lacks, n)
			}
		}
	}
	return lacks
}

// attachNeed is the function or type that a program is attached to by its section's name.
func attachNeed(p *ebpf.ProgramSpec) (Need, bool) {
	if p.AttachTo == "" {
		return Need{}, false
	}
	switch {
	case p.Type == ebpf.LSM:
		return Need{"function", "bpf_lsm_" + p.AttachTo}, true
	case p.Type == ebpf.Tracing && p.AttachType == ebpf.AttachTraceRawTp:
		return Need{"type", "btf_trace_" + p.AttachTo}, true
	case p.Type == ebpf.Tracing && p.AttachType == ebpf.AttachTraceIter:
		return Need{"function", "bpf_iter_" + p.AttachTo}, true
	case p.Type == ebpf.Tracing:
		return Need{"function", p.AttachTo}, true
	}
	return Need{}, false
}

// has reports whether the kernel's types have a function or type of that name.
func (k *Kernel) has(n Need) bool {
	all, err := k.spec.AnyTypesByName(n.Name)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(t btf.Type) bool {
		_, function := t.(*btf.Func)
		return function == (n.What == "kfunc" || n.What == "function")
	})
}

// Kfuncs lists the kernel functions that the programs of an ELF object call, each once.
func Kfuncs(object io.ReaderAt) ([]string, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(object)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	var names []string
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			if ins := &p.Instructions[i]; ins.IsKfuncCall() && ins.Reference() != "" {
				names = append(names, ins.Reference())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
