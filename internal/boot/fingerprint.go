package boot

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"lastgood/internal/sysfs"
)

// Bounds: a distribution's configuration has about 300 kB, a debug kernel's BTF
// about 15 MB.
const (
	maxConfig = 8 << 20
	maxBTF    = 128 << 20
)

// configHash is the sha256 of the kernel's configuration as text. The kernel's
// own copy is preferred: a file under /boot is that of the installed package,
// which may have been rebuilt under the same release.
func configHash(ctx context.Context, root *sysfs.Root) (string, error) {
	hash, err := stream(ctx, root, "/proc/config.gz", maxConfig, hashGzip)
	if !sysfs.Absent(err) {
		return hash, err
	}
	rel, err := release(ctx, root)
	if err != nil {
		return "", err
	}
	if strings.ContainsRune(rel, '/') {
		return "", errors.New("find kernel configuration: the kernel's release is no file name")
	}
	names := []string{"/boot/config-" + rel, "/lib/modules/" + rel + "/config", "/usr/lib/modules/" + rel + "/config"}
	return firstOf(names, func(name string) (string, error) { return stream(ctx, root, name, maxConfig, hashAll) })
}

// btfHash is the sha256 of the kernel's type information: the layout of every
// structure and the signature of every function that BPF programs can reach.
func btfHash(ctx context.Context, root *sysfs.Root) (string, error) {
	return stream(ctx, root, "/sys/kernel/btf/vmlinux", maxBTF, hashAll)
}

func hashAll(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", errors.New("it is empty")
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashGzip hashes what a gzip file holds; what comes out is bounded as well.
func hashGzip(r io.Reader) (string, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return "", err
	}
	return hashAll(&bounded{r: z, max: maxConfig})
}
