package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds on an index: Debian's main has 60 MB in 65,000 stanzas, with lines of
// up to 40 kB.
const (
	maxIndex     = 1 << 30
	maxIndexLine = 1 << 20
)

// offer is one package of an archive's index.
type offer struct {
	name, version, arch, depends, sha256 string
	size                                 int64
}

func (o offer) part() Part {
	return Part{Package: o.name, Version: o.version, Arch: o.arch, Size: o.size, SHA256: o.sha256}
}

// readIndex reads a Packages index and returns the stanzas that belong to kernels.
func readIndex(r io.Reader) ([]offer, error) {
	in := &io.LimitedReader{R: r, N: maxIndex}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxIndexLine)
	var all []offer
	var now offer
	end := func() error {
		defer func() { now = offer{} }()
		if role, _ := roleOf(now.name); role == "" {
			return nil
		}
		if now.version == "" || now.arch == "" || !isSHA256(now.sha256) || now.size <= 0 {
			return fmt.Errorf("package %s: want Version, Architecture, Size and SHA256", now.name)
		}
		all = append(all, now)
		return nil
	}
	var errs []error
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			errs = append(errs, end())
			continue
		}
		if line[0] != 'P' && !strings.HasPrefix(now.name, "linux-") && !isProxmox(now.name) {
			continue // nine in ten lines
		}
		now.set(string(line))
	}
	errs = append(errs, end(), lines.Err())
	if in.N <= 0 {
		errs = append(errs, fmt.Errorf("more than %d bytes", maxIndex))
	}
	return all, errors.Join(errs...)
}

func (o *offer) set(line string) {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return
	}
	value = strings.TrimSpace(value)
	switch name {
	case "Package":
		o.name = value
	case "Version":
		o.version = value
	case "Architecture":
		o.arch = value
	case "Depends":
		o.depends = value
	case "SHA256":
		o.sha256 = strings.ToLower(value)
	case "Size":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			o.size = n
		}
	}
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func isProxmox(name string) bool {
	return strings.HasPrefix(name, "proxmox-kernel-") || strings.HasPrefix(name, "pve-kernel-")
}

// What a package of a kernel holds.
const (
	roleImage           = "image"           // linux-image: image and modules, or from Debian's 6.19 on nothing but dependencies
	roleUnsigned        = "unsigned"        // the same, without a signature for Secure Boot
	roleBinary          = "binary"          // the image alone
	roleBinaryUnsigned  = "binary-unsigned" //
	roleModules         = "modules"
	roleModulesExtra    = "modules-extra" // Ubuntu's second half
	roleConfig          = "config"        // configuration and symbol table
	suffixUnsigned      = "-unsigned"
	suffixProxmoxSigned = "-signed"
)

// roles by the beginning of a package's name; the longer comes first.
var roles = []struct{ prefix, role string }{
	{"linux-image-unsigned-", roleUnsigned}, // Ubuntu
	{"linux-image-", roleImage},
	{"linux-binary-unsigned-", roleBinaryUnsigned},
	{"linux-binary-", roleBinary},
	{"linux-modules-extra-", roleModulesExtra},
	{"linux-modules-", roleModules},
	{"linux-base-", roleConfig},
	{"proxmox-kernel-", roleUnsigned},
	{"pve-kernel-", roleUnsigned},
}

// noKernel ends the names of what is called after a kernel and is none: debug
// symbols, and what Debian's signing service works from (linux-image-6.12-amd64-signed-template).
var noKernel = []string{"-dbg", "-dbgsym", "-signed-template"}

// roleOf says what a package holds and of which kernel release. It is "" for
// packages that are no part of one kernel: metapackages and debug symbols.
func roleOf(name string) (role, release string) {
	for _, r := range roles {
		release, ok := strings.CutPrefix(name, r.prefix)
		if !ok {
			continue
		}
		role := r.role
		if s, ok := strings.CutSuffix(release, suffixUnsigned); ok && role == roleImage {
			release, role = s, roleUnsigned
		}
		if s, ok := strings.CutSuffix(release, suffixProxmoxSigned); ok && isProxmox(name) {
			release, role = s, roleImage
		}
		for _, no := range noKernel {
			if strings.HasSuffix(release, no) {
				return "", ""
			}
		}
		if !isRelease(release) {
			return "", ""
		}
		return role, release
	}
	return "", ""
}

// kernelsIn makes kernels of the packages that one suite offers: one for each
// release and version. Where a signed image is offered the unsigned one is not
// listed. What cannot be tried is listed with the reason.
func kernelsIn(suite string, offers []offer) []Kernel {
	type key struct{ release, version, arch string }
	groups := map[key]map[string]offer{}
	var order []key
	for _, o := range offers {
		role, release := roleOf(o.name)
		k := key{release, o.version, o.arch}
		if groups[k] == nil {
			groups[k] = map[string]offer{}
			order = append(order, k)
		}
		groups[k][role] = o
	}
	var all []Kernel
	for _, g := range order {
		if k, ok := kernelOf(suite, g.release, groups[g]); ok {
			all = append(all, k)
		}
	}
	return all
}

// kernelOf puts one kernel together from its packages by role. It is not one where
// no package has an image: a metapackage, or modules that outlived their kernel.
func kernelOf(suite, release string, by map[string]offer) (Kernel, bool) {
	image, ok := imageOf(release, by)
	if !ok {
		return Kernel{}, false
	}
	k := Kernel{
		Release: release, Arch: archOf(image.arch), Family: FamilyDebian, Package: image.name, Version: image.version,
		Suite: suite, Parts: []Part{image.part()}, Source: SourcePackage, Testable: true,
	}
	k.Flavour, _ = FlavourOf(release)
	role, _ := roleOf(image.name)
	if role == roleUnsigned || role == roleBinaryUnsigned {
		k.note("unsigned: does not boot under Secure Boot")
	}
	for _, r := range []string{roleModules, roleModulesExtra, roleConfig} {
		if o, ok := by[r]; ok {
			k.Parts = append(k.Parts, o.part())
		}
	}
	if role == roleImage && depends(image, "linux-binary-"+release) {
		k.refuse("the archive does not have its image (linux-binary-%s)", release)
	}
	split := strings.HasPrefix(image.name, "linux-binary-") || depends(image, "linux-modules-"+release)
	if _, ok := by[roleModules]; !ok && split {
		k.refuse("the archive has its image and not its modules (linux-modules-%s)", release)
	}
	if k.Arch == "" {
		k.refuse("architecture %q is not known", image.arch)
	}
	return k, true
}

// imageOf is the package with the image: signed before unsigned. Where an archive
// has lost it, it is the package that asks for it.
func imageOf(release string, by map[string]offer) (offer, bool) {
	whole, has := by[roleImage]
	has = has && !refersOnly(whole)
	if o, ok := by[roleBinary]; ok {
		return o, true
	}
	if has && !depends(whole, "linux-binary-"+release) {
		return whole, true
	}
	for _, role := range []string{roleBinaryUnsigned, roleUnsigned} {
		if o, ok := by[role]; ok && !refersOnly(o) {
			return o, true
		}
	}
	return whole, has
}

// depends reports whether o asks for a package of this name.
func depends(o offer, name string) bool {
	for _, d := range strings.FieldsFunc(o.depends, func(r rune) bool { return r == ',' || r == '|' }) {
		if word, _, _ := strings.Cut(strings.TrimSpace(d), " "); word == name {
			return true
		}
	}
	return false
}

// refersOnly tells a metapackage, such as linux-image-6.12-cloud-amd64, which asks
// for the image of another release. An image asks for no other image.
func refersOnly(o offer) bool {
	_, own := roleOf(o.name)
	for _, d := range strings.FieldsFunc(o.depends, func(r rune) bool { return r == ',' || r == '|' }) {
		word, _, _ := strings.Cut(strings.TrimSpace(d), " ")
		if role, release := roleOf(word); (role == roleImage || role == roleUnsigned) && release != own {
			return true
		}
	}
	return false
}

// mergeOffers lists a package that several suites offer once, under the first.
func mergeOffers(bySuite [][]Kernel) []Kernel {
	type key struct{ name, version, arch, sum string }
	seen := map[key]int{}
	var all []Kernel
	for _, kernels := range bySuite {
		for _, k := range kernels {
			id := key{k.Package, k.Version, k.Arch, k.Parts[0].SHA256}
			at, ok := seen[id]
			if !ok {
				seen[id] = len(all)
				all = append(all, k)
				continue
			}
			if k.Testable && !all[at].Testable {
				k.Suite, all[at] = all[at].Suite, k
			}
		}
	}
	Sort(all)
	return all
}
