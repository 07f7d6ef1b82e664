package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// linkedProgram is a program ready for the kernel.
type linkedProgram struct {
	spec  *ebpf.ProgramSpec // never changed unless it is a private copy
	insns []byte
	kern  kernelVersion

	types    *btf.Handle // the program's own BTF, may be nil
	funcInfo []byte
	lineInfo []byte

	target     target
	modules    []*btf.Handle // BTF of modules whose kfuncs are called
	viaLibrary bool          // only the library can resolve what it refers to
}

func (p *linkedProgram) close() {
	p.types.Close()
	p.target.module.Close()
	for _, m := range p.modules {
		m.Close()
	}
}

// slots is the number of 8-byte instructions.
func (p *linkedProgram) slots() int {
	if p.viaLibrary {
		return int(p.spec.Instructions.Size() / insnSize)
	}
	return len(p.insns) / insnSize
}

// keepAlive holds everything the kernel got as a mere number until the call is over.
func (p *linkedProgram) keepAlive() { runtime.KeepAlive(p) }

// linkError is a failure before the load, with the phase it belongs to.
type linkError struct {
	phase  Phase
	reason Reason
	// ours tells that the request is at fault, so nothing was learnt of the kernel.
	ours bool
	err  error
}

func (e *linkError) Error() string { return e.err.Error() }
func (e *linkError) Unwrap() error { return e.err }

func badRequest(phase Phase, reason Reason, format string, args ...any) error {
	return &linkError{phase: phase, reason: reason, ours: true, err: fmt.Errorf(format, args...)}
}

func relocateError(reason Reason, format string, args ...any) error {
	return &linkError{phase: PhaseRelocate, reason: reason, err: fmt.Errorf(format, args...)}
}

// link resolves everything the program refers to: types, maps, kfuncs and the
// target it attaches to.
func (l *load) link() (_ *linkedProgram, err error) {
	spec := l.req.Spec
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	p := &linkedProgram{spec: spec, kern: l.kernel}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if refers(spec.Instructions) || l.kernel.before(5, 5) {
		p.spec = spec.Copy()
		if err := l.resolve(p); err != nil {
			return nil, err
		}
	}
	if p.viaLibrary {
		return p, nil
	}
	if p.target, err = l.findTarget(p.spec); err != nil {
		return nil, err
	}
	if p.insns, err = EncodeInsns(p.spec.Instructions); err != nil {
		return nil, badRequest(PhaseOpen, ReasonInstruction, "%w", err)
	}
	return p, nil
}

// refers tells whether any instruction has metadata: a name, a reference, type
// information. Without, there is nothing to resolve and no need for a copy.
func refers(insns asm.Instructions) bool {
	for i := range insns {
		if insns[i].Metadata != (asm.Metadata{}) {
			return true
		}
	}
	return false
}

// resolve puts values in the place of references, in the private copy of the spec.
func (l *load) resolve(p *linkedProgram) (err error) {
	insns := p.spec.Instructions
	if err := bindMaps(insns, l.req.Maps); err != nil {
		return err
	}
	// Before anything is resolved: the library wants the references as they were.
	if p.viaLibrary, err = l.resolveKfuncs(p); err != nil || p.viaLibrary {
		return err
	}
	var types btf.Builder
	if err := l.relocate(insns, &types); err != nil {
		return err
	}
	l.oldProbeRead(insns)
	return l.describe(p, &types)
}

func checkSpec(spec *ebpf.ProgramSpec) error {
	switch {
	case spec == nil:
		return badRequest(PhaseOpen, ReasonUnknown, "no program given")
	case len(spec.Instructions) == 0:
		return badRequest(PhaseOpen, ReasonUnknown, "program %s has no instructions", spec.Name)
	case spec.ByteOrder != nil && spec.ByteOrder != nativeEndian:
		return badRequest(PhaseOpen, ReasonUnknown, "program %s is for %s machines", spec.Name, spec.ByteOrder)
	}
	return nil
}

// bindMaps puts maps in the place of references by name.
func bindMaps(insns asm.Instructions, maps map[string]*ebpf.Map) error {
	for i := range insns {
		ins := &insns[i]
		if !ins.IsLoadFromMap() || ins.Reference() == "" {
			continue
		}
		if m := maps[ins.Reference()]; m != nil {
			if err := ins.AssociateMap(m); err != nil {
				return badRequest(PhaseRelocate, ReasonMaps, "map %s at instruction %d: %w", ins.Reference(), i, err)
			}
		}
		if ins.Map() == nil {
			return badRequest(PhaseRelocate, ReasonMaps, "map %s at instruction %d is not given", ins.Reference(), i)
		}
	}
	return nil
}

// relocate applies CO-RE relocations against the kernel and its modules. A
// relocation without a target poisons its instruction; the verifier rejects that
// only if the instruction can be reached.
func (l *load) relocate(insns asm.Instructions, types *btf.Builder) error {
	var relos []*btf.CORERelocation
	var at []*asm.Instruction
	for i := range insns {
		if relo := btf.CORERelocationMetadata(&insns[i]); relo != nil {
			relos, at = append(relos, relo), append(at, &insns[i])
		}
	}
	if len(relos) == 0 {
		return nil
	}
	specs, err := l.kernelTypes()
	if err != nil {
		return relocateError(ReasonBTF, "read kernel types: %w", err)
	}
	fixups, err := btf.CORERelocate(relos, specs, nativeEndian, types.Add)
	if err != nil {
		return relocateError(ReasonBTF, "relocate: %w", err)
	}
	for i, fixup := range fixups {
		if err := fixup.Apply(at[i]); err != nil {
			return relocateError(ReasonBTF, "relocate %s: %w", relos[i], err)
		}
	}
	return nil
}

// kernelTypes returns the types of the kernel and, where there are any, of its modules.
func (l *load) kernelTypes() ([]*btf.Spec, error) {
	kernel, err := l.req.Types.Kernel()
	if err != nil {
		return nil, err
	}
	specs := []*btf.Spec{kernel}
	modules, err := l.req.Types.Modules()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range modules {
		spec, err := l.req.Types.Module(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // unloaded since, or built without BTF
		}
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", name, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// describe loads the program's own types and the tables of its functions and lines.
func (l *load) describe(p *linkedProgram, types *btf.Builder) error {
	funcs, lines, err := btf.MarshalExtInfos(p.spec.Instructions, types)
	if err != nil {
		return relocateError(ReasonBTF, "describe functions: %w", err)
	}
	if types.Empty() {
		return nil
	}
	if p.types, err = btf.NewHandle(types); err != nil {
		// func_info came with BTF_KIND_FUNC in 5.0 (838e96904ff3); a kernel
		// without either takes the program without its description.
		if l.kernel.before(5, 0) {
			p.types = nil
			return nil
		}
		return relocateError(ReasonBTF, "load program types: %w", err)
	}
	p.funcInfo, p.lineInfo = funcs, lines
	return nil
}

// oldProbeRead falls back to the helpers that were split up in 5.5 (6ae08ae3dea2).
func (l *load) oldProbeRead(insns asm.Instructions) {
	if !l.kernel.before(5, 5) {
		return
	}
	for i := range insns {
		if !insns[i].IsBuiltinCall() {
			continue
		}
		switch asm.BuiltinFunc(insns[i].Constant) {
		case asm.FnProbeReadKernel, asm.FnProbeReadUser:
			insns[i].Constant = int64(asm.FnProbeRead)
		case asm.FnProbeReadKernelStr, asm.FnProbeReadUserStr:
			insns[i].Constant = int64(asm.FnProbeReadStr)
		}
	}
}

// attr fills the attribute. What it points to stays pinned for the life of pin.
func (p *linkedProgram) attr(pin *runtime.Pinner) *progLoadAttr {
	a := &progLoadAttr{
		progType:           uint32(p.spec.Type),
		insnCnt:            uint32(len(p.insns) / insnSize),
		insns:              address(pin, p.insns),
		license:            address(pin, cString(p.spec.License)),
		kernVersion:        p.spec.KernelVersion,
		progFlags:          p.spec.Flags,
		progName:           objName(p.spec.Name),
		progIfindex:        p.spec.Ifindex,
		expectedAttachType: uint32(p.spec.AttachType),
		attachBTFID:        p.target.id,
		attachBTFObjFD:     p.target.objFD,
	}
	if p.target.member.Set {
		a.expectedAttachType = p.target.member.V
	}
	if p.spec.Type == ebpf.Kprobe && p.kern.before(5, 0) {
		a.kernVersion = p.kern.code()
	}
	if p.types != nil {
		a.progBTFFD = uint32(p.types.FD())
	}
	if len(p.funcInfo) > 0 {
		a.funcInfoRecSize = btf.FuncInfoSize
		a.funcInfoCnt = uint32(len(p.funcInfo)) / btf.FuncInfoSize
		a.funcInfo = address(pin, p.funcInfo)
	}
	if len(p.lineInfo) > 0 {
		a.lineInfoRecSize = btf.LineInfoSize
		a.lineInfoCnt = uint32(len(p.lineInfo)) / btf.LineInfoSize
		a.lineInfo = address(pin, p.lineInfo)
	}
	if len(p.modules) > 0 {
		fds := []int32{0} // 0 stands for the kernel itself
		for _, m := range p.modules {
			fds = append(fds, int32(m.FD()))
		}
		pin.Pin(&fds[0])
		a.fdArray = uint64(uintptr(unsafe.Pointer(&fds[0])))
	}
	return a
}
