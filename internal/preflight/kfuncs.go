package preflight

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/kmod"
	"lastgood/internal/vm"
	"lastgood/loader"
)

// providers are modules that bring kernel functions with them: a program that calls one
// loads only where its module is. The names are those that the modules register
// (register_btf_kfunc_id_set) in 6.1 to 6.18.
var providers = []struct {
	prefix  string
	modules []string
}{
	{"bpf_ct_set_nat_info", []string{"nf_conntrack", "nf_nat"}},
	{"bpf_ct_", []string{"nf_conntrack"}},
	{"bpf_skb_ct_", []string{"nf_conntrack"}},
	{"bpf_xdp_ct_", []string{"nf_conntrack"}},
	{"bpf_skb_get_xfrm_info", []string{"xfrm_interface"}},
	{"bpf_skb_set_xfrm_info", []string{"xfrm_interface"}},
	{"bpf_skb_get_fou_encap", []string{"fou"}},
	{"bpf_skb_set_fou_encap", []string{"fou"}},
	{"bpf_xdp_flow_lookup", []string{"nf_flow_table"}},
	{"hid_bpf_", []string{"hid"}},
}

// kfuncModules are the modules that a guest loads for the objects' sake, out of the
// candidate's own tree. missing are those that the candidate does not have.
func kfuncModules(ctx context.Context, tree string, objects []vm.File) (load []kmod.Module, missing []string, err error) {
	var wanted []string
	for _, o := range objects {
		names, err := loader.Kfuncs(bytes.NewReader(o.Data))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", o.Path, err)
		}
		for _, n := range names {
			for _, p := range providers {
				if strings.HasPrefix(n, p.prefix) {
					wanted = append(wanted, p.modules...)
					break
				}
			}
		}
	}
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	if tree == "" {
		return nil, wanted, nil
	}
	t, err := kmod.List(ctx, tree)
	if err != nil {
		return nil, nil, err
	}
	return t.Resolve(wanted...)
}
