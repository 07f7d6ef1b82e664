package kmod

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// xzStream unpacks many modules with one run of xz(1), which is ten times as fast as
// doing it here: Debian's kernels have thousands since 6.12. xz writes one behind the
// other, so their lengths are asked for before.
type xzStream struct {
	xz    string
	files []string
}

// findXZ is the program's path, "" where it is not installed.
func findXZ() string {
	p, err := exec.LookPath("xz")
	if err != nil {
		return ""
	}
	return p
}

// each calls f with every module, unpacked. It ends at the first that cannot be read.
func (s *xzStream) each(ctx context.Context, f func(file string, module []byte)) error {
	sizes, err := s.sizes(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := s.command(ctx, "--decompress", "--stdout")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run xz: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run xz: %w", err)
	}
	r := bufio.NewReaderSize(out, 256<<10)
	for i, file := range s.files {
		if sizes[i] > maxModule {
			err = fmt.Errorf("read module %s: more than %d MiB", file, maxModule>>20)
			break
		}
		module := make([]byte, sizes[i])
		if _, err = io.ReadFull(r, module); err != nil {
			err = fmt.Errorf("read module %s: %w", file, err)
			break
		}
		f(file, module)
	}
	if err != nil {
		cancel()
	}
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("run xz: %s: %w", strings.TrimSpace(said.String()), werr)
	}
	return err
}

// command reads the files' names from its input, each ended by a zero byte: there may
// be more than fit on a command line.
func (s *xzStream) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.xz, append(args, "--quiet", "--files0")...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(strings.Join(s.files, "\x00") + "\x00")
	return cmd
}

// sizes are the unpacked lengths, in the order of the files.
func (s *xzStream) sizes(ctx context.Context) ([]int64, error) {
	out, err := s.command(ctx, "--robot", "--list").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("list modules: %s: %w", strings.TrimSpace(string(exit.Stderr)), err)
	}
	if err != nil {
		return nil, fmt.Errorf("list modules: %w", err)
	}
	sizes := parseXZList(string(out))
	if len(sizes) != len(s.files) {
		return nil, fmt.Errorf("list modules: xz tells of %d files, asked for %d", len(sizes), len(s.files))
	}
	return sizes, nil
}

// parseXZList reads xz's robot form: a line "file" for each file, its fifth field being
// the unpacked length.
func parseXZList(text string) []int64 {
	var sizes []int64
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if f[0] != "file" || len(f) < 5 {
			continue
		}
		n, err := strconv.ParseInt(f[4], 10, 64)
		if err != nil || n < 0 {
			n = maxModule + 1 // refused by its size
		}
		sizes = append(sizes, n)
	}
	return sizes
}
