package boot

import (
	"cmp"
	"context"
	"strings"

	"lastgood/internal/sysfs"
)

// identitySysctls are the settings that change what the verifier or the JIT makes
// of a program. Those of net.core exist in the first network namespace only.
var identitySysctls = []string{
	"kernel.bpf_stats_enabled",
	"kernel.unprivileged_bpf_disabled",
	"net.core.bpf_jit_enable",
	"net.core.bpf_jit_harden",
	"net.core.bpf_jit_kallsyms",
	"net.core.bpf_jit_limit",
}

// sysctls reads identitySysctls by their names.
func sysctls(ctx context.Context, root *sysfs.Root) (map[string]int64, error) {
	var m map[string]int64
	var failed error
	for _, name := range identitySysctls {
		n, err := root.Int(ctx, sysctlPath(name))
		switch {
		case err == nil:
			if m == nil {
				m = map[string]int64{}
			}
			m[name] = n
		case !sysfs.Absent(err):
			failed = cmp.Or(failed, err)
		}
	}
	return m, failed
}

func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// PanicOnWarn reports whether a warning of the kernel's brings the machine down
// (kernel.panic_on_warn). Any error means that it could not be told; that the
// file is not there is one as well, sysfs.Absent tells it.
func PanicOnWarn(ctx context.Context, root *sysfs.Root) (bool, error) {
	n, err := root.Int(ctx, sysctlPath("kernel.panic_on_warn"))
	return n != 0, err
}
