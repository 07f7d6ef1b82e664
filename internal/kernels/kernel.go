// Package kernels says where candidate kernels come from: those that are
// installed, files and folders given by hand, and packages that the
// distribution offers but that are not installed yet. Packages are fetched and
// verified by the distribution's own client; nothing is ever installed.
package kernels

import (
	"errors"
	"fmt"
	"strings"
)

// Where a kernel comes from.
const (
	SourceInstalled = "installed" // this host's /boot, module trees and boot entries
	SourceFile      = "file"      // a kernel image or package given by name
	SourcePackage   = "package"   // offered by the distribution, not fetched yet
	SourceFolder    = "folder"    // found in a folder given by name
)

// The two orders of versions.
const (
	FamilyDebian = "deb"
	FamilyRPM    = "rpm"
)

// Kernel is one kernel that the host could boot, or that could be tried in a
// VM. What is not known is empty.
type Kernel struct {
	Release string `json:"release"`           // uname -r
	Flavour string `json:"flavour,omitempty"` // cloud-amd64, generic, +debug; "" where the distribution has but one
	Arch    string `json:"arch,omitempty"`    // uname -m
	Family  string `json:"family,omitempty"`  // FamilyDebian, FamilyRPM, or "" where the host does not say

	Package string `json:"package,omitempty"` // that holds the image
	Version string `json:"version,omitempty"` // of the package
	Suite   string `json:"suite,omitempty"`   // that offers it
	Parts   []Part `json:"parts,omitempty"`   // packages to fetch and unpack before it can be tried

	Image     string   `json:"image,omitempty"`     // path of the kernel image
	Modules   string   `json:"modules,omitempty"`   // path of lib/modules/RELEASE
	Initramfs string   `json:"initramfs,omitempty"` // path, of installed kernels only
	Config    string   `json:"config,omitempty"`    // path of the build configuration
	Entries   []string `json:"entries,omitempty"`   // boot loader entries (BLS) that name it, by path
	Tree      string   `json:"tree,omitempty"`      // folder that Fetch made; the caller removes it

	Source   string   `json:"source"`
	Testable bool     `json:"testable"`         // whether it can be tried in a VM
	Reason   string   `json:"reason,omitempty"` // why not
	Notes    []string `json:"notes,omitempty"`  // what is odd about it and does not keep it from being tried
}

// Part is one package of a kernel.
type Part struct {
	Package string `json:"package"`
	Version string `json:"version,omitempty"`
	Arch    string `json:"arch,omitempty"`   // as the distribution writes it
	File    string `json:"file,omitempty"`   // path, where it is here already
	Size    int64  `json:"size,omitempty"`   // bytes of the package file
	SHA256  string `json:"sha256,omitempty"` // from the signed index; "" for files given by hand
}

// refuse marks k as not to be tried. The first reason stays.
func (k *Kernel) refuse(format string, args ...any) {
	k.Testable = false
	if k.Reason == "" {
		k.Reason = fmt.Sprintf(format, args...)
	}
}

func (k *Kernel) note(format string, args ...any) {
	k.Notes = append(k.Notes, fmt.Sprintf(format, args...))
}

// HintError is an error with a way out for the person who reads it.
type HintError struct {
	Err  error
	Text string
}

func (e *HintError) Error() string { return e.Err.Error() }
func (e *HintError) Unwrap() error { return e.Err }

// Hint is the way out.
func (e *HintError) Hint() string { return e.Text }

// Errors that callers may tell apart.
var (
	ErrNotKernel   = errors.New("not a kernel image or a kernel package")
	ErrCorrupt     = errors.New("corrupt package")
	ErrSignature   = errors.New("signature does not verify")
	ErrUnreachable = errors.New("package archive cannot be reached")
	ErrNoTool      = errors.New("program is not installed")
	ErrMixed       = errors.New("kernels are not of one kind")
)

// archNames are uname -m names by what Debian, RPM and kernel builds call them.
var archNames = map[string]string{
	"amd64": "x86_64", "x86_64": "x86_64", "x86": "x86_64",
	"arm64": "aarch64", "aarch64": "aarch64",
	"i386": "i686", "i686": "i686", "686": "i686",
	"armhf": "armv7l", "armv7hl": "armv7l", "armmp": "armv7l",
	"ppc64el": "ppc64le", "ppc64le": "ppc64le", "powerpc64le": "ppc64le",
	"s390x": "s390x", "riscv64": "riscv64",
	"loong64": "loongarch64", "loongarch64": "loongarch64",
}

// archOf is the uname -m name of a distribution's architecture, "" if unknown.
func archOf(name string) string { return archNames[name] }

// isRelease reports whether s can be what uname -r prints: number, dot, number,
// and only characters that are safe in a path and in a package's name.
func isRelease(s string) bool {
	major, rest, ok := strings.Cut(s, ".")
	if !ok || !digits(major) || rest == "" || !digit(rest[0]) || len(s) > 64 {
		return false
	}
	for _, c := range s {
		if !strings.ContainsRune("+-._~", c) && (c > 127 || !letter(byte(c)) && !digit(byte(c))) {
			return false
		}
	}
	return true
}

// FlavourOf splits what uname -r prints into flavour and architecture, as far as
// it tells them. Debian and its kin append the flavour with a dash
// (6.1.0-56-cloud-amd64, 6.8.0-45-generic); RPM distributions put the
// architecture after a dot and the variant after a plus
// (5.14.0-611.el9.x86_64+rt).
func FlavourOf(release string) (flavour, arch string) {
	base, variant, _ := strings.Cut(release, "+")
	if i := strings.LastIndexByte(base, '.'); i >= 0 && archNames[base[i+1:]] != "" {
		if strings.Contains(base, "uek.") {
			variant = strings.Trim("uek+"+variant, "+")
		}
		return variant, archOf(base[i+1:])
	}
	words := strings.Split(release, "-")
	for i, w := range words[1:] {
		if w == "" || !letter(w[0]) || numbered(w) {
			continue
		}
		flavour = strings.Join(words[i+1:], "-")
		for _, w := range words[i+1:] {
			if a := archOf(w); a != "" {
				arch = a
			}
		}
		return flavour, arch
	}
	if strings.Contains(release, "-arch") {
		return "arch", "" // Arch Linux: 6.11.1-arch1-1
	}
	return "", ""
}

// numbered reports a word of the version, not of the flavour: rc5, arch1, zen2.
func numbered(w string) bool {
	for _, p := range []string{"rc", "arch", "zen", "hardened", "pre", "next"} {
		if rest, ok := strings.CutPrefix(w, p); ok && digits(rest) {
			return true
		}
	}
	return false
}

func digits(s string) bool {
	for i := range len(s) {
		if !digit(s[i]) {
			return false
		}
	}
	return s != ""
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
