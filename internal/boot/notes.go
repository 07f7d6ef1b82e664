package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"lastgood/internal/sysfs"
)

// maxNotes bounds /sys/kernel/notes, which holds some hundred bytes.
const maxNotes = 256 << 10

// buildID is the GNU build-id of the running kernel, in hexadecimal. It is absent
// where the kernel was linked without one.
func buildID(ctx context.Context, root *sysfs.Root) (string, error) {
	const name = "/sys/kernel/notes"
	b, err := root.Bytes(ctx, maxNotes+1, name)
	if err != nil {
		return "", err
	}
	if len(b) > maxNotes {
		return "", fmt.Errorf("read %s: longer than %d bytes", name, maxNotes)
	}
	// A recorded host may be of the other byte order.
	id, err := parseBuildID(b, binary.NativeEndian)
	if err != nil && !root.Live() {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			if other, oerr := parseBuildID(b, order); oerr == nil {
				return other, nil
			}
		}
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return id, nil
}

// noteBuildID is NT_GNU_BUILD_ID of elf.h.
const noteBuildID = 3

var errNotes = errors.New("damaged ELF notes")

// parseBuildID walks ELF notes: name size, description size and type, each of
// four bytes, then name and description, each padded to four. It is "" where no
// note bears a build-id.
func parseBuildID(b []byte, order binary.ByteOrder) (string, error) {
	for len(b) >= 12 {
		nameSize, descSize, kind := order.Uint32(b), order.Uint32(b[4:]), order.Uint32(b[8:])
		name, rest, ok := padded(b[12:], nameSize)
		if !ok {
			return "", errNotes
		}
		desc, rest, ok := padded(rest, descSize)
		if !ok {
			return "", errNotes
		}
		if kind == noteBuildID && bytes.Equal(name, []byte("GNU\x00")) && len(desc) > 0 {
			return hex.EncodeToString(desc), nil
		}
		b = rest
	}
	if len(bytes.Trim(b, "\x00")) > 0 {
		return "", errNotes
	}
	return "", nil
}

// padded takes the first n bytes and passes over the padding to four; the last
// field's padding may be missing.
func padded(b []byte, n uint32) (field, rest []byte, ok bool) {
	if uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	end := (uint64(n) + 3) &^ 3
	return b[:n], b[min(end, uint64(len(b))):], true
}
