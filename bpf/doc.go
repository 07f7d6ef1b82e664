// Package bpf holds the BPF programs that lastgood ships as compiled objects, with
// the Go code bpf2go makes of them.
//
// One is a datapath, the kind of program a network agent attaches to every
// interface; the others stand on their own: a parser of HTTP, an unwinder of user
// stacks, a walker of directory entries and a filter of system calls. Each comes in
// three sizes: small, medium and large. headers/limits.h says what a larger datapath
// does more, the head of each other source what that one does.
// The objects need nothing newer than Linux 5.10 and no BTF of the kernel.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem datapath_small DatapathSmall datapath.bpf.c -- -DDATAPATH_SIZE=1 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem datapath_medium DatapathMedium datapath.bpf.c -- -DDATAPATH_SIZE=2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem datapath_large DatapathLarge datapath.bpf.c -- -DDATAPATH_SIZE=3 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
