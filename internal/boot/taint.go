package boot

import (
	"context"
	"fmt"
	"math/bits"
	"strconv"

	"lastgood/internal/sysfs"
)

// taintFlags are the kernel's taint flags by bit: taint_flags in kernel/panic.c.
var taintFlags = []struct{ letter, meaning string }{
	{"P", "proprietary module loaded"},
	{"F", "module loaded by force"},
	{"S", "system out of specification"},
	{"R", "module unloaded by force"},
	{"M", "machine check"},
	{"B", "bad page"},
	{"U", "set by user space"},
	{"D", "oops or BUG"},
	{"A", "ACPI table overridden"},
	{"W", "kernel warning"},
	{"C", "staging driver loaded"},
	{"I", "workaround for a firmware fault"},
	{"O", "out-of-tree module loaded"},
	{"E", "unsigned module loaded"},
	{"L", "soft lockup"},
	{"K", "live patch applied"},
	{"X", "auxiliary, set by the distribution"},
	{"T", "structure layout randomised"},
	{"N", "in-kernel test run"},
	{"J", "firmware debug interface used"},
}

// Taint is the kernel's taint mask, /proc/sys/kernel/tainted. Flags stay set until
// the next boot. An error means that it could not be told; sysfs.Absent tells that
// the file is not there.
func Taint(ctx context.Context, root *sysfs.Root) (uint64, error) {
	const name = "/proc/sys/kernel/tainted"
	s, err := root.Attr(ctx, name)
	if err != nil {
		return 0, err
	}
	mask, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: no taint mask", name)
	}
	return mask, nil
}

func taintFact(ctx context.Context, root *sysfs.Root) (*uint64, error) {
	mask, err := Taint(ctx, root)
	if err != nil {
		return nil, err
	}
	return &mask, nil
}

// TaintFlags names the flags of a taint mask in order of their bits, each as its
// letter and what it means: "W (kernel warning)". A bit of a later kernel is
// "bit N".
func TaintFlags(mask uint64) []string {
	var out []string
	for ; mask != 0; mask &= mask - 1 {
		bit := bits.TrailingZeros64(mask)
		if bit >= len(taintFlags) {
			out = append(out, fmt.Sprintf("bit %d", bit))
			continue
		}
		out = append(out, taintFlags[bit].letter+" ("+taintFlags[bit].meaning+")")
	}
	return out
}
