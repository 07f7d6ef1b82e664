package probes

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/loader"
)

// miscFeatures lists what loaders ask for before they decide how to load.
func miscFeatures() []feature {
	out := []feature{
		{"misc/prog_name", "names of programs", func(c *censor) told {
			return c.program(loader.TryProg{Type: ebpf.SocketFilter, Insns: c.trivial})
		}},
		{"misc/global_data", "global data", askGlobalData},
		{"misc/memcg_accounting", "memory of BPF charged to the cgroup instead of RLIMIT_MEMLOCK", askMemcg},
		{"misc/bpf_cookie", "attach cookies", func(c *censor) told {
			return c.program(loader.TryProg{Type: ebpf.Kprobe, Insns: mustEncode(asm.FnGetAttachCookie.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return())})
		}},
		{"misc/probe_read_kernel", "reading of kernel memory by tracing programs", func(c *censor) told {
			t := c.program(loader.TryProg{Type: ebpf.TracePoint, Insns: probeReadKernel()})
			t.line = c.lockdown() + t.line
			return t
		}},
		{"misc/kfunc_call", "calls of kernel functions", askKfunc},
		{"misc/sleepable", "sleepable LSM programs", func(c *censor) told {
			p := progType{name: "lsm", typ: ebpf.LSM, attach: ebpf.AttachLSMMac, target: lsmTarget, targetIsFeature: true, flags: unix.BPF_F_SLEEPABLE}
			try, t := p.prepare(c)
			if t.line != "" {
				return t
			}
			return c.program(try)
		}},
	}
	return append(append(out, progFlags()...), commands()...)
}

func askGlobalData(c *censor) told {
	data, errno := newMap(ebpf.Array, 4, 32, 1, 0, 0)
	if errno != 0 {
		return told{unclear, "create array: " + errnoText(errno)}
	}
	defer unix.Close(data)
	return c.program(loader.TryProg{Type: ebpf.SocketFilter, Insns: mustEncode(
		asm.LoadMapValue(asm.R1, data, 16), asm.StoreImm(asm.R1, 0, 42, asm.Word), asm.Mov.Imm(asm.R0, 0), asm.Return())})
}

// askMemcg asks for bpf_ktime_get_coarse_ns: it came with the very release, 5.11,
// that began to charge BPF's memory to cgroups, which cannot be seen otherwise.
func askMemcg(c *censor) told {
	return c.program(loader.TryProg{Type: ebpf.SocketFilter, Insns: mustEncode(asm.FnKtimeGetCoarseNs.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return())})
}

func probeReadKernel() []byte {
	return mustEncode(asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -8), asm.Mov.Imm(asm.R2, 8), asm.Mov.Imm(asm.R3, 0),
		asm.FnProbeReadKernel.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return())
}

// askKfunc calls a pair of kernel functions that every type may call (6.2).
func askKfunc(c *censor) told {
	lock, err := c.target(kfuncTarget)
	if err != nil {
		return told{unclear, clipLine(err.Error())}
	}
	unlock, err := c.target(kfuncEndTarget)
	if err != nil {
		return told{unclear, clipLine(err.Error())}
	}
	call := func(id uint32) asm.Instruction {
		return asm.Instruction{OpCode: asm.Call.Op(asm.ImmSource), Src: asm.PseudoKfuncCall, Constant: int64(id)}
	}
	return c.program(loader.TryProg{Type: ebpf.SchedCLS, Insns: mustEncode(call(lock.id), call(unlock.id), asm.Mov.Imm(asm.R0, 0), asm.Return())})
}

// progFlags asks for flags of the load itself.
func progFlags() []feature {
	var out []feature
	for _, f := range []struct {
		name  string
		typ   ebpf.ProgramType
		flags uint32
	}{
		{"any_alignment", ebpf.SocketFilter, unix.BPF_F_ANY_ALIGNMENT},
		{"test_state_freq", ebpf.SocketFilter, unix.BPF_F_TEST_STATE_FREQ},
		{"test_reg_invariants", ebpf.SocketFilter, unix.BPF_F_TEST_REG_INVARIANTS},
		{"xdp_has_frags", ebpf.XDP, unix.BPF_F_XDP_HAS_FRAGS},
	} {
		out = append(out, feature{"prog_flag/" + f.name, "load flag " + f.name, func(c *censor) told {
			return c.program(loader.TryProg{Type: f.typ, Flags: f.flags, Insns: c.trivial})
		}})
	}
	return out
}

// commands asks for commands of bpf(2) by giving them a descriptor that cannot be
// open: a kernel that knows the command complains of it (EBADF), one that does not
// finds the call invalid. Nothing can come of such a call.
func commands() []feature {
	var out []feature
	for _, f := range []struct {
		name string
		cmd  uintptr
		fd   int // where the descriptor stands in the attribute
	}{
		{"prog_test_run", unix.BPF_PROG_TEST_RUN, 0},
		{"raw_tracepoint_open", unix.BPF_RAW_TRACEPOINT_OPEN, 8},
		{"map_lookup_and_delete_elem", unix.BPF_MAP_LOOKUP_AND_DELETE_ELEM, 0},
		{"map_freeze", unix.BPF_MAP_FREEZE, 0},
		{"map_lookup_batch", unix.BPF_MAP_LOOKUP_BATCH, 36},
		{"link_create", unix.BPF_LINK_CREATE, 0},
		{"link_update", unix.BPF_LINK_UPDATE, 0},
		{"iter_create", unix.BPF_ITER_CREATE, 0},
		{"link_detach", unix.BPF_LINK_DETACH, 0},
		{"prog_bind_map", unix.BPF_PROG_BIND_MAP, 0},
		{"token_create", cmdTokenCreate, 4},
		{"prog_stream_read", cmdProgStreamRead, 16},
	} {
		out = append(out, feature{"command/" + f.name, "bpf(2) command " + f.name, func(*censor) told {
			attr := make([]byte, 64)
			binary.NativeEndian.PutUint32(attr[f.fd:], ^uint32(0))
			_, errno := bpfCommand(f.cmd, attr)
			t := answerErrno(errno)
			if errno == unix.EBADF {
				t.answer = yes
			}
			return t
		}})
	}
	return out
}

// Commands of later headers (include/uapi/linux/bpf.h, enum bpf_cmd).
const (
	cmdTokenCreate    = 36 // 6.9
	cmdProgStreamRead = 37 // 6.17
)
