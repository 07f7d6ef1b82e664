package preflight

import (
	"context"
	"fmt"
	"path"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

func spaceChecks(sys calls) []Check {
	return []Check{{Code: "boot-space-low", Title: "/boot has room for one more kernel", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
		Doc: "A full /boot cuts off the next initramfs that is written, which is found at the reboot after.", Run: sys.checkSpace}}
}

// checkSpace asks for room for one more image and initramfs of the size that the candidate's
// have, or the next entry's where the candidate is not known.
func (sys calls) checkSpace(ctx context.Context, h source.Host, t Target) ([]snapshot.Finding, []snapshot.Gap) {
	files := toBoot(ctx, h, t)
	if len(files) == 0 {
		return nil, []snapshot.Gap{gap("no kernel is known whose size could be taken as the measure")}
	}
	b := files[len(files)-1]
	need := int64(0)
	for _, name := range append([]string{b.image}, b.initrd...) {
		if name == "" {
			continue
		}
		f, err := sys.stat(ctx, h.Root, name)
		if err != nil {
			return nil, []snapshot.Gap{gap("the room that a kernel needs: " + err.Error())}
		}
		need += f.size
	}
	dir := "/boot"
	if len(b.initrd) > 0 {
		dir = path.Dir(b.initrd[0])
	}
	free, err := sys.free(ctx, h.Root, dir)
	if err != nil {
		return nil, []snapshot.Gap{gap("the room on " + dir + ": " + err.Error())}
	}
	if need == 0 || free >= uint64(need) {
		return nil, nil
	}
	return []snapshot.Finding{{Subject: snapshot.SubjectRef{Kind: "service.mount", ID: dir},
		Message:  fmt.Sprintf("%s has %d MiB free; one more kernel with its initramfs takes %d MiB", dir, free>>20, need>>20),
		Evidence: fmt.Sprintf("free %d bytes, needed %d", free, need),
		Hint:     "remove kernels that are not needed: apt autoremove --purge, or dnf remove --oldinstallonly; keep the last good one"}}, nil
}
