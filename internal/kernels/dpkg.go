package kernels

import (
	"context"
	"fmt"
	"strings"

	"lastgood/internal/sysfs"
)

// maxStatus bounds dpkg's database, in bytes: a desktop's has 8 MB.
const maxStatus = 64 << 20

const dpkgStatus = "/var/lib/dpkg/status"

// dpkgPackage is one package in dpkg's database.
type dpkgPackage struct {
	name, version, arch string
	state               string // installed, unpacked, half-configured…
}

// dpkgByRelease are the packages of kernels by release and role.
type dpkgByRelease map[string]map[string]dpkgPackage

// dpkgKernels reads which kernel packages dpkg knows; a host without dpkg has none.
func dpkgKernels(ctx context.Context, root *sysfs.Root) (dpkgByRelease, error) {
	b, err := root.Bytes(ctx, maxStatus, dpkgStatus)
	if sysfs.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(b) == maxStatus {
		return nil, fmt.Errorf("read %s: more than %d bytes", dpkgStatus, maxStatus)
	}
	return parseDpkgStatus(string(b)), nil
}

// parseDpkgStatus keeps the packages that are on the disk, whole or in part.
func parseDpkgStatus(text string) dpkgByRelease {
	all := dpkgByRelease{}
	for _, stanza := range strings.Split(text, "\n\n") {
		if !strings.Contains(stanza, "-image-") && !strings.Contains(stanza, "linux-") && !strings.Contains(stanza, "-kernel-") {
			continue
		}
		var p dpkgPackage
		for _, line := range strings.Split(stanza, "\n") {
			name, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); name {
			case "Package":
				p.name = value
			case "Version":
				p.version = value
			case "Architecture":
				p.arch = value
			case "Status": // want, error flag, state
				if f := strings.Fields(value); len(f) == 3 {
					p.state = f[2]
				}
			}
		}
		role, release := roleOf(p.name)
		if role == "" || p.state == "" || p.state == "not-installed" || p.state == "config-files" {
			continue
		}
		if all[release] == nil {
			all[release] = map[string]dpkgPackage{}
		}
		all[release][role] = p
	}
	return all
}

// label gives a kernel the package that its image came with.
func (d dpkgByRelease) label(k *Kernel) {
	for _, role := range []string{roleBinary, roleBinaryUnsigned, roleImage, roleUnsigned} {
		p, ok := d[k.Release][role]
		if !ok {
			continue
		}
		k.Package, k.Version = p.name, p.version
		if k.Arch == "" {
			k.Arch = archOf(p.arch)
		}
		break
	}
	for _, role := range []string{roleBinary, roleBinaryUnsigned, roleImage, roleUnsigned, roleModules} {
		if p, ok := d[k.Release][role]; ok && p.state != "installed" {
			k.note("package %s is %s: its installation did not finish", p.name, p.state)
		}
	}
	if k.Package == "" && k.Family == FamilyDebian && k.Image != "" {
		k.note("no installed package is known to hold it")
	}
}
