// Package bpf holds the BPF programs that lastgood ships as compiled objects, with
// the Go code bpf2go makes of them.
//
// They are one datapath, the kind of program a network agent attaches to every
// interface, in three sizes: small, medium and large. The source is
// datapath.bpf.c and headers; headers/limits.h says what a larger one does more.
// The objects need nothing newer than Linux 5.10 and no BTF of the kernel.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem datapath_small DatapathSmall datapath.bpf.c -- -DDATAPATH_SIZE=1 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem datapath_medium DatapathMedium datapath.bpf.c -- -DDATAPATH_SIZE=2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem datapath_large DatapathLarge datapath.bpf.c -- -DDATAPATH_SIZE=3 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
