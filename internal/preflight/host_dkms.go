package preflight

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func dkmsChecks() []Check {
	return []Check{{Code: "dkms-not-built", Title: "modules built by DKMS are there for the candidate", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Doc: "A driver or file system that DKMS built for this kernel and not for the next is gone after the reboot.", Run: checkDKMS}}
}

const dkmsTree = "/var/lib/dkms"

func checkDKMS(ctx context.Context, h source.Host, t Target) (fs []snapshot.Finding, gaps []snapshot.Gap) {
	names, err := h.Root.List(ctx, dkmsTree)
	if sysfs.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	if !safeRelease(t.Release) || !safeRelease(t.Running) {
		return nil, []snapshot.Gap{gap("modules built by DKMS: the candidate's or the running kernel's release is not known")}
	}
	text, loadedKnown, err := readText(ctx, h.Root, "/proc/modules")
	if err != nil || !loadedKnown {
		gaps = append(gaps, gap("whether modules built by DKMS are loaded: /proc/modules could not be read"))
	}
	for _, name := range names {
		now, nerr := dkmsModules(ctx, h.Root, name, t.Running)
		then, terr := dkmsModules(ctx, h.Root, name, t.Release)
		if err := first(nerr, terr); err != nil {
			gaps = append(gaps, unread(err))
			continue
		}
		if len(now) == 0 || len(then) > 0 {
			continue
		}
		fs = append(fs, dkmsFinding(name, now, text, t))
	}
	return fs, gaps
}

func dkmsFinding(name string, modules []string, loaded string, t Target) snapshot.Finding {
	f := snapshot.Finding{Subject: snapshot.SubjectRef{Kind: "kernel.module", ID: name}, Evidence: strings.Join(modules, " "),
		Message: fmt.Sprintf("DKMS has built %s for %s and not for %s", name, t.Running, t.Release),
		Hint:    "install the headers of " + t.Release + " and build it: dkms autoinstall -k " + t.Release}
	for line := range strings.Lines(loaded) {
		module, _, _ := strings.Cut(line, " ")
		if slices.Contains(modules, module) {
			f.Severity = snapshot.Critical
			f.Message += ", and " + module + " is in use now"
			break
		}
	}
	return f
}

// dkmsModules are the modules that DKMS built of a package for a kernel, any version of it:
// MODULE/VERSION/KERNEL/ARCH/module/NAME.ko. Names are as the kernel shows them.
func dkmsModules(ctx context.Context, root *sysfs.Root, name, release string) ([]string, error) {
	var out []string
	versions, err := listDir(ctx, root, path.Join(dkmsTree, name))
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if strings.HasPrefix(v, "kernel-") { // a link to one of the built ones
			continue
		}
		built := path.Join(dkmsTree, name, v, release)
		arches, err := listDir(ctx, root, built)
		if err != nil {
			return nil, err
		}
		for _, a := range arches {
			files, err := listDir(ctx, root, path.Join(built, a, "module"))
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				if base, _, ko := strings.Cut(f, ".ko"); ko {
					out = append(out, strings.ReplaceAll(base, "-", "_"))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// listDir lists a folder; what is not there or is no folder holds nothing.
func listDir(ctx context.Context, root *sysfs.Root, name string) ([]string, error) {
	names, err := root.List(ctx, name)
	if sysfs.Absent(err) || notDir(err) {
		return nil, nil
	}
	return names, err
}
