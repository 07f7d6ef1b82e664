package bpf

import (
	"math"
	"testing"
)

const (
	clientID = 100
	serverID = 200
)

func TestPolicy(t *testing.T) {
	exact := func(k ruleKey, proto uint8, p uint16) ruleKey {
		k.Bits, k.Proto, k.Dport = ruleExact, proto, port(p)
		return k
	}
	pair := ruleKey{Src: clientID, Dst: serverID}
	tests := []struct {
		name    string
		enforce bool
		rules   map[ruleKey]uint16
		want    reason
	}{
		{"none", false, nil, passed},
		{"none, enforced", true, nil, dropPolicy},
		{"allowed", true, map[ruleKey]uint16{exact(pair, protoTCP, 80): actionAllow}, passed},
		{"other port", true, map[ruleKey]uint16{exact(pair, protoTCP, 81): actionAllow}, dropPolicy},
		{"other protocol", true, map[ruleKey]uint16{exact(pair, protoUDP, 80): actionAllow}, dropPolicy},
		{"any port", true, map[ruleKey]uint16{{Bits: ruleAnyPort, Src: clientID, Dst: serverID, Proto: protoTCP}: actionAllow}, passed},
		{"any protocol", true, map[ruleKey]uint16{{Bits: ruleAnyProto, Src: clientID, Dst: serverID}: actionAllow}, passed},
		{"any server", true, map[ruleKey]uint16{{Bits: ruleAnyProto, Src: clientID}: actionAllow}, passed},
		{"any client", true, map[ruleKey]uint16{{Bits: ruleAnyProto, Dst: serverID}: actionAllow}, passed},
		{"anybody", true, map[ruleKey]uint16{{Bits: ruleAnyProto}: actionAllow}, passed},
		{"denied", false, map[ruleKey]uint16{exact(pair, protoTCP, 80): actionDeny}, dropPolicy},
		{"port beats any", false, map[ruleKey]uint16{
			exact(pair, protoTCP, 80):                          actionAllow,
			{Bits: ruleAnyProto, Src: clientID, Dst: serverID}: actionDeny,
		}, passed},
		{"one end with port beats both without", false, map[ruleKey]uint16{
			exact(ruleKey{Src: clientID}, protoTCP, 80):        actionDeny,
			{Bits: ruleAnyProto, Src: clientID, Dst: serverID}: actionAllow,
		}, dropPolicy},
		{"audited", true, map[ruleKey]uint16{exact(pair, protoTCP, 80): actionAudit}, passed},
	}
	eachFamily(t, "medium", func(t *testing.T, d *datapath, fam family) {
		d.peers(fam)
		for i, tt := range tests {
			d.configure(config{})
			if tt.enforce {
				d.configure(config{Flags: configEnforce})
			}
			d.setRules(fam, tt.rules)
			frame := fam.frame(fam.client, fam.backend, protoTCP, tcp(uint16(40000+i), 80, syn))
			if _, got := d.run(frame); got != tt.want {
				t.Errorf("%s: reason %d, want %d", tt.name, got, tt.want)
			}
			if e := d.lastEvent(); e.SrcID != clientID || e.DstID != serverID {
				t.Errorf("%s: identities %d and %d, want %d and %d", tt.name, e.SrcID, e.DstID, clientID, serverID)
			}
		}
	})
}

// setRules replaces all rules.
func (d *datapath) setRules(fam family, actions map[ruleKey]uint16) {
	d.t.Helper()
	var old []ruleKey
	var key ruleKey
	var r rule
	for it := d.coll.Maps["rules"].Iterate(); it.Next(&key, &r); {
		old = append(old, key)
	}
	for _, key := range old {
		if err := d.coll.Maps["rules"].Delete(&key); err != nil {
			d.t.Fatal(err)
		}
	}
	for key, action := range actions {
		key.Family = fam.version
		d.addRule(key, action, 0)
	}
}

// peers gives client and backend an identity; a longer prefix goes before a shorter.
func (d *datapath) peers(fam family) {
	d.t.Helper()
	whole, short := uint32(32), uint32(8)
	if fam.version == 6 {
		whole, short = 128, 16
	}
	d.addPeer(fam.client, short, 999)
	d.addPeer(fam.client, whole, clientID)
	d.addPeer(fam.backend, short, serverID)
}

func TestPolicyTiers(t *testing.T) {
	eachSize(t, "medium", func(t *testing.T, d *datapath) {
		fam := families[0]
		d.peers(fam)
		frame := fam.frame(fam.client, fam.backend, protoTCP, tcp(40000, 80, syn))
		key := ruleKey{Bits: ruleAnyProto, Src: clientID, Family: 4}
		d.addRule(key, actionNextTier, 0)
		d.expect(frame, passed)
		key.Tier = 1
		d.addRule(key, actionDeny, 0)
		d.expect(frame, dropPolicy)
		key.Tier = 0
		d.addRule(key, actionAllow, 0)
		d.expect(frame, passed)
	})
}

func TestUntrackedByPolicy(t *testing.T) {
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		fam := families[0]
		d.addRule(ruleKey{Bits: ruleAnyProto, Family: 4}, actionAllow, policyNoTrack)
		d.expect(fam.frame(fam.client, fam.backend, protoTCP, tcp(1, 2, syn)), passed)
		if _, ok := d.conn(fam.tuple(fam.client, fam.backend, 1, 2, protoTCP)); ok {
			t.Error("the connection is tracked")
		}
	})
}

func TestRateLimit(t *testing.T) {
	eachSize(t, "large", func(t *testing.T, d *datapath) {
		fam := families[0]
		d.peers(fam)
		d.addRule(ruleKey{Bits: ruleAnyProto, Src: clientID, Family: 4}, actionAllow, policyLimit)
		// Filled at the end of time: no time that passes adds a token.
		d.put("buckets", uint32(clientID), &bucket{Tokens: 2, FilledNs: math.MaxUint64})
		frame := fam.frame(fam.client, fam.backend, protoUDP, udp(1, 2, ""))
		d.expect(frame, passed)
		d.expect(frame, passed)
		d.expect(frame, dropRate)
		// Filled when the host started: more tokens than the bucket holds.
		d.put("buckets", uint32(clientID), &bucket{})
		for range 10 {
			d.expect(frame, passed)
		}
	})
}

func TestMissingStage(t *testing.T) {
	eachSize(t, "small", func(t *testing.T, d *datapath) {
		frame := families[0].frame("192.0.2.1", "192.0.2.2", protoTCP, tcp(1, 2, syn))
		for i, name := range Stages() {
			if name == "dp_parse" || name == "dp_nat6" { // not reached by a tail call
				continue
			}
			if err := d.coll.Maps["stages"].Delete(uint32(i)); err != nil {
				t.Fatal(err)
			}
			if _, got := d.run(frame); got != dropTailCall {
				t.Errorf("without %s: reason %d, want %d", name, got, dropTailCall)
			}
			d.put("stages", uint32(i), d.coll.Programs[name])
		}
		d.expect(frame, passed)
	})
}
