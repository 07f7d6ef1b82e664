package loader

//go:generate clang-19 -O2 -g -target bpf -mcpu=v3 -fdebug-compilation-dir=. -c testdata/elf.c -o testdata/elf.o
//go:generate llvm-strip-19 -g testdata/elf.o

//go:generate clang-19 -O2 -g -target bpf -mcpu=v3 -fdebug-compilation-dir=. -c testdata/needs.c -o testdata/needs.o
//go:generate llvm-strip-19 -g testdata/needs.o

//go:generate clang-19 -O2 -g -target bpf -mcpu=v3 -fdebug-compilation-dir=. -c testdata/agent.c -o testdata/agent.o
//go:generate llvm-strip-19 -g testdata/agent.o

//go:generate clang-19 -O2 -g -target bpf -mcpu=v3 -fdebug-compilation-dir=. -c testdata/surface.c -o testdata/surface.o
//go:generate llvm-strip-19 -g testdata/surface.o
