package candidate

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// earlyMicrocode is where the kernel looks for microcode before it unpacks anything
// (Documentation/arch/x86/microcode.rst).
const earlyMicrocode = "kernel/x86/microcode/"

// microcode asks whether the candidate's initramfs brings microcode as the running
// kernel's does: without it the CPU falls back to what the firmware has, and with it the
// mitigations. What was never there is no regression.
func (r *reader) microcode(ctx context.Context) {
	if r.files.Initramfs == "" || !r.host.Root.Live() {
		return // of a recorded host there is no initramfs to compare with
	}
	release, err := r.host.Root.Attr(ctx, "/proc/sys/kernel/osrelease")
	if err != nil {
		r.unread(microcodeLost, err)
		return
	}
	for _, name := range []string{"/boot/initrd.img-" + release, "/boot/initramfs-" + release + ".img", "/boot/initrd-" + release} {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		now, err := listInitramfs(name)
		if err != nil {
			r.gap(microcodeLost, err.Error(), false)
			return
		}
		then, err := r.initramfs()
		if err != nil {
			return // said by rootDisk
		}
		r.compareMicrocode(now, then)
		return
	}
}

func (r *reader) compareMicrocode(now, then []string) {
	has := func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(strings.TrimPrefix(n, "./"), earlyMicrocode) })
	}
	if has(now) && !has(then) {
		r.add(microcodeLost, snapshot.Finding{Subject: r.subject("microcode"), Old: text("in the initramfs"), New: text("not there"),
			Message: fmt.Sprintf("the initramfs of %s has no microcode, the running kernel's has: mitigations that need it will be off", r.files.Release),
			Hint:    "install intel-microcode or amd64-microcode, then update-initramfs -u -k " + r.files.Release})
	}
}
