package workload

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// variant is an object's version in its name: bpf_execve_event_v61.o is for 6.1 and
// newer, v511 for 5.11. The first digit is the major version.
var variant = regexp.MustCompile(`^(.+)_v([3-9])([0-9]{1,2})$`)

// pick marks what its agent does not load on this kernel: of several variants it takes
// the newest that is not newer than the kernel. Where the kernel's version cannot be
// read, all are verified.
func pick(files []File, specs []Spec, release string) {
	kernel, ok := versionOf(release)
	if !ok {
		return
	}
	picks := map[string]bool{}
	for _, s := range specs {
		picks[s.Name] = s.ByKernel
	}
	best := map[string]int{}
	for i := range files {
		if f := &files[i]; picks[f.Workload] {
			if stem, v := variantOf(f); v <= kernel && v >= best[stem] {
				best[stem] = v
			}
		}
	}
	for i := range files {
		if f := &files[i]; picks[f.Workload] {
			stem, v := variantOf(f)
			b, any := best[stem]
			f.Idle = !any || v != b
		}
	}
}

// variantOf is the object's name without its version, and the version.
func variantOf(f *File) (stem string, version int) {
	stem = strings.TrimSuffix(filepath.Base(f.Origin), ".o")
	m := variant.FindStringSubmatch(stem)
	if m == nil {
		return f.Workload + "/" + stem, 0
	}
	major, _ := strconv.Atoi(m[2])
	minor, _ := strconv.Atoi(m[3])
	return f.Workload + "/" + m[1], major*1000 + minor
}

// versionOf is major*1000+minor of a release.
func versionOf(release string) (int, bool) {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	digits := strings.IndexFunc(parts[1]+"-", func(r rune) bool { return r < '0' || r > '9' })
	minor, err2 := strconv.Atoi(parts[1][:digits])
	return major*1000 + minor, err1 == nil && err2 == nil
}
