package bootloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"lastgood/internal/sysfs"
)

// envSize and envHead are fixed by GRUB (include/grub/lib/envblk.h): it rewrites the
// block in place, so a block of another size is one that it will not save to.
const (
	envSize = 1024
	envHead = "# GRUB Environment Block\n"
)

// readGrubenv reads the environment block beside grub.cfg.
func readGrubenv(ctx context.Context, root *sysfs.Root, dir string) (map[string]string, error) {
	name := path.Join(dir, "grubenv")
	b, err := root.Bytes(ctx, maxConfig, name)
	if err != nil {
		return nil, err
	}
	env, err := parseGrubenv(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return env, nil
}

// parseGrubenv reads lines of NAME=VALUE, in which a backslash takes the next character as
// it is, and the padding of # up to the block's end. Other comments are passed over, for
// grub2-editenv of Fedora writes a warning below the head.
func parseGrubenv(b []byte) (map[string]string, error) {
	if !bytes.HasPrefix(b, []byte(envHead)) {
		return nil, errors.New("no GRUB environment block")
	}
	if len(b) != envSize {
		return nil, fmt.Errorf("%d bytes, a GRUB environment block has %d", len(b), envSize)
	}
	env := map[string]string{}
	for rest := string(b[len(envHead):]); rest != ""; {
		var line string
		line, rest = cutLine(rest)
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found || name == "" {
			continue
		}
		env[name] = unescape(value)
	}
	return env, nil
}

// cutLine ends a line at a newline that no backslash stands before.
func cutLine(s string) (line, rest string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '\n':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
