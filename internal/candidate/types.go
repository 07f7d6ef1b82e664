package candidate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/loader"
)

// runningBTF is the running kernel's type information.
const runningBTF = "/sys/kernel/btf/vmlinux"

// maxBTF bounds it; Debian's has some 6 MB.
const maxBTF = 256 << 20

// types asks whether the candidate's types have what the objects' programs reach for.
// What the running kernel lacks as well is no regression.
func (r *reader) types(ctx context.Context, objects []string) {
	if r.files.Image == "" {
		r.gap(typeMissing, "the candidate's image is not at hand", false)
		return
	}
	b, err := readBTF(ctx, r.files.Image)
	if errors.Is(err, errNoBTF) {
		r.add(typeMissing, snapshot.Finding{Severity: snapshot.Warning, Subject: r.subject("btf"), New: text("none"),
			Message: fmt.Sprintf("%s has no type information: programs that are built once for many kernels cannot be loaded", r.files.Release)})
		return
	}
	if err != nil {
		r.gap(typeMissing, err.Error(), true)
		return
	}
	then, err := loader.ReadKernel(bytes.NewReader(b))
	if err != nil {
		r.gap(typeMissing, err.Error(), true)
		return
	}
	now, err := r.running(ctx)
	if err != nil {
		r.unread(typeMissing, err)
	}
	for _, o := range objects {
		if err := r.object(o, then, now); err != nil {
			r.gap(typeMissing, fmt.Sprintf("%s: %v", filepath.Base(o), err), true)
		}
	}
}

// running is nil where the running kernel has no type information to compare with.
func (r *reader) running(ctx context.Context) (*loader.Kernel, error) {
	b, err := r.host.Root.Bytes(ctx, maxBTF, runningBTF)
	if sysfs.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return loader.ReadKernel(bytes.NewReader(b))
}

func (r *reader) object(name string, then, now *loader.Kernel) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lacks, err := then.Lacks(bytes.NewReader(b))
	if err != nil || len(lacks) == 0 {
		return err
	}
	var before []loader.Need
	if now != nil {
		if before, err = now.Lacks(bytes.NewReader(b)); err != nil {
			return err
		}
	}
	var gone, neither []string
	for _, n := range lacks {
		if slices.Contains(before, n) {
			neither = append(neither, n.String())
		} else {
			gone = append(gone, n.String())
		}
	}
	object := filepath.Base(name)
	if len(gone) > 0 {
		f := snapshot.Finding{Subject: r.subject("btf/" + object), New: text(strings.Join(gone, ", ")), Message: fmt.Sprintf("%s reaches for what %s does not have: %s", object, r.files.Release, strings.Join(gone, ", ")),
			Hint: "its agent will not start on this kernel, or not do all that it does now"}
		if now == nil {
			f.Severity = snapshot.Warning
			f.Message += " (the running kernel's types cannot be read, so this may be so already)"
		}
		r.add(typeMissing, f)
	}
	if len(neither) > 0 {
		r.add(typeMissing, snapshot.Finding{Severity: snapshot.Info, Subject: r.subject("btf/" + object + "/now"), New: text(strings.Join(neither, ", ")),
			Message: fmt.Sprintf("%s reaches for what neither kernel has: %s", object, strings.Join(neither, ", "))})
	}
	return nil
}
