package probes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/loader"
)

// Object is an ELF object with BPF programs of this node, opened by who knows where they
// lie. Name is what a person calls it: its file name.
type Object struct {
	Name string
	File io.ReaderAt
}

// SurfaceSource is the name of the source of what programs lean on.
const SurfaceSource = "surface"

// surfaceCost is what reading the kernel's types and symbols takes.
const surfaceCost = 60 * time.Millisecond

// Surface is a source of what the running kernel has of that which the objects' programs
// lean on by name, and in a few lines of what it offers besides. Whether a table takes
// unlike programs is asked elsewhere (bpf.attach prog_array). Nothing is loaded, attached
// or mounted. It is a step of the measuring process all the same, for that one reads the
// kernel's types too, and the two need not hold them at once.
func Surface(files []loader.ObjectFile) source.Source {
	return source.Source{
		Name:  SurfaceSource,
		Doc:   "What programs lean on in this kernel.\nLooks up the types, functions, tracepoints, symbols and options that this node's programs name, and counts the rest.",
		Kinds: SurfaceKinds(),
		Steps: func(source.Host) []source.Step {
			return []source.Step{{Group: SurfaceSource, Name: "kernel", Kind: kindSurface, Cost: surfaceCost, Run: func(ctx context.Context, h source.Host) []snapshot.Subject {
				var objects []Object
				for i := range files {
					objects = append(objects, openFile(&files[i]))
				}
				return ReadSurface(ctx, h.Root, objects)
			}}}
		},
	}
}

func openFile(f *loader.ObjectFile) Object {
	b, err := f.Read()
	if err != nil {
		return Object{Name: f.Name, File: unreadable{err}}
	}
	return Object{Name: f.Name, File: bytes.NewReader(b)}
}

// unreadable is a file that was not read, and why.
type unreadable struct{ err error }

func (u unreadable) ReadAt([]byte, int64) (int, error) { return 0, u.err }

// ReadSurface looks up what the objects lean on.
func ReadSurface(ctx context.Context, root *sysfs.Root, objects []Object) []snapshot.Subject {
	r := surface{root: root}
	out := r.gather(objects)
	out = append(out, r.read(ctx)...)
	slices.SortFunc(out, func(a, b snapshot.Subject) int { return a.Key().Compare(b.Key()) })
	return out
}

// surface is what the objects want, merged, with who wants it.
type surface struct {
	root     *sysfs.Root
	needs    map[loader.Need]*typeUse
	kfuncs   map[string]*nameUse
	attach   map[loader.AttachWant]*nameUse
	programs []string // names
	types    []string // of the programs
}

type typeUse struct {
	wants    []loader.TypeWant
	required bool
	users    []string
}

type nameUse struct {
	required bool
	users    []string
}

// gather reads the objects; one that cannot be read has a subject that says so.
func (r *surface) gather(objects []Object) []snapshot.Subject {
	r.needs, r.kfuncs, r.attach = map[loader.Need]*typeUse{}, map[string]*nameUse{}, map[loader.AttachWant]*nameUse{}
	var failed []snapshot.Subject
	for _, o := range objects {
		w, err := loader.ReadWants(o.File)
		if err != nil {
			failed = append(failed, couldNotTell(snapshot.Subject{Kind: kindSurface, ID: "object/" + o.Name, Label: o.Name}, err))
			continue
		}
		for _, t := range w.Types {
			u := entry(r.needs, t.Need)
			u.wants, u.required, u.users = append(u.wants, t), u.required || !t.Asked, append(u.users, o.Name)
		}
		for _, k := range w.Kfuncs {
			u := entry(r.kfuncs, k.Name)
			u.required, u.users = u.required || !k.Weak, append(u.users, o.Name)
		}
		for _, a := range w.Attach {
			u := entry(r.attach, a)
			u.users = append(u.users, o.Name)
		}
		r.programs, r.types = append(r.programs, w.Programs...), append(r.types, w.Kinds...)
	}
	return failed
}

func entry[K comparable, V any](m map[K]*V, k K) *V {
	if m[k] == nil {
		m[k] = new(V)
	}
	return m[k]
}

// wanted lists names that are attached to in one of the ways.
func (r *surface) wanted(how ...string) []string {
	var names []string
	for a := range r.attach {
		if slices.Contains(how, a.How) {
			names = append(names, a.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// read looks everything up: types, symbols and what ftrace lists side by side, for each
// takes the kernel some ten milliseconds to write out.
func (r *surface) read(ctx context.Context) []snapshot.Subject {
	var (
		types     *kernelTypes
		symbols   symbolAnswer
		config    map[string]string
		configErr error
	)
	var wait sync.WaitGroup
	wait.Go(func() { symbols = r.readSymbols(ctx) })
	types = readKernelTypes(ctx, r.root)
	config, configErr = readConfig(ctx, r.root)
	out := r.typeSubjects(types)
	if len(out) > 0 {
		out = append(out, layouts(out))
	}
	out = slices.Concat(out, r.kfuncSubjects(ctx, types), types.rest(r), r.options(config, configErr), r.tracepointSubjects(ctx, types))
	wait.Wait()
	return append(out, r.symbolSubjects(ctx, types, symbols)...)
}

// couldNotTell marks s, by which nothing is known of the thing itself.
func couldNotTell(s snapshot.Subject, err error) snapshot.Subject {
	s.Outcome, s.Reason = snapshot.Inconclusive, "could not tell: "+err.Error()
	return s
}

// unsettled is the outcome of a subject that needs type information which is not there.
func (k *kernelTypes) unsettled(s snapshot.Subject) snapshot.Subject {
	if errors.Is(k.err, errNoBTF) {
		s.Outcome, s.Reason = snapshot.Unsupported, k.err.Error()
		return s
	}
	return couldNotTell(s, k.err)
}

// usersOf names some of them.
func usersOf(users []string) snapshot.Value {
	const most = 4
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	text := strings.Join(users[:min(most, len(users))], ", ")
	if more := len(users) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return snapshot.Text(text)
}

func useOf(required bool) snapshot.Value {
	if required {
		return snapshot.Text(useRequired)
	}
	return snapshot.Text(useAsked)
}

// kernelTypes is the kernel's type information, in both forms that it is asked in.
type kernelTypes struct {
	err     error // errNoBTF where the kernel has none
	raw     []byte
	info    *loader.TypeInfo
	modules []moduleTypes // read where something is not the kernel's own
	listed  bool
	counted *loader.TypeCensus
}

type moduleTypes struct {
	name string
	info *loader.TypeInfo
}

// Bounds: a distribution's kernel has 5 to 10 MiB of type information, a module seldom
// more than 2 MiB, all of them together some 30.
const (
	maxModuleBTF  = 32 << 20
	maxModulesBTF = 256 << 20
)

func readKernelTypes(ctx context.Context, root *sysfs.Root) *kernelTypes {
	b, err := root.Bytes(ctx, maxBTF, defaultBTF)
	if sysfs.Absent(err) {
		if there, _ := root.Exists(ctx, "/sys/kernel"); there && root.Live() {
			err = errNoBTF // sysfs is there to say so
		}
	}
	if err != nil {
		return &kernelTypes{err: err}
	}
	info, err := loader.ReadTypeInfo(b, nil)
	return &kernelTypes{err: err, raw: b, info: info}
}

// kernel makes the form that relocations are tried on; it costs some 20 ms.
func (k *kernelTypes) kernel() (*loader.Kernel, error) {
	return loader.ReadKernel(bytes.NewReader(k.raw))
}

// foundFunction is a function or tracepoint of type information, and whose it is: "" is
// the kernel's own.
type foundFunction struct {
	loader.Function
	module string
	// tags is set where whoever has it marks the functions that programs may call.
	tags bool
}

// functions finds functions and tracepoints by name.
func (k *kernelTypes) functions(ctx context.Context, root *sysfs.Root, names []string) map[string]foundFunction {
	wanted, found := map[string]bool{}, map[string]foundFunction{}
	for _, n := range names {
		wanted[n] = true
	}
	if k.err != nil || len(wanted) == 0 {
		return found
	}
	for n, f := range k.info.Functions(wanted) {
		found[n] = foundFunction{f, "", len(k.census().Kfuncs) > 0}
		delete(wanted, n)
	}
	if len(wanted) == 0 {
		return found
	}
	k.readModules(ctx, root)
	for _, m := range k.modules {
		for n, f := range m.info.Functions(wanted) {
			if _, twice := found[n]; !twice {
				found[n] = foundFunction{f, m.name, f.Tagged || len(m.info.Census().Kfuncs) > 0}
			}
		}
	}
	return found
}

// census goes over the kernel's types once.
func (k *kernelTypes) census() *loader.TypeCensus {
	if k.counted == nil {
		k.counted = k.info.Census()
	}
	return k.counted
}

// readModules reads the type information of the modules that are loaded. One that cannot
// be read, or is unloaded meanwhile, is left out: what it has is then not found, and a
// thing of a module's that is not found is never more than a warning.
func (k *kernelTypes) readModules(ctx context.Context, root *sysfs.Root) {
	if k.listed {
		return
	}
	k.listed = true
	names, err := root.List(ctx, "/sys/kernel/btf")
	if err != nil {
		return
	}
	total := 0
	for _, n := range names {
		if n == "vmlinux" || total > maxModulesBTF {
			continue
		}
		b, err := root.Bytes(ctx, maxModuleBTF, "/sys/kernel/btf", n)
		if err != nil {
			continue
		}
		total += len(b)
		if info, err := loader.ReadTypeInfo(b, k.info); err == nil {
			k.modules = append(k.modules, moduleTypes{n, info})
		}
	}
}
