package export

import (
	"strings"

	"lastgood/internal/snapshot"
)

// kernel is what tells one kernel from another as far as its verifier and JIT go.
type kernel struct {
	Release     string            `json:"release,omitempty"`
	Version     string            `json:"version,omitempty"`
	BuildID     string            `json:"build_id,omitempty"`
	Arch        string            `json:"arch,omitempty"`
	ConfigHash  string            `json:"config_hash,omitempty"`
	BTFHash     string            `json:"btf_hash,omitempty"`
	Cmdline     []string          `json:"cmdline,omitempty"` // only the words of cmdlineWords
	Lockdown    string            `json:"lockdown,omitempty"`
	LSM         []string          `json:"lsm,omitempty"`
	Sysctls     map[string]int64  `json:"sysctls,omitempty"`
	Mitigations map[string]string `json:"mitigations,omitempty"`
}

// cmdlineWords are the options that change what the verifier or the JIT do:
// speculation (bypass_spec_v1 and v4 follow the mitigations), security modules.
// All others stay out, for a command line names disks, addresses and hosts.
var cmdlineWords = []string{
	"mitigations", "nospectre_v1", "nospectre_v2", "spectre_v2", "spectre_v2_user", "spec_store_bypass_disable", "nospec_store_bypass_disable",
	"ssbd", "retbleed", "spectre_bhi", "spec_rstack_overflow", "lockdown", "lsm", "security", "nopti", "pti", "kpti", "nosmt",
}

func kernelOf(id *snapshot.Identity) kernel {
	k := kernel{
		Release: id.Kernel.Release, Version: id.Kernel.Version, BuildID: id.Kernel.BuildID, Arch: id.Kernel.Arch,
		ConfigHash: id.Kernel.ConfigHash, BTFHash: id.Kernel.BTFHash,
		Lockdown: id.Lockdown, LSM: id.LSM, Sysctls: id.Sysctls, Mitigations: id.CPU.Mitigations,
	}
	for word := range strings.FieldsSeq(id.Kernel.Cmdline) {
		name, _, _ := strings.Cut(word, "=")
		for _, known := range cmdlineWords {
			if name == known {
				k.Cmdline = append(k.Cmdline, word)
			}
		}
	}
	return k
}
