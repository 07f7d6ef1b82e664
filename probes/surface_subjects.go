package probes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/loader"
)

// typeSubjects are of what CO-RE relocations name.
func (r *surface) typeSubjects(types *kernelTypes) []snapshot.Subject {
	var out []snapshot.Subject
	var kernel *loader.Kernel
	err := types.err
	if err == nil && len(r.needs) > 0 {
		if kernel, err = types.kernel(); err != nil {
			types = &kernelTypes{err: err}
		}
	}
	for n, u := range r.needs {
		s := snapshot.Subject{Kind: kindType, ID: n.What + "/" + n.Name, Label: n.String(), Outcome: snapshot.Measured}
		if err != nil {
			out = append(out, types.unsettled(s))
			continue
		}
		out = append(out, typeSubject(s, kernel, u))
	}
	return out
}

func typeSubject(s snapshot.Subject, kernel *loader.Kernel, u *typeUse) snapshot.Subject {
	available := true
	for i := range u.wants {
		if u.required && u.wants[i].Asked {
			continue // whoever cannot do without decides
		}
		has, layout, err := kernel.Has(&u.wants[i])
		if err != nil {
			return couldNotTell(s, err)
		}
		available = available && has
		if layout != "" {
			s.Set("layout", snapshot.Text(layout))
		}
	}
	s.Set("available", yesNo(available))
	s.Set("use", useOf(u.required))
	s.Set("users", usersOf(u.users))
	return s
}

func yesNo(is bool) snapshot.Value {
	if is {
		return snapshot.Text(hasIt)
	}
	return snapshot.Text(lacksIt)
}

// whereIs is the value for a function or tracepoint of type information.
func whereIs(name string, found map[string]foundFunction) snapshot.Value {
	f, ok := found[name]
	switch {
	case !ok:
		return snapshot.Text(lacksIt)
	case f.module != "":
		return snapshot.Text(inModule)
	}
	return snapshot.Text(hasIt)
}

func (r *surface) kfuncSubjects(ctx context.Context, types *kernelTypes) []snapshot.Subject {
	found := types.functions(ctx, r.root, slices.Collect(maps.Keys(r.kfuncs)))
	var out []snapshot.Subject
	for name, u := range r.kfuncs {
		s := snapshot.Subject{Kind: kindKfunc, ID: name, Outcome: snapshot.Measured}
		if types.err != nil {
			out = append(out, types.unsettled(s))
			continue
		}
		s.Set("available", whereIs(name, found))
		s.Set("use", useOf(u.required))
		s.Set("users", usersOf(u.users))
		if f, ok := found[name]; ok {
			s.Set("prototype", snapshot.Text(f.Prototype))
			if f.module != "" {
				s.Set("module", snapshot.Text(f.module))
			}
			if f.tags {
				s.Set("tagged", yesNo(f.Tagged))
			}
		}
		out = append(out, s)
	}
	return out
}

// tracepointPrefix is how type information calls a tracepoint's prototype.
const tracepointPrefix = "btf_trace_"

func (r *surface) tracepointSubjects(ctx context.Context, types *kernelTypes) []snapshot.Subject {
	raw, records := r.wanted(loader.AttachRawTracepoint), r.wanted(loader.AttachTracepoint)
	var typed []string
	for _, n := range raw {
		typed = append(typed, tracepointPrefix+n)
	}
	for _, n := range records {
		typed = append(typed, tracepointPrefix+n[strings.IndexByte(n, '/')+1:])
	}
	found := types.functions(ctx, r.root, typed)
	var out []snapshot.Subject
	for _, n := range raw {
		s := snapshot.Subject{Kind: kindTracepoint, ID: "raw/" + n, Label: n, Outcome: snapshot.Measured}
		if types.err != nil {
			out = append(out, types.unsettled(s))
			continue
		}
		s.Set("available", whereIs(tracepointPrefix+n, found))
		s.Set("users", usersOf(r.attach[loader.AttachWant{How: loader.AttachRawTracepoint, Name: n}].users))
		if f, ok := found[tracepointPrefix+n]; ok {
			s.Set("arguments", snapshot.List(handedOn(f.Prototype)...))
		}
		out = append(out, s)
	}
	if len(records) == 0 {
		return out
	}
	tracefs, err := tracefsOf(ctx, r.root)
	for _, n := range records {
		s := snapshot.Subject{Kind: kindTracepoint, ID: "record/" + n, Label: n, Outcome: snapshot.Measured}
		if err != nil {
			out = append(out, couldNotTell(s, err))
			continue
		}
		_, name, _ := strings.Cut(n, "/")
		f, typed := found[tracepointPrefix+name]
		foreign := types.err == nil && !strings.HasPrefix(n, "syscalls/") && (!typed || f.module != "")
		out = append(out, r.recordSubject(ctx, s, tracefs, n, foreign))
	}
	return out
}

// recordSubject is of one record. One that is foreign is not the kernel image's own: the
// events of system calls have no tracepoint of their own name, all others have.
func (r *surface) recordSubject(ctx context.Context, s snapshot.Subject, tracefs, name string, foreign bool) snapshot.Subject {
	s.Set("users", usersOf(r.attach[loader.AttachWant{How: loader.AttachTracepoint, Name: name}].users))
	fields, err := recordFields(ctx, r.root, tracefs, name)
	switch {
	case sysfs.Absent(err):
		s.Set("available", snapshot.Text(lacksIt))
		return s
	case err != nil:
		return couldNotTell(s, err)
	case foreign:
		s.Set("available", snapshot.Text(inModule))
	default:
		s.Set("available", snapshot.Text(hasIt))
	}
	s.Set("fields", snapshot.List(fields...))
	return s
}

// symbolAnswer is what the lists of symbols say; each has an error of its own.
type symbolAnswer struct {
	symbols, traceable       *symbolTable
	symbolsErr, traceableErr error
}

// Symbols are looked for among 100,000 and more, only where programs are attached to some.
func (r *surface) readSymbols(ctx context.Context) symbolAnswer {
	var a symbolAnswer
	wanted := r.wanted(loader.AttachKprobe, loader.AttachKprobeMulti, loader.AttachFentry)
	if len(wanted) == 0 {
		return a
	}
	a.symbols, a.symbolsErr = readSymbols(ctx, r.root, wanted)
	tracefs, err := tracefsOf(ctx, r.root)
	if err == nil {
		a.traceable, err = readTraceable(ctx, r.root, tracefs, wanted)
	}
	a.traceableErr = err
	return a
}

func (r *surface) symbolSubjects(ctx context.Context, types *kernelTypes, found symbolAnswer) []snapshot.Subject {
	typedName := map[string]string{loader.AttachFentry: "", loader.AttachLSM: "bpf_lsm_", loader.AttachIter: "bpf_iter_"}
	var names []string
	for how, prefix := range typedName {
		for _, n := range r.wanted(how) {
			names = append(names, prefix+n)
		}
	}
	functions := types.functions(ctx, r.root, names)
	var out []snapshot.Subject
	for a, u := range r.attach {
		if a.How == loader.AttachTracepoint || a.How == loader.AttachRawTracepoint {
			continue
		}
		s := snapshot.Subject{Kind: kindSymbol, ID: a.How + "/" + a.Name, Label: a.Name, Outcome: snapshot.Measured}
		s.Set("attach", snapshot.Text(a.How))
		s.Set("users", usersOf(u.users))
		if prefix, ok := typedName[a.How]; ok && types.err == nil {
			s.Set("typed", whereIs(prefix+a.Name, functions))
		} else if ok {
			s.Fail("typed", types.err)
		}
		if a.How != loader.AttachLSM && a.How != loader.AttachIter {
			found.describe(&s, a.Name)
		}
		out = append(out, settled(s))
	}
	return out
}

// describe sets what the lists say of one name.
func (a *symbolAnswer) describe(s *snapshot.Subject, name string) {
	if a.symbolsErr != nil {
		s.Fail("symbol", a.symbolsErr)
	} else {
		f := a.symbols.get(name)
		s.Set("symbol", snapshot.Text(f.state()))
		s.Set("copies", snapshot.Int(f.own+f.modules))
		if f.state() == renamed {
			s.Set("called", snapshot.Text(f.suffixed))
		}
	}
	if a.traceableErr != nil {
		s.Fail("traceable", a.traceableErr)
		return
	}
	f := a.traceable.get(name)
	s.Set("traceable", yesNo(f.own+f.modules > 0))
}

// settled turns a subject of which nothing could be told into an inconclusive one.
func settled(s snapshot.Subject) snapshot.Subject {
	for _, attr := range []string{"symbol", "typed", "traceable"} {
		if _, ok := s.Attrs[attr]; ok {
			return s
		}
	}
	var all []error
	for _, attr := range slices.Sorted(maps.Keys(s.Errs)) {
		all = append(all, fmt.Errorf("%s: %s", attr, s.Errs[attr]))
	}
	return couldNotTell(s, errors.Join(all...))
}
