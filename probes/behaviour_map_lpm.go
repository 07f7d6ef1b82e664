package probes

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var _ = behave(Behaviour{
	Name: "map_lpm",
	Doc: `Longest matching prefixes.
Addresses on both sides of each prefix's ends, with prefixes in prefixes down to a single address. Policies and routes
are looked up so: a wrong match lets a stranger in or a friend out.`,
	Rests: "Documentation/bpf/map_lpm_trie.rst: of the prefixes that match the longest wins",
	Cases: []BehaviourCase{
		{Name: "default_route", Doc: "with a prefix of length 0", Cost: time.Millisecond, Build: func() (Trial, error) { return longestMatch(lpmPrefixes) }},
		{Name: "no_default", Doc: "without one", Cost: time.Millisecond, Build: func() (Trial, error) { return longestMatch(lpmPrefixes[1:]) }},
	},
})

var lpmPrefixes = []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "10.1.2.128/25", "10.1.3.0/24",
	"128.0.0.0/1", "192.168.0.0/16", "192.168.64.0/18", "192.168.64.0/19", "192.168.77.0/31", "255.255.255.255/32"}

var lpmAddresses = []string{"0.0.0.0", "9.255.255.255", "10.0.0.0", "10.0.255.255", "10.1.0.0", "10.1.1.255", "10.1.2.0", "10.1.2.2",
	"10.1.2.3", "10.1.2.4", "10.1.2.127", "10.1.2.128", "10.1.2.255", "10.1.3.1", "10.1.4.0", "10.255.255.255", "11.0.0.0",
	"127.255.255.255", "128.0.0.0", "192.167.255.255", "192.168.63.255", "192.168.64.0", "192.168.77.0", "192.168.77.1",
	"192.168.77.2", "192.168.95.255", "192.168.96.0", "192.168.127.255", "192.168.128.0", "255.255.255.254", "255.255.255.255"}

// longestMatch looks addresses up; a prefix's value is its place in the list and one.
func longestMatch(prefixes []string) (Trial, error) {
	m := ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 32, Flags: unix.BPF_F_NO_PREALLOC}
	var routes []netip.Prefix
	for i, text := range prefixes {
		p := netip.MustParsePrefix(text)
		routes = append(routes, p)
		m.Contents = append(m.Contents, ebpf.MapKV{Key: lpmKey(p.Addr(), p.Bits()), Value: numberBytes(uint64(i + 1))})
	}
	s := &sheet{maps: oneMap(m)}
	s.wipeKey()
	s.add(asm.StoreImm(asm.R10, stackKey, 32, asm.Word), packet(asm.R1), asm.LoadMem(asm.R2, asm.R1, sheetA, asm.Word),
		asm.StoreMem(asm.R10, stackKey+4, asm.R2, asm.Word))
	s.lookup("longest match", func(a, _ uint64) uint64 { return matchLongest(routes, netip.AddrFrom4([4]byte(numberBytes(a)[:4]))) })
	var pairs [][2]uint64
	for _, text := range lpmAddresses {
		b := netip.MustParseAddr(text).As4()
		pairs = append(pairs, [2]uint64{number(b[:]), 0})
	}
	return s.trial(pairs)
}

// lpmKey is struct bpf_lpm_trie_key: a length, then the address.
func lpmKey(a netip.Addr, bits int) []byte {
	b := a.As4()
	return append(binary.NativeEndian.AppendUint32(nil, uint32(bits)), b[:]...)
}

// matchLongest walks through all prefixes.
func matchLongest(routes []netip.Prefix, a netip.Addr) uint64 {
	best, found := -1, uint64(missing)
	for i, p := range routes {
		if p.Contains(a) && p.Bits() > best {
			best, found = p.Bits(), uint64(i+1)
		}
	}
	return found
}
