package loader

import (
	"errors"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// resolveKfuncs fills in the calls of kernel functions. It reports true when the
// program refers to something outside itself that only the library can resolve,
// because the reference is kept in private metadata: a kernel variable, a
// __kconfig value, or a function this kernel lacks, which may be declared weak.
func (l *load) resolveKfuncs(p *linkedProgram) (viaLibrary bool, err error) {
	insns := p.spec.Instructions
	for i := range insns {
		if external(&insns[i]) {
			return true, nil
		}
	}
	for i := range insns {
		name := insns[i].Reference()
		if !insns[i].IsKfuncCall() || name == "" {
			continue
		}
		typ := btf.Type((*btf.Func)(nil))
		spec, module, err := l.findInKernel(name, &typ)
		if errors.Is(err, btf.ErrNotFound) || errors.Is(err, btf.ErrNotSupported) {
			p.dropModules()
			return true, nil
		}
		if errors.Is(err, unix.EPERM) {
			return false, relocateError(ReasonPermission, "find kfunc %s: %w", name, err)
		}
		if err != nil {
			return false, relocateError(ReasonKfunc, "find kfunc %s: %w", name, err)
		}
		id, err := spec.TypeID(typ)
		if err != nil {
			module.Close()
			return false, relocateError(ReasonBTF, "find kfunc %s: %w", name, err)
		}
		insns[i].Constant = int64(id)
		insns[i].Offset = int16(p.addModule(module))
	}
	return false, nil
}

// addModule returns the place of a module's BTF in fd_array, 0 for the kernel.
func (p *linkedProgram) addModule(module *btf.Handle) int {
	if module == nil {
		return 0
	}
	p.modules = append(p.modules, module)
	return len(p.modules)
}

// dropModules forgets what was resolved, for the library to do it all.
func (p *linkedProgram) dropModules() {
	for _, m := range p.modules {
		m.Close()
	}
	p.modules = nil
}

// external tells whether ins loads the address of something the kernel owns: a
// double-word constant with a name that is neither a map nor a function of the
// program, or a map value without a map or a descriptor, as __kconfig variables are.
func external(ins *asm.Instruction) bool {
	if !ins.OpCode.IsDWordLoad() {
		return false
	}
	if ins.IsLoadFromMap() {
		return ins.Src == asm.PseudoMapValue && ins.Reference() == "" && ins.Map() == nil && uint32(ins.Constant) == 0
	}
	return ins.Reference() != "" && !ins.IsLoadOfFunctionPointer()
}
