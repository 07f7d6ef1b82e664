package netlab

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestInterfaces: the interfaces of the namespace with the program of a filter, and no
// program once the filter is off.
func TestInterfaces(t *testing.T) {
	l := openLab(t)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "tn_filter", Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		t.Skip("this host loads no BPF programs: ", err)
	}
	defer prog.Close()
	l.Do(func() {
		pair, err := Veth("a", "b", 1)
		if err != nil {
			t.Error(err)
			return
		}
		for _, egress := range []bool{false, true} {
			detach, err := Clsact(pair.A.Index, prog.FD(), egress)
			if err != nil {
				t.Error(err)
				return
			}
			with := interfaces(t)
			in, out := len(with["a"].Ingress), len(with["a"].Egress)
			if in+out != 1 || (out == 1) != egress || len(with["b"].Ingress)+len(with["b"].Egress) != 0 {
				t.Errorf("with a filter, egress %v: %+v", egress, with)
			}
			if err := detach(); err != nil {
				t.Error(err)
			}
			if a := interfaces(t)["a"]; len(a.Ingress)+len(a.Egress) != 0 || a.Index != pair.A.Index {
				t.Errorf("without a filter: %+v", a)
			}
		}
	})
}

func interfaces(t *testing.T) map[string]Interface {
	t.Helper()
	all, err := Interfaces(t.Context())
	if err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(all, func(i Interface) bool { return i.Name == "lo" }) {
		t.Errorf("no loopback among %+v", all)
	}
	out := map[string]Interface{}
	for _, i := range all {
		out[i.Name] = i
	}
	return out
}
