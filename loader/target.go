package loader

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// target is what a program attaches to, as the verifier wants to know it.
type target struct {
	id     uint32      // attach_btf_id
	objFD  uint32      // attach_btf_obj_fd or attach_prog_fd, 0 for the kernel
	module *btf.Handle // keeps objFD open, nil for the kernel
	member Opt[uint32] // index of a struct_ops member, goes where the attach type goes
}

// findTarget resolves AttachTo and AttachTarget. Program types that attach to no
// BTF object may name anything in AttachTo; it means nothing to the verifier.
func (l *load) findTarget(spec *ebpf.ProgramSpec) (target, error) {
	if spec.AttachTarget != nil {
		return l.findInProgram(spec)
	}
	if spec.AttachTo == "" {
		return target{}, nil
	}
	if spec.Type == ebpf.StructOps {
		return l.findMember(spec.AttachTo)
	}
	name, typ := targetType(spec)
	if typ == nil {
		return target{}, nil
	}
	found, module, err := l.findInKernel(name, &typ)
	if err != nil {
		return target{}, targetError(spec, err)
	}
	id, err := found.TypeID(typ)
	if err != nil {
		module.Close()
		return target{}, targetError(spec, err)
	}
	return inModule(uint32(id), module), nil
}

func inModule(id uint32, module *btf.Handle) target {
	t := target{id: id, module: module}
	if module != nil {
		t.objFD = uint32(module.FD())
	}
	return t
}

func targetError(spec *ebpf.ProgramSpec, err error) error {
	reason := ReasonUnsupported
	if errors.Is(err, btf.ErrNotSupported) {
		reason = ReasonBTF
	}
	return relocateError(reason, "attach %s %s to %s: %w", spec.Type, spec.AttachType, spec.AttachTo, err)
}

// targetType returns the name and the kind of type by which the kernel knows what
// spec attaches to; a nil kind for program types that need none.
func targetType(spec *ebpf.ProgramSpec) (string, btf.Type) {
	name := spec.AttachTo
	switch spec.Type {
	case ebpf.LSM:
		return "bpf_lsm_" + name, (*btf.Func)(nil)
	case ebpf.Tracing:
		switch spec.AttachType {
		case ebpf.AttachTraceIter:
			return "bpf_iter_" + name, (*btf.Func)(nil)
		case ebpf.AttachTraceRawTp:
			return "btf_trace_" + name, (*btf.Typedef)(nil)
		case ebpf.AttachTraceFEntry, ebpf.AttachTraceFExit, ebpf.AttachModifyReturn:
			return name, (*btf.Func)(nil)
		}
	}
	return "", nil
}

// findMember resolves `OPS:MEMBER` of a struct_ops program.
func (l *load) findMember(attachTo string) (target, error) {
	ops, member, _ := strings.Cut(attachTo, ":")
	if member == "" {
		return target{}, badRequest(PhaseOpen, ReasonUnsupported, "struct_ops program attaches to %q, not to OPS:MEMBER", attachTo)
	}
	typ := btf.Type((*btf.Struct)(nil))
	found, module, err := l.findInKernel(ops, &typ)
	if err != nil {
		return target{}, relocateError(ReasonUnsupported, "find struct_ops %s: %w", ops, err)
	}
	id, err := found.TypeID(typ)
	if err != nil {
		module.Close()
		return target{}, relocateError(ReasonBTF, "find struct_ops %s: %w", ops, err)
	}
	for i, m := range typ.(*btf.Struct).Members {
		if m.Name == member {
			t := inModule(uint32(id), module)
			t.member = Some(uint32(i))
			return t, nil
		}
	}
	module.Close()
	return target{}, relocateError(ReasonUnsupported, "struct_ops %s has no member %s", ops, member)
}

// findInProgram resolves a function of another loaded program.
func (l *load) findInProgram(spec *ebpf.ProgramSpec) (target, error) {
	fd := spec.AttachTarget.FD()
	fail := func(err error) (target, error) {
		return target{}, relocateError(ReasonBTF, "attach to %s of program %s: %w", spec.AttachTo, spec.AttachTarget, err)
	}
	// Not Program.Handle: it asks for the whole program information.
	info, _, errno := progInfo(l.bpf, fd)
	if errno != 0 {
		return fail(fmt.Errorf("read info: %w", errno))
	}
	if info.btfID == 0 {
		return fail(errors.New("it has no type information"))
	}
	handle, err := btf.NewHandleFromID(btf.ID(info.btfID))
	if err != nil {
		return fail(err)
	}
	defer handle.Close()
	types, err := handle.Spec(nil)
	if err != nil {
		return fail(err)
	}
	var fn *btf.Func
	if err := types.TypeByName(spec.AttachTo, &fn); err != nil {
		return fail(err)
	}
	id, err := types.TypeID(fn)
	if err != nil {
		return fail(err)
	}
	return target{id: uint32(id), objFD: uint32(fd)}, nil
}

// findInKernel looks a named type up in the kernel, then in its modules in the
// order they were loaded. The handle is the module's, nil for the kernel.
func (l *load) findInKernel(name string, typ *btf.Type) (*btf.Spec, *btf.Handle, error) {
	kernel, err := l.req.Types.Kernel()
	if err != nil {
		return nil, nil, fmt.Errorf("read kernel types: %w", err)
	}
	err = kernel.TypeByName(name, typ)
	if !errors.Is(err, btf.ErrNotFound) {
		return kernel, nil, err
	}
	it := new(btf.HandleIterator)
	defer func() { it.Handle.Close() }()
	for it.Next() {
		info, err := it.Handle.Info()
		if err != nil {
			return nil, nil, fmt.Errorf("read info of BTF %d: %w", it.ID, err)
		}
		if !info.IsModule() {
			continue
		}
		spec, err := l.req.Types.Module(info.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("read types of module %s: %w", info.Name, err)
		}
		if err := spec.TypeByName(name, typ); err == nil {
			return spec, it.Take(), nil
		} else if !errors.Is(err, btf.ErrNotFound) {
			return nil, nil, fmt.Errorf("find %s in module %s: %w", name, info.Name, err)
		}
	}
	// Without CAP_SYS_ADMIN modules cannot be listed, which is not "not found".
	if err := it.Err(); err != nil {
		return nil, nil, fmt.Errorf("list modules: %w", err)
	}
	return nil, nil, fmt.Errorf("find %s: %w", name, btf.ErrNotFound)
}
