package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// release is `uname -r`.
func release(ctx context.Context, root *sysfs.Root) (string, error) {
	return utsName(ctx, root, "/proc/sys/kernel/osrelease",
		func(b banner) string { return b.release }, func(u *unix.Utsname) string { return unix.ByteSliceToString(u.Release[:]) })
}

// version is `uname -v`: the build's number and date, or a distribution's own
// version where it puts it there.
func version(ctx context.Context, root *sysfs.Root) (string, error) {
	return utsName(ctx, root, "/proc/sys/kernel/version",
		func(b banner) string { return b.version }, func(u *unix.Utsname) string { return unix.ByteSliceToString(u.Version[:]) })
}

// arch is `uname -m`. /proc/sys/kernel/arch came with Linux 6.1 (bfca3dd3d068)
// and is preferred, since personality(2) changes what uname answers.
func arch(ctx context.Context, root *sysfs.Root) (string, error) {
	return utsName(ctx, root, "/proc/sys/kernel/arch",
		nil, func(u *unix.Utsname) string { return unix.ByteSliceToString(u.Machine[:]) })
}

// utsName reads a field of uname(2) from its file, else from the kernel's banner,
// else, on the live host, from the system call.
func utsName(ctx context.Context, root *sysfs.Root, file string, fromBanner func(banner) string, fromCall func(*unix.Utsname) string) (string, error) {
	s, err := root.Attr(ctx, file)
	if err == nil && s == "" {
		return "", fmt.Errorf("read %s: it is empty", file)
	}
	if !sysfs.Absent(err) {
		return s, err
	}
	if fromBanner != nil {
		b, berr := readBanner(ctx, root)
		if !sysfs.Absent(berr) {
			return fromBanner(b), berr
		}
	}
	if !root.Live() {
		return "", err
	}
	var u unix.Utsname
	if uerr := unix.Uname(&u); uerr != nil {
		return "", fmt.Errorf("uname: %w", uerr)
	}
	return fromCall(&u), nil
}

// banner is what the kernel says of itself in one line: linux_proc_banner in
// init/version.c, "Linux version RELEASE (builder) (compiler) VERSION".
type banner struct{ release, version string }

// readBanner reads /proc/version, or the first lines of a recording's console.
func readBanner(ctx context.Context, root *sysfs.Root) (banner, error) {
	s, err := text(ctx, root, "/proc/version")
	if err == nil {
		return parseBanner(s)
	}
	if !sysfs.Absent(err) || root.Live() {
		return banner{}, err
	}
	return stream(ctx, root, "/console.log", 64<<20, findBanner)
}

// findBanner looks for the banner in a console log.
func findBanner(r io.Reader) (banner, error) {
	var b banner
	found := false
	err := eachLine(r, func(line []byte) {
		if !found {
			var perr error
			b, perr = parseBanner(string(line))
			found = perr == nil
		}
	})
	return b, err
}

var errNoBanner = errors.New("no kernel version line")

// parseBanner reads the line; what stands before it (a time stamp) is passed over.
func parseBanner(s string) (banner, error) {
	_, rest, ok := strings.Cut(s, "Linux version ")
	if !ok {
		return banner{}, errNoBanner
	}
	release, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if release == "" {
		return banner{}, errNoBanner
	}
	b := banner{release: release}
	// The version begins with the build's number; a compiler's name has no " #".
	if i := strings.LastIndex(rest, " #"); i >= 0 {
		b.version = strings.TrimSpace(rest[i:])
	}
	return b, nil
}

// cmdline is the kernel's command line as it is.
func cmdline(ctx context.Context, root *sysfs.Root) (string, error) {
	return text(ctx, root, "/proc/cmdline")
}
