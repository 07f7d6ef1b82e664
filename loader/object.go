package loader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// ObjectOptions say how somebody else's object is to be read. The zero value reads
// it as it is.
type ObjectOptions struct {
	// Values are values of the object's global variables, as JSON; see [ParseValues].
	Values []byte
	// Types give programs a type by the name of their section or their own, as bpftool
	// writes it (sched_cls); names may be patterns as in [path.Match].
	Types map[string]string
	// Loader is the library that the agent loads with: LoaderLibbpf, which "" means, or
	// LoaderEbpfGo.
	Loader string
	// Inner are the inner maps of maps of maps whose shape the object does not tell.
	Inner map[string]MapShape
}

// MapShape is what a verifier sees of an inner map.
type MapShape struct {
	Type       string `json:"type" yaml:"type"` // as bpftool writes it: hash, array, lru_hash
	KeySize    uint32 `json:"key_size" yaml:"key_size"`
	ValueSize  uint32 `json:"value_size" yaml:"value_size"`
	MaxEntries uint32 `json:"max_entries" yaml:"max_entries"`
	Flags      uint32 `json:"flags" yaml:"flags"`
}

// Object is somebody else's ELF file, made ready for its programs to be verified one
// by one: nothing is pinned, attached or registered, no tail call table is filled, and
// maps are no larger than they need be. Its maps are created once, when the first
// program asks for them, and shared. It is not safe for concurrent use.
type Object struct {
	spec  *ebpf.CollectionSpec
	notes []string
	about map[string]*aboutProgram
	made  map[string]madeMap
	sums  map[string][]byte // digests of maps, by name
}

// aboutProgram is what is to be said of one program before it is loaded.
type aboutProgram struct {
	skip        string // why it is not loaded
	approximate string // why what is measured is not quite what the agent loads
}

type madeMap struct {
	m   *ebpf.Map
	err error
}

// OpenObject reads an ELF object. An error is about the object: nothing was asked of
// the kernel. A hostile file costs an error and nothing else.
func OpenObject(r io.ReaderAt, o ObjectOptions) (obj *Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			obj, err = nil, fmt.Errorf("read object: its ELF reader gave up: %v", p)
		}
	}()
	spec, err := ebpf.LoadCollectionSpecFromReader(r)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	if len(spec.Programs) == 0 {
		return nil, errors.New("read object: it has no programs")
	}
	if spec.ByteOrder != nil && spec.ByteOrder != nativeEndian {
		return nil, fmt.Errorf("read object: it is for %s machines", spec.ByteOrder)
	}
	obj = &Object{spec: spec, about: map[string]*aboutProgram{}, made: map[string]madeMap{}, sums: map[string][]byte{}}
	obj.plainKconfig()
	if err := obj.setValues(o.Values); err != nil {
		return nil, err
	}
	if err := obj.shapeMaps(o.Inner); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		obj.about[name] = &aboutProgram{}
		if o.Loader != LoaderEbpfGo {
			spec.Programs[name].Instructions = asLibbpf(spec.Programs[name].Instructions)
		}
		if err := obj.settle(spec.Programs[name], o.Types); err != nil {
			return nil, err
		}
	}
	return obj, nil
}

// plainKconfig strips the names off the types of __kconfig variables: the library takes
// an int for the kernel's version, and not a __u32, which is one.
func (o *Object) plainKconfig() {
	var section *btf.Datasec
	if o.spec.Types == nil || o.spec.Types.TypeByName(".kconfig", &section) != nil {
		return
	}
	for _, v := range section.Vars {
		if variable, ok := v.Type.(*btf.Var); ok {
			variable.Type = btf.UnderlyingType(variable.Type)
		}
	}
}

// Programs are the names of the object's programs, sorted.
func (o *Object) Programs() []string { return slices.Sorted(maps.Keys(o.spec.Programs)) }

// Notes are things about the object as a whole that its reader should know: values
// that it has no variable for, say.
func (o *Object) Notes() []string { return slices.Clone(o.notes) }

// Spec is one program as it will be handed to the kernel; nil where there is none.
func (o *Object) Spec(program string) *ebpf.ProgramSpec { return o.spec.Programs[program] }

// Skip says why a program cannot be loaded by itself, "" where it can.
func (o *Object) Skip(program string) string { return o.about[program].skip }

// Approximate says how what is measured differs from what its agent loads, "" where
// it does not.
func (o *Object) Approximate(program string) string { return o.about[program].approximate }

// Close gives the maps up.
func (o *Object) Close() {
	for _, m := range o.made {
		m.m.Close()
	}
	o.made = map[string]madeMap{}
}

// Request is the program with the maps that it refers to. An error is a *MapError.
func (o *Object) Request(program string, types *btf.Cache) (Request, error) {
	spec := o.spec.Programs[program]
	req := Request{Spec: spec, Types: types, Maps: map[string]*ebpf.Map{}}
	for _, name := range o.mapsOf(spec) {
		made, known := o.made[name]
		if !known {
			made.m, made.err = createMap(o.spec.Maps[name])
			o.made[name] = made
		}
		if made.err != nil {
			return Request{}, &MapError{Name: name, Err: made.err}
		}
		req.Maps[name] = made.m
	}
	return req, nil
}

// Measure loads one program as [Measure] does. A map that cannot be made is a failure
// of its own phase, and a type that the kernel has no more is named.
func (o *Object) Measure(ctx context.Context, program string, types *btf.Cache) Measurement {
	req, err := o.Request(program, types)
	if err != nil {
		return mapFailure(err)
	}
	m := Measure(ctx, req)
	if m.Verdict == Rejected {
		o.namePoison(&m, program, types)
	}
	return m
}

// mapFailure puts a map that was not made into words: the kernel cannot make such maps,
// or it could not be told.
func mapFailure(err error) Measurement {
	m := Measurement{Phase: PhaseMapCreate, Reason: ReasonMaps, Cause: err.Error()}
	var tooLarge *tooLargeError
	switch {
	case errors.Is(err, errUnfinished):
		m.Inconclusive = err.Error()
	case errors.As(err, &tooLarge):
		m.Reason, m.Inconclusive = ReasonMemory, err.Error()
	case errors.Is(err, unix.ENOMEM):
		m.Errno, m.Reason, m.Inconclusive = unix.ENOMEM, ReasonMemory, err.Error()
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		m.Reason, m.Inconclusive = ReasonPermission, err.Error()
		errors.As(err, &m.Errno)
	case errors.As(err, &m.Errno), errors.Is(err, ebpf.ErrNotSupported):
		m.Verdict = Rejected
	default: // the library's own refusal says nothing of the kernel
		m.Inconclusive = err.Error()
	}
	return m
}

// poisonMarks are what a CO-RE relocation without a target becomes in the verifier's
// words: libbpf and cilium/ebpf put a call of function 0xbad2310 in its place, and
// cilium/ebpf in the place of a wide load one into the frame pointer.
var poisonMarks = []string{"invalid func unknown#195896080", "kernel btf_id 195896080", "frame pointer is read only"}

// namePoison says which type or field a rejected program did not find.
func (o *Object) namePoison(m *Measurement, program string, types *btf.Cache) {
	hit := slices.ContainsFunc(poisonMarks, func(mark string) bool { return strings.Contains(m.Cause, mark) })
	if !hit && !strings.Contains(m.LogTail, "<invalid CO-RE relocation>") {
		return
	}
	kernel, err := types.Kernel()
	if err != nil {
		return
	}
	k := Kernel{spec: kernel}
	lacks, err := k.lacksTypes(o.spec, o.spec.Programs[program])
	if err != nil || len(lacks) == 0 {
		return
	}
	var gone []string
	for _, n := range lacks {
		if text := n.Name + " is gone"; !slices.Contains(gone, text) {
			gone = append(gone, text)
		}
	}
	m.Phase, m.Reason, m.Cause = PhaseRelocate, ReasonBTF, strings.Join(gone, ", ")
	// What was walked up to the poisoned place is no measure of the program.
	m.Stats = Stats{}
}

// mapsOf names the maps that a program refers to and the object has, sorted.
func (o *Object) mapsOf(spec *ebpf.ProgramSpec) []string {
	seen := map[string]bool{}
	for i := range spec.Instructions {
		if ins := &spec.Instructions[i]; ins.IsLoadFromMap() && o.spec.Maps[ins.Reference()] != nil {
			seen[ins.Reference()] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Digest names a program by what the verifier sees of it: its type, its insns before
// the kernel's addresses are filled in, the shapes of its maps and the values in them.
func (o *Object) Digest(program string) (string, error) {
	spec := o.spec.Programs[program]
	code, err := EncodeInsns(spec.Instructions)
	if err != nil {
		return "", fmt.Errorf("digest program %s: %w", program, err)
	}
	h := sha256.New()
	fmt.Fprintln(h, spec.Type, spec.AttachType, spec.AttachTo, spec.Flags)
	h.Write(code)
	for i := range spec.Instructions {
		ins := &spec.Instructions[i]
		if ins.IsLoadFromMap() || ins.IsKfuncCall() { // by name until it is loaded
			fmt.Fprintln(h, i, ins.Reference())
		}
		if relo := btf.CORERelocationMetadata(ins); relo != nil {
			fmt.Fprintln(h, i, relo)
		}
	}
	for _, name := range o.mapsOf(spec) {
		fmt.Fprintf(h, "%s %x\n", name, o.mapDigest(name))
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// mapDigest is made once for a map: a large one is referred to by many programs.
func (o *Object) mapDigest(name string) []byte {
	if sum, ok := o.sums[name]; ok {
		return sum
	}
	m := o.spec.Maps[name]
	h := sha256.New()
	fmt.Fprintln(h, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags, m.MapExtra)
	for _, kv := range m.Contents {
		if b, ok := kv.Value.([]byte); ok {
			h.Write(b)
			continue
		}
		fmt.Fprintln(h, kv.Key, kv.Value)
	}
	o.sums[name] = h.Sum(nil)
	return o.sums[name]
}

// ReadObject is OpenObject of a file's contents.
func ReadObject(b []byte, o ObjectOptions) (*Object, error) {
	return OpenObject(bytes.NewReader(strongMaps(b)), o)
}

// strongMaps makes weak symbols of maps global, in a copy: usdt.bpf.h of libbpf declares
// its maps weak, so that several files of a program may include it, and the library
// refuses such. In a linked object there is one of each.
func strongMaps(b []byte) []byte {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return b
	}
	table := f.SectionByType(elf.SHT_SYMTAB)
	symbols, err := f.Symbols()
	if table == nil || err != nil || f.Class != elf.ELFCLASS64 {
		return b
	}
	copied := false
	for i, s := range symbols {
		if elf.ST_BIND(s.Info) != elf.STB_WEAK || int(s.Section) >= len(f.Sections) || f.Sections[s.Section].Name != ".maps" {
			continue
		}
		// The table's first entry, which is empty, is not among the symbols.
		at := table.Offset + uint64(i+1)*elf.Sym64Size + 4 // st_info
		if at >= uint64(len(b)) {
			return b
		}
		if !copied {
			b, copied = bytes.Clone(b), true
		}
		b[at] = elf.ST_INFO(elf.STB_GLOBAL, elf.ST_TYPE(s.Info))
	}
	return b
}
