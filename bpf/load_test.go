package bpf

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

var statLine = regexp.MustCompile(`(?s)verification time (\d+) usec.*processed (\d+) insns.*total_states (\d+)`)

// loadOne loads one program of spec against maps and returns its statistics.
func loadOne(t *testing.T, spec *ebpf.CollectionSpec, name string, maps map[string]*ebpf.Map) (usec, insns, states int) {
	t.Helper()
	one := spec.Copy()
	one.Programs = map[string]*ebpf.ProgramSpec{name: spec.Programs[name]}
	coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{
		MapReplacements: maps,
		Programs:        ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats, LogSizeStart: 1 << 20},
	})
	if err != nil {
		t.Fatalf("%s: %+v", name, err)
	}
	defer coll.Close()
	log := coll.Programs[name].VerifierLog
	m := statLine.FindStringSubmatch(log)
	if m == nil {
		t.Fatalf("%s: no statistics in the verifier's log: %q", name, log)
	}
	for i, to := range []*int{&usec, &insns, &states} {
		if *to, err = strconv.Atoi(m[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return usec, insns, states
}

func TestEachProgramLoads(t *testing.T) {
	needBPF(t)
	total, parse := 0, []int(nil)
	for _, size := range Datapaths() {
		spec, err := size.Load()
		if err != nil {
			t.Fatal(err)
		}
		maps := make(map[string]*ebpf.Map)
		for name, ms := range spec.Maps {
			if maps[name], err = ebpf.NewMap(ms); err != nil {
				t.Fatalf("map %s: %v", name, err)
			}
			defer maps[name].Close()
		}
		for _, name := range Stages() {
			usec, insns, states := loadOne(t, spec, name, maps)
			again, sameInsns, sameStates := loadOne(t, spec, name, maps)
			if insns != sameInsns || states != sameStates {
				t.Errorf("%s/%s: %d insns and %d states, then %d and %d", size.Name, name, insns, states, sameInsns, sameStates)
			}
			usec = min(usec, again)
			total += usec
			if name == "dp_parse" {
				parse = append(parse, insns)
			}
			t.Logf("%-7s %-13s %7d insns processed %6d states %7d us", size.Name, name, insns, states, usec)
		}
	}
	t.Logf("all together %d us", total)
	if !slices.IsSorted(parse) || len(slices.Compact(parse)) != 3 {
		t.Errorf("dp_parse does not grow with the size: %v insns processed", parse)
	}
}

func TestSpecs(t *testing.T) {
	for _, size := range Datapaths() {
		spec, err := size.Load()
		if err != nil {
			t.Fatal(err)
		}
		if len(spec.Programs) != len(Stages()) {
			t.Errorf("%s: %d programs, want %d", size.Name, len(spec.Programs), len(Stages()))
		}
		for _, name := range Stages() {
			p := spec.Programs[name]
			if p == nil {
				t.Errorf("%s: no program %s", size.Name, name)
				continue
			}
			if p.Type != ebpf.SchedCLS || p.License != "Dual BSD/GPL" || len(name) > 15 {
				t.Errorf("%s: program %s is %v, licence %q", size.Name, name, p.Type, p.License)
			}
		}
		for _, name := range []string{"backends", "luts"} {
			if spec.Maps[name].InnerMap == nil {
				t.Errorf("%s: map %s has no inner map", size.Name, name)
			}
		}
		for name, m := range spec.Maps {
			if m.Type != ebpf.RingBuf && m.MaxEntries > 1024 {
				t.Errorf("%s: map %s has %d entries", size.Name, name, m.MaxEntries)
			}
			if m.Pinning != ebpf.PinNone {
				t.Errorf("%s: map %s is to be pinned", size.Name, name)
			}
		}
		if got := int(spec.Maps["stages"].MaxEntries); got != len(Stages()) {
			t.Errorf("%s: %d entries for %d stages", size.Name, got, len(Stages()))
		}
	}
}

// The objects must not tell where they were built, or no two builds agree.
func TestObjectsNameNoFolder(t *testing.T) {
	absolute := regexp.MustCompile(`\x00/[[:alnum:]]+/[[:print:]]+`)
	for name, object := range map[string][]byte{"small": _DatapathSmallBytes, "medium": _DatapathMediumBytes, "large": _DatapathLargeBytes} {
		if found := absolute.FindAll(object, -1); found != nil {
			t.Errorf("%s holds absolute paths: %q", name, found)
		}
		if !strings.Contains(string(object), "./headers/nat.h") {
			t.Errorf("%s does not name its sources", name)
		}
	}
}
