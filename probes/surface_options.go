package probes

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// Values of the attribute need.
const (
	needPrograms = "programs"
	needCilium   = "cilium"
)

// kernelOptions are what BPF programs and agents need of a kernel's configuration: by the
// types of programs (as ebpf.ProgramType spells them, by prefix; "" is any), or because
// Cilium's system requirements name them (Documentation/operations/system_requirements.rst).
var kernelOptions = []struct {
	types   []string // program types that cannot do without
	cilium  bool
	options string
}{
	{types: []string{""}, cilium: true, options: "BPF BPF_SYSCALL BPF_JIT"},
	{types: []string{""}, options: "HAVE_EBPF_JIT"},
	{types: []string{"SchedCLS", "SchedACT"}, cilium: true, options: "NET_CLS_BPF NET_CLS_ACT NET_SCH_INGRESS"},
	{types: []string{"CGroup", "SockOps"}, cilium: true, options: "CGROUPS CGROUP_BPF"},
	{types: []string{"Kprobe", "TracePoint", "RawTracepoint", "PerfEvent", "Tracing"}, cilium: true, options: "PERF_EVENTS"},
	{types: []string{"Kprobe", "TracePoint", "RawTracepoint", "PerfEvent", "Tracing"}, options: "BPF_EVENTS"},
	{types: []string{"Tracing", "LSM", "Extension", "StructOps"}, options: "DEBUG_INFO_BTF"},
	{types: []string{"LSM"}, options: "BPF_LSM"},
	{types: []string{"LWT"}, options: "LWTUNNEL LWTUNNEL_BPF"},
	{types: []string{"SkSKB", "SkMsg"}, options: "BPF_STREAM_PARSER"},
	{types: []string{"LircMode2"}, options: "BPF_LIRC_MODE2"},
	{options: "KPROBES KPROBE_EVENTS UPROBES UPROBE_EVENTS FTRACE_SYSCALLS FUNCTION_TRACER DYNAMIC_FTRACE FPROBE BPF_KPROBE_OVERRIDE DEBUG_INFO_BTF_MODULES XDP_SOCKETS"},
	{cilium: true, options: "CRYPTO_SHA1 CRYPTO_USER_API_HASH SCHEDSTATS VXLAN GENEVE FIB_RULES " +
		"NETFILTER_XT_SET IP_SET IP_SET_HASH_IP NETFILTER_XT_MATCH_COMMENT NETFILTER_XT_TARGET_TPROXY NETFILTER_XT_TARGET_MARK " +
		"NETFILTER_XT_TARGET_CT NETFILTER_XT_MATCH_MARK NETFILTER_XT_MATCH_SOCKET NET_SCH_FQ NETKIT " +
		"XFRM XFRM_OFFLOAD XFRM_STATISTICS XFRM_ALGO XFRM_USER INET_ESP INET6_ESP"},
}

// maxKernelConfig bounds a configuration, packed and unpacked; Debian's has 250 KB.
const maxKernelConfig = 8 << 20

var errNoConfig = errors.New("neither /proc/config.gz nor a file of the kernel's package has its configuration")

// readConfig is the running kernel's configuration: its own word, or else the file that
// its package put beside it.
func readConfig(ctx context.Context, root *sysfs.Root) (map[string]string, error) {
	b, err := root.Bytes(ctx, maxKernelConfig, "/proc/config.gz")
	if err == nil {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("read /proc/config.gz: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(z, maxKernelConfig))
		if err != nil {
			return nil, fmt.Errorf("read /proc/config.gz: %w", err)
		}
		return parseKernelConfig(text)
	}
	if !sysfs.Absent(err) {
		return nil, err
	}
	release, err := root.Attr(ctx, "/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	if strings.ContainsRune(release, '/') {
		return nil, errors.New("find kernel configuration: the kernel's release is no file name")
	}
	for _, name := range []string{"/boot/config-" + release, "/lib/modules/" + release + "/config", "/usr/lib/modules/" + release + "/config"} {
		b, err := root.Bytes(ctx, maxKernelConfig, name)
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseKernelConfig(b)
	}
	return nil, fmt.Errorf("find kernel configuration: %w", errNoConfig)
}

// parseKernelConfig reads what a .config sets to y or m, without CONFIG_. One that sets nothing
// is none.
func parseKernelConfig(text []byte) (map[string]string, error) {
	set := map[string]string{}
	for line := range bytes.Lines(text) {
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte("="))
		if name, config := bytes.CutPrefix(name, []byte("CONFIG_")); ok && config && (string(value) == "y" || string(value) == "m") {
			set[string(name)] = string(value)
		}
	}
	if len(set) == 0 {
		return nil, errors.New("read kernel configuration: it sets nothing")
	}
	return set, nil
}

// options makes a subject of each option that this node needs and one of the others.
func (r *surface) options(config map[string]string, err error) []snapshot.Subject {
	rest := snapshot.Subject{Kind: kindSurface, ID: "options", Label: "kernel options", Outcome: snapshot.Measured}
	if err != nil {
		return append([]snapshot.Subject{}, couldNotTell(rest, err))
	}
	var out []snapshot.Subject
	var others []string
	cilium := slices.ContainsFunc(r.programs, func(p string) bool { return strings.HasPrefix(p, "cil_") })
	for _, group := range kernelOptions {
		need := ""
		switch {
		case r.anyProgram(group.types):
			need = needPrograms
		case group.cilium && cilium:
			need = needCilium
		}
		for name := range strings.FieldsSeq(group.options) {
			value := config[name]
			if value == "" {
				value = lacksIt
			}
			if need == "" {
				others = append(others, name+"="+value)
				continue
			}
			s := snapshot.Subject{Kind: kindOption, ID: name, Label: "CONFIG_" + name, Outcome: snapshot.Measured}
			s.Set("value", snapshot.Text(value))
			s.Set("need", snapshot.Text(need))
			out = append(out, s)
		}
	}
	rest.Set("class", snapshot.Text("options"))
	rest.Set("total", snapshot.Int(len(config)))
	rest.Set("members", snapshot.List(others...))
	return append(out, rest)
}

// anyProgram reports whether a program is of one of the types, given by prefix.
func (r *surface) anyProgram(types []string) bool {
	return slices.ContainsFunc(r.types, func(have string) bool {
		return slices.ContainsFunc(types, func(t string) bool { return strings.HasPrefix(have, t) })
	})
}
