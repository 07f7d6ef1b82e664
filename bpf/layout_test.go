package bpf

import "net/netip"

// The structures of headers/flow.h and headers/maps.h, field by field.

type be16 [2]byte

func port(n uint16) be16 { return be16{byte(n >> 8), byte(n)} }

type addr [16]byte

// ip returns text as the datapath keeps it: an IPv4 address in the first word.
func ip(text string) (a addr) {
	copy(a[:], netip.MustParseAddr(text).AsSlice())
	return a
}

type tuple struct {
	Src, Dst      addr
	Sport, Dport  be16
	Proto, Family uint8
	_             uint16
}

type config struct {
	Flags, MSS          uint32
	Snat4               [4]byte
	PortMin, PortSpan   uint16
	Snat6               addr
	PrefixIn, PrefixOut addr
}

const (
	configEnforce   = 1
	configEvents    = 2
	configPrefixNAT = 4
)

type cidr struct {
	Bits, Family uint32
	Addr         addr
}

type peer struct{ Identity, Flags uint32 }

type ruleKey struct {
	Bits, Src, Dst uint32
	Tier           uint16
	Family, Proto  uint8
	Dport          be16
	_              uint16
}

const (
	ruleAnyProto = 88
	ruleAnyPort  = 96
	ruleExact    = 112
)

type rule struct {
	Action, Bits uint16
	Flags        uint32
	Packets      uint64
}

const (
	actionAllow = iota
	actionDeny
	actionNextTier
	actionAudit
)

const (
	policyNoTrack = 4
	policyLimit   = 8
)

type bucket struct{ Tokens, FilledNs uint64 }

type conn struct {
	ExpiresNs, Packets, Bytes uint64
	NatAddr                   addr
	NatPort                   be16
	Nat                       uint16
	Service                   uint32
	Reply, Seen               uint8
	_                         uint16
	_                         uint32
}

const (
	natDst  = 1
	natSrc  = 2
	natMasq = 8
)

type serviceKey struct {
	Addr          addr
	Port          be16
	Proto, Family uint8
}

type service struct{ ID, Count, Flags, AffinityS uint32 }

const (
	serviceMasq     = 1
	serviceAffinity = 2
	serviceLUT      = 4
)

type backend struct {
	Addr  addr
	Port  be16
	State uint8
	_     uint8
}

const (
	active   = 1
	draining = 2
)

type counter struct{ Packets, Bytes uint64 }

type event struct {
	TimeNs                     uint64
	Tuple                      tuple
	Reason, Len, SrcID, DstID  uint32
	Service                    uint32
	VLAN                       uint16
	VLANs, CT, Stage, TCPFlags uint8
	Nat                        uint16
	Flags                      uint32
	Head                       [64]byte
}

const (
	ctNew         = 1
	ctEstablished = 2
	ctReply       = 3
	ctRelated     = 4
)

type reason uint32

const (
	passed reason = iota
	passedUntracked
	dropShort
	dropVLANDepth
	dropIP4Header
	dropIP4Checksum
	dropIP4Option
	dropIP6Header
	dropIP6Chain
	dropIP6Option
	dropFragment
	dropL4Header
	dropTCPFlags
	dropPolicy
	dropRate
	dropCTInvalid
	dropCTFull
	dropNoBackend
	dropSNATPorts
	dropRewrite
	dropState
	dropTailCall
	reasons
)
