package probes

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// objectName is what every program of the census is called in audit records and
// in `bpftool prog`, for the microseconds that it lives.
const objectName = "lg_census"

// censor asks the questions of one census, one after the other. It keeps what
// the answers share: the log buffer, the kernel's type ids, the last helper.
type censor struct {
	btf     string // path of the kernel's type information
	try     *loader.Trier
	last    int    // highest helper id, 0 until it is known
	level   uint32 // level of the log, 0 until it is known
	targets map[string]btfTarget
	noBTF   error // why there are no targets
	locked  string
	phrases phrases

	trivial    []byte // r0 = 0; exit
	returnOne  []byte // r0 = 1; exit, which some attach types demand and the rest allow
	callHelper []byte // call #; r0 = r1; exit, see answerHelper
}

func newCensor(btf string) *censor {
	return &censor{
		btf:        btf,
		phrases:    phrases{},
		trivial:    mustEncode(asm.Mov.Imm(asm.R0, 0), asm.Return()),
		returnOne:  mustEncode(asm.Mov.Imm(asm.R0, 1), asm.Return()),
		callHelper: mustEncode(asm.BuiltinFunc(0).Call(), asm.Mov.Reg(asm.R0, asm.R1), asm.Return()),
	}
}

// mustEncode encodes instructions that are spelled out in this package. One that
// cannot be encoded is a fault of the program and not of its input.
func mustEncode(insns ...asm.Instruction) []byte {
	b, err := loader.EncodeInsns(insns)
	if err != nil {
		panic(fmt.Sprintf("census: %v", err))
	}
	return b
}

// trier is made on first use: the process that only plans the steps needs no
// log buffer.
func (c *censor) trier() *loader.Trier {
	if c.try == nil {
		c.try = loader.NewTrier()
	}
	return c.try
}

func (c *censor) step(id string, cost time.Duration, ask func() snapshot.Subject) source.Step {
	return source.Step{
		Group: censusGroup, Name: id, Kind: featureKind, ID: id, Cost: cost,
		Run: func(ctx context.Context, h source.Host) []snapshot.Subject {
			c.readLockdown(ctx, h)
			return []snapshot.Subject{ask()}
		},
	}
}

// readLockdown keeps the lockdown mode: under confidentiality the kernel refuses
// the helpers that read its memory, which no line of the verifier's says.
func (c *censor) readLockdown(ctx context.Context, h source.Host) {
	if c.locked != "" || h.Root == nil {
		return
	}
	c.locked = "unknown"
	text, err := h.Root.Attr(ctx, "/sys/kernel/security/lockdown")
	if err != nil {
		return
	}
	if _, rest, ok := strings.Cut(text, "["); ok {
		c.locked, _, _ = strings.Cut(rest, "]")
	}
}

// release is the running kernel's, as uname gives it.
func (c *censor) release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// lockdown is a line of evidence, or "" where nothing is locked down.
func (c *censor) lockdown() string {
	switch c.locked {
	case "integrity", "confidentiality":
		return "kernel lockdown: " + c.locked + "\n"
	}
	return ""
}

// program asks whether a program that is right in every other respect is taken.
func (c *censor) program(p loader.TryProg) told {
	p.Name = objectName
	return answerProgram(c.trier().Prog(p))
}

// target finds the first of the names in the kernel's type information. All
// targets that any question needs are looked up at once, on first use. What was
// found before the information turned out damaged is good.
func (c *censor) target(names []targetName) (btfTarget, error) {
	if c.targets == nil {
		c.targets, c.noBTF = readTargets(c.btf, allTargets())
	}
	for _, n := range names {
		if t, ok := c.targets[n.key()]; ok {
			return t, nil
		}
	}
	if c.noBTF != nil {
		return btfTarget{}, c.noBTF
	}
	return btfTarget{}, fmt.Errorf("%s: %w", names[0].name, errNoTarget)
}

// readTargets opens the file by itself because it is read in pieces: all of it
// would be the greater part of the memory that the whole check may take.
func readTargets(path string, wanted []targetName) (map[string]btfTarget, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return map[string]btfTarget{}, fmt.Errorf("%w (%s)", errNoBTF, path)
	}
	if err != nil {
		return map[string]btfTarget{}, fmt.Errorf("read BTF: %w", err)
	}
	defer f.Close()
	return scanBTF(f, wanted)
}
