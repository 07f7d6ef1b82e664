package config

import (
	"fmt"
	"path"
	"strings"

	"lastgood/internal/snapshot"
)

// Intended is what this host is meant to be. Each is a shell pattern (*, ?, [a-z]), and what is
// empty is not looked at.
type Intended struct {
	// Arch is the architecture as uname -m gives it.
	Arch string `yaml:"arch"`
	// Kernel is the kernel's release, as uname -r gives it.
	Kernel string `yaml:"kernel"`
	// Flavour is the part of the release that names it: generic, cloud-amd64, +rt as rt; PlainFlavour
	// stands for none.
	Flavour string `yaml:"flavour"`
	// Virtualization is none, kvm, vmware …
	Virtualization string `yaml:"virtualization"`
	// Lockdown is none, integrity or confidentiality.
	Lockdown string `yaml:"lockdown"`
	// CPU is the processor's model.
	CPU string `yaml:"cpu"`
}

// PlainFlavour stands for a kernel whose release names no flavour.
const PlainFlavour = "plain"

// Mismatch is one fact that is not what was intended. Why is set where the fact is not known: then
// it is neither right nor wrong.
type Mismatch struct {
	Fact, Want, Have string
	Why              string
}

func (m Mismatch) String() string {
	if m.Why != "" {
		return fmt.Sprintf("%s is meant to be %s, and could not be told: %s", m.Fact, m.Want, m.Why)
	}
	return fmt.Sprintf("%s is %s and is meant to be %s", m.Fact, m.Have, m.Want)
}

// Prove holds the running system's identity against what is intended. Flavour is that of the
// identity's release.
func (in *Intended) Prove(id *snapshot.Identity, flavour string) (wrong, unknown []Mismatch) {
	if flavour == "" && id.Kernel.Release != "" {
		flavour = PlainFlavour
	}
	lockdown := id.Lockdown
	if lockdown == "" && id.Errs["lockdown"] == "" {
		lockdown = "none" // a kernel without it locks nothing down
	}
	for _, f := range []struct{ name, fact, want, have string }{
		{"arch", "arch", in.Arch, id.Kernel.Arch}, {"kernel", "release", in.Kernel, id.Kernel.Release}, {"flavour", "release", in.Flavour, flavour},
		{"virtualization", "virtualization", in.Virtualization, id.Virtualization}, {"lockdown", "lockdown", in.Lockdown, lockdown}, {"cpu", "cpu_model", in.CPU, id.CPU.Model},
	} {
		m := Mismatch{Fact: f.name, Want: f.want, Have: f.have}
		switch {
		case f.want == "":
		case id.Errs[f.fact] != "":
			m.Why = id.Errs[f.fact]
			unknown = append(unknown, m)
		case f.have == "":
			m.Why = "this kernel does not say"
			unknown = append(unknown, m)
		case !like(f.want, f.have):
			wrong = append(wrong, m)
		}
	}
	return wrong, unknown
}

// like matches a pattern; a CPU model's slashes are characters like any other.
func like(pattern, text string) bool {
	clean := strings.NewReplacer("/", "\x01")
	ok, err := path.Match(clean.Replace(pattern), clean.Replace(text))
	return err == nil && ok
}

// check refuses what could never match.
func (in *Intended) check(name string) error {
	for _, f := range []struct{ name, pattern string }{
		{"arch", in.Arch}, {"kernel", in.Kernel}, {"flavour", in.Flavour}, {"virtualization", in.Virtualization}, {"lockdown", in.Lockdown}, {"cpu", in.CPU},
	} {
		if _, err := path.Match(f.pattern, ""); err != nil {
			return fmt.Errorf("read configuration %s: intended: %s %q: %w", name, f.name, f.pattern, err)
		}
	}
	if in.Lockdown != "" && !like(in.Lockdown, "none") && !like(in.Lockdown, "integrity") && !like(in.Lockdown, "confidentiality") {
		return fmt.Errorf("read configuration %s: intended: lockdown %q: none of none, integrity, confidentiality", name, in.Lockdown)
	}
	return nil
}
