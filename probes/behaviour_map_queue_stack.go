package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var _ = behave(Behaviour{
	Name: "map_queue_stack",
	Doc: `Queues and stacks.
What comes out in which order, what an empty and a full one say, and that a forced push drops the oldest.`,
	Rests: "Documentation/bpf/map_queue_stack.rst: first in first out, last in first out; ENOENT, E2BIG, BPF_EXIST drops the oldest",
	Cases: []BehaviourCase{
		{Name: "queue", Doc: "first in, first out", Cost: time.Millisecond, Build: func() (Trial, error) { return queueLife(ebpf.Queue, 3, 4, 9) }},
		{Name: "stack", Doc: "last in, first out", Cost: time.Millisecond, Build: func() (Trial, error) { return queueLife(ebpf.Stack, 9, 4, 3) }},
	},
})

// push puts operand b plus n.
func (s *sheet) push(name string, n, flags int32, want unix.Errno) {
	s.setValue(n)
	s.add(arguments("map", stackValue)...)
	s.add(asm.Mov.Imm(asm.R3, flags), asm.FnMapPushElem.Call())
	s.result32(name, -int32(want))
}

// take pops or peeks. What comes is operand b plus n.
func (s *sheet) take(name string, how asm.BuiltinFunc, n int32, want unix.Errno) {
	s.add(arguments("map", stackValue)...)
	s.add(how.Call())
	s.result32(name, -int32(want))
	if want == 0 {
		s.add(asm.LoadMem(asm.R0, asm.R10, stackValue, asm.DWord))
		s.result(name+": value", asm.R0, asm.R1, plusB(n))
	}
}

// queueLife pushes 1, 3, 4 into three places, takes one out and forces 9 in: a queue then
// holds 3, 4, 9 and gives them in that order, a stack in the other.
func queueLife(typ ebpf.MapType, order ...int32) (Trial, error) {
	s := &sheet{maps: oneMap(ebpf.MapSpec{Type: typ, ValueSize: 8, MaxEntries: 3})}
	s.wipeKey()
	s.take("pop of an empty one", asm.FnMapPopElem, 0, unix.ENOENT)
	s.take("peek at an empty one", asm.FnMapPeekElem, 0, unix.ENOENT)
	for _, n := range []int32{1, 3, 4} {
		s.push("push", n, updateAny, 0)
	}
	s.push("push to a full one", 5, updateAny, unix.E2BIG)
	s.push("forced push", 9, updateExist, 0)
	s.take("peek", asm.FnMapPeekElem, order[0], 0)
	for _, n := range order {
		s.take("pop", asm.FnMapPopElem, n, 0)
	}
	s.take("pop of an emptied one", asm.FnMapPopElem, 0, unix.ENOENT)
	return s.trial([][2]uint64{{0, 0x7700000000}, {0, 1<<64 - 1}})
}
