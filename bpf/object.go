package bpf

import "github.com/cilium/ebpf"

// Object is one size of a program that stands on its own.
type Object struct {
	Name string // small, medium or large
	// Load returns the parsed object: one program, and its maps.
	Load func() (*ebpf.CollectionSpec, error)
}
