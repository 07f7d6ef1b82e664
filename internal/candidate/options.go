package candidate

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// needed are options without which BPF agents do not start: Cilium's system
// requirements, and what Tetragon and other tracers attach with. The value says
// whether an agent can do without it.
var needed = []struct {
	option   string
	severity snapshot.Severity
}{
	{"BPF", snapshot.Critical}, {"BPF_SYSCALL", snapshot.Critical}, {"BPF_JIT", snapshot.Critical},
	{"NET_CLS_BPF", snapshot.Critical}, {"NET_CLS_ACT", snapshot.Critical}, {"NET_SCH_INGRESS", snapshot.Critical},
	{"CGROUPS", snapshot.Critical}, {"CGROUP_BPF", snapshot.Critical}, {"DEBUG_INFO_BTF", snapshot.Critical},
	{"PERF_EVENTS", snapshot.Critical}, {"BPF_EVENTS", snapshot.Critical}, {"KPROBES", snapshot.Critical},
	{"NET_SCH_FQ", snapshot.Warning}, {"NETKIT", snapshot.Warning}, {"VETH", snapshot.Critical},
	{"CRYPTO_SHA1", snapshot.Warning}, {"CRYPTO_USER_API_HASH", snapshot.Warning}, {"SCHEDSTATS", snapshot.Warning},
	{"VXLAN", snapshot.Warning}, {"GENEVE", snapshot.Warning}, {"FIB_RULES", snapshot.Warning}, {"NET_IPIP", snapshot.Warning}, {"IPV6_TUNNEL", snapshot.Warning},
	{"XFRM", snapshot.Warning}, {"XFRM_OFFLOAD", snapshot.Warning}, {"XFRM_STATISTICS", snapshot.Warning}, {"XFRM_USER", snapshot.Warning}, {"INET_ESP", snapshot.Warning}, {"INET6_ESP", snapshot.Warning},
	{"NETFILTER_XT_SET", snapshot.Warning}, {"NETFILTER_XT_MATCH_COMMENT", snapshot.Warning}, {"NETFILTER_XT_TARGET_TPROXY", snapshot.Warning}, {"NETFILTER_XT_TARGET_MARK", snapshot.Warning},
	{"NETFILTER_XT_TARGET_CT", snapshot.Warning}, {"NETFILTER_XT_MATCH_MARK", snapshot.Warning}, {"NETFILTER_XT_MATCH_SOCKET", snapshot.Warning}, {"IP_SET", snapshot.Warning}, {"IP_SET_HASH_IP", snapshot.Warning},
	{"XDP_SOCKETS", snapshot.Warning}, {"BPF_STREAM_PARSER", snapshot.Warning}, {"BPF_LSM", snapshot.Warning}, {"BPF_KPROBE_OVERRIDE", snapshot.Warning}, {"UPROBES", snapshot.Warning},
	{"FTRACE_SYSCALLS", snapshot.Warning}, {"DYNAMIC_FTRACE", snapshot.Warning}, {"FUNCTION_TRACER", snapshot.Warning}, {"DEBUG_INFO_BTF_MODULES", snapshot.Warning}, {"LIRC", snapshot.Info},
}

// fileSystems name the option behind a file system that is mounted now, where the
// name is not just the option's.
var fileSystems = map[string]string{
	"ext4": "EXT4_FS", "ext3": "EXT4_FS", "ext2": "EXT4_FS", "xfs": "XFS_FS", "btrfs": "BTRFS_FS", "vfat": "VFAT_FS", "overlay": "OVERLAY_FS", "nfs": "NFS_FS", "nfs4": "NFS_V4",
	"cifs": "CIFS", "ceph": "CEPH_FS", "fuse": "FUSE_FS", "fuseblk": "FUSE_FS", "virtiofs": "VIRTIO_FS", "9p": "9P_FS", "f2fs": "F2FS_FS", "ntfs3": "NTFS3_FS", "exfat": "EXFAT_FS",
	"squashfs": "SQUASHFS", "iso9660": "ISO9660_FS", "gfs2": "GFS2_FS", "ocfs2": "OCFS2_FS", "cgroup2": "CGROUPS", "bpf": "BPF_SYSCALL", "erofs": "EROFS_FS", "jfs": "JFS_FS",
}

// options compares the candidate's build configuration with the running kernel's:
// what is set now, is needed, and is not set there.
func (r *reader) options(ctx context.Context) {
	if r.files.Config == "" {
		r.gap(optionLost, "the candidate's configuration is not at hand", false)
		return
	}
	b, err := os.ReadFile(r.files.Config)
	if err != nil {
		r.gap(optionLost, fmt.Sprintf("read configuration: %v", err), true)
		return
	}
	then := parseConfig(string(b))
	if len(then) == 0 {
		r.gap(optionLost, "read configuration "+r.files.Config+": it sets nothing", true)
		return
	}
	now, err := r.runningConfig(ctx)
	if err != nil {
		r.unread(optionLost, err)
		return
	}
	for _, n := range needed {
		r.option(n.option, n.severity, "BPF agents use it", now, then)
	}
	mounted, err := r.mounted(ctx)
	if err != nil {
		r.unread(optionLost, err)
	}
	for _, fs := range mounted {
		if option := fileSystems[fs]; option != "" && !slices.ContainsFunc(r.found, func(f snapshot.Finding) bool { return f.Subject.ID == "option/"+option }) {
			r.option(option, snapshot.Critical, fs+" is mounted now", now, then)
		}
	}
}

func (r *reader) option(name string, severity snapshot.Severity, why string, now, then map[string]string) {
	was, is := now["CONFIG_"+name], then["CONFIG_"+name]
	if was == "" || is != "" {
		return
	}
	r.add(optionLost, snapshot.Finding{Severity: severity, Subject: r.subject("option/" + name), Old: text(was), New: text("not set"),
		Message: fmt.Sprintf("CONFIG_%s is set in the running kernel and not in %s: %s", name, r.files.Release, why),
		Hint:    "choose a kernel that has it, if anything on this host needs it"})
}

// parseConfig reads what a .config sets; "is not set" and comments set nothing.
func parseConfig(text string) map[string]string {
	set := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && strings.HasPrefix(name, "CONFIG_") && value != "n" && value != "" {
			set[name] = value
		}
	}
	return set
}

// maxConfig bounds a configuration, unpacked; Debian's has 250 KB.
const maxConfig = 8 << 20

// runningConfig is the running kernel's own, from /proc/config.gz or where the
// distribution puts it.
func (r *reader) runningConfig(ctx context.Context) (map[string]string, error) {
	root := r.host.Root
	if b, err := root.Bytes(ctx, maxConfig, "/proc/config.gz"); err == nil {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("read /proc/config.gz: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(z, maxConfig))
		if err != nil {
			return nil, fmt.Errorf("read /proc/config.gz: %w", err)
		}
		return parseConfig(string(text)), nil
	}
	release, err := root.Attr(ctx, "/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"/boot/config-" + release, path.Join("/usr/lib/modules", release, "config"), path.Join("/lib/modules", release, "config")} {
		b, err := root.Bytes(ctx, maxConfig, name)
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseConfig(string(b)), nil
	}
	return nil, fmt.Errorf("the running kernel's configuration: neither /proc/config.gz nor /boot/config-%s: %w", release, os.ErrNotExist)
}

// mounted lists the types of the file systems that are mounted now.
func (r *reader) mounted(ctx context.Context) ([]string, error) {
	b, err := r.host.Root.Bytes(ctx, 4<<20, "/proc/mounts")
	if err != nil {
		return nil, err
	}
	var types []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 3 {
			kind, _, _ := strings.Cut(f[2], ".") // fuse.sshfs
			types = append(types, kind)
		}
	}
	slices.Sort(types)
	return slices.Compact(types), nil
}
