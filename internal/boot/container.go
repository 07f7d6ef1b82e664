package boot

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

// containers are the names that systemd-detect-virt has for containers.
var containers = []string{"systemd-nspawn", "lxc", "lxc-libvirt", "docker", "podman", "rkt", "wsl", "proot", "pouch", "openvz"}

// container names the container that lastgood runs in, "" where it runs in none.
func container(ctx context.Context, root *sysfs.Root) (string, error) {
	rel, err := release(ctx, root)
	if err != nil && !sysfs.Absent(err) {
		return "", err
	}
	if strings.Contains(rel, "Microsoft") || strings.HasSuffix(rel, "WSL2") {
		return "wsl", nil
	}
	// Written by systemd as the first process of a container.
	s, err := root.Attr(ctx, "/run/systemd/container")
	if err != nil && !sysfs.Absent(err) {
		return "", err
	}
	if s != "" {
		return containerName(s), nil
	}
	host, err := hostNamespaces(ctx, root)
	if err != nil || host {
		return "", err
	}
	return processContainer(ctx, root)
}

// The inode numbers of the first namespaces: include/linux/proc_ns.h,
// PROC_PID_INIT_INO and PROC_CGROUP_INIT_INO.
const (
	firstPIDNamespace    = "pid:[4026531836]"
	firstCgroupNamespace = "cgroup:[4026531835]"
)

// hostNamespaces reports whether this process is in the first PID and cgroup
// namespaces and so in no container, whatever marker files say: a virtual
// machine whose disk was made from a container image still has /.dockerenv.
func hostNamespaces(ctx context.Context, root *sysfs.Root) (bool, error) {
	for name, first := range map[string]string{"pid": firstPIDNamespace, "cgroup": firstCgroupNamespace} {
		ns, err := root.Link(ctx, "/proc/self/ns", name)
		if err != nil && !sysfs.Absent(err) {
			return false, err
		}
		if ns != first {
			return false, nil
		}
	}
	return true, nil
}

// processContainer asks the first process's environment, then the marker files,
// which any image may hold by accident.
func processContainer(ctx context.Context, root *sysfs.Root) (string, error) {
	env, envErr := root.Bytes(ctx, maxText, "/proc/1/environ")
	if v, found := environ(env, "container"); found && v != "oci" {
		return containerName(v), nil
	}
	for _, marker := range []struct{ path, name string }{{"/run/.containerenv", "podman"}, {"/.dockerenv", "docker"}} {
		found, err := root.Exists(ctx, marker.path)
		if err != nil {
			return "", err
		}
		if found {
			return marker.name, nil
		}
	}
	if envErr != nil && !sysfs.Absent(envErr) {
		return "", envErr
	}
	if _, found := environ(env, "container"); found {
		return containerName(""), nil
	}
	return "", nil
}

// environ finds a variable in a process's environment.
func environ(env []byte, name string) (string, bool) {
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if value, found := strings.CutPrefix(string(v), name+"="); found {
			return value, true
		}
	}
	return "", false
}

func containerName(s string) string {
	if slices.Contains(containers, s) {
		return s
	}
	return "container-other"
}
