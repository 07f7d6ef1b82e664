// Package loader hands BPF programs to the running kernel and reports what the
// kernel made of them. One program goes in, one [Measurement] comes out, and
// nothing of it stays behind.
//
// The package makes the final bpf(BPF_PROG_LOAD) call itself, because a
// measurement needs three things a general purpose loader does not promise:
// exactly one load (a second one doubles the cost and may end differently), the
// verifier's log on every errno including EFAULT, and the log's true size.
// Relocation, BTF and maps remain the business of github.com/cilium/ebpf.
//
// [Trier] is the small sibling for feature censuses: thousands of tiny programs,
// of which only the errno and the log matter.
package loader
