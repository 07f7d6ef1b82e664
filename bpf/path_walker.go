package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem path_walker_small PathWalkerSmall path_walker.bpf.c -- -DWALKER_SIZE=1 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem path_walker_medium PathWalkerMedium path_walker.bpf.c -- -DWALKER_SIZE=2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem path_walker_large PathWalkerLarge path_walker.bpf.c -- -DWALKER_SIZE=3 -mcpu=v3 -nostdinc -Wall -Wextra -Werror

// PathWalkers returns the sizes of the walker of directory entries, a raw tracepoint program called
// walk_path, smallest first.
func PathWalkers() []Object {
	return []Object{
		{"small", LoadPathWalkerSmall},
		{"medium", LoadPathWalkerMedium},
		{"large", LoadPathWalkerLarge},
	}
}
