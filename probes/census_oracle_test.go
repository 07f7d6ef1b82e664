package probes

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"

	"lastgood/internal/snapshot"
)

// TestCensusAgreesWithLibrary asks cilium/ebpf's feature probes the same of every
// type and helper: other programs, other ways to read the answer.
func TestCensusAgreesWithLibrary(t *testing.T) {
	needCensus(t)
	got := takeCensus(t)
	asked := 0
	for i := range progTypes {
		p := &progTypes[i]
		s := got[p.id()]
		open, ok := s.Attrs[featNotRefused].Items()
		if !ok {
			continue
		}
		vague, _ := s.Attrs[featUnclear].Items()
		for id := 1; id <= len(helperNames); id++ {
			name := helperName(id)
			err := features.HaveProgramHelper(p.typ, asm.BuiltinFunc(id))
			if slices.Contains(notAsked, name) || slices.Contains(vague, name) || err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
				continue // one of the two could not tell, or the library does not probe the type
			}
			asked++
			if have := slices.Contains(open, name); have != (err == nil) {
				t.Errorf("%s may call %s: %v, the library says %v", p.name, name, have, err)
			}
		}
	}
	if asked < 2000 {
		t.Errorf("only %d answers could be compared", asked)
	}
	for _, k := range mapKinds {
		if err := features.HaveMapType(k.typ); k.typ != insnArray {
			compareAnswer(t, got["map/"+k.name], err)
		}
	}
	for id, probe := range map[string]func() error{
		"isa/large_program": features.HaveLargeInstructions, "isa/bounded_loop": features.HaveBoundedLoops,
		"isa/v2_jslt": features.HaveV2ISA, "isa/v3_jmp32": features.HaveV3ISA, "isa/v4_bswap": features.HaveV4ISA,
	} {
		compareAnswer(t, got[id], probe())
	}
}

func compareAnswer(t *testing.T, s snapshot.Subject, err error) {
	t.Helper()
	want := "yes"
	if errors.Is(err, ebpf.ErrNotSupported) {
		want = "no"
	} else if err != nil {
		return // could not tell
	}
	if got := s.Text(featAvailable); got != want {
		t.Errorf("%s: %q (%s), the library says %v", s.ID, got, s.Text(featEvidence), err)
	}
}

// explained lists where bpftool answers otherwise, and why it is not the one to
// believe. The key is a subject's id.
var explained = map[string]string{
	"prog/tracing":    "without a type to attach to, bpftool takes any refusal for a no",
	"prog/ext":        "without a program to replace, bpftool takes any refusal for a no",
	"prog/lsm":        "without a type to attach to, bpftool takes any refusal for a no",
	"prog/struct_ops": "without a structure to attach to, bpftool goes by the error alone",
}

// TestCensusAgreesWithBpftool compares with the tool that administrators use.
func TestCensusAgreesWithBpftool(t *testing.T) {
	needCensus(t)
	out, err := exec.Command("bpftool", "feature", "probe", "full", "-j").Output()
	if err != nil {
		t.Skip("bpftool is not to be had here: ", err)
	}
	var theirs struct {
		Types   map[string]bool     `json:"program_types"`
		Maps    map[string]bool     `json:"map_types"`
		Helpers map[string][]string `json:"helpers"`
	}
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	got := takeCensus(t)
	for name, have := range theirs.Types {
		compareBpftool(t, got, "prog/"+strings.TrimSuffix(strings.TrimPrefix(name, "have_"), "_prog_type"), have)
	}
	for name, have := range theirs.Maps {
		compareBpftool(t, got, "map/"+strings.TrimSuffix(strings.TrimPrefix(name, "have_"), "_map_type"), have)
	}
	for name, theirs := range theirs.Helpers {
		compareHelpers(t, got["prog/"+strings.TrimSuffix(name, "_available_helpers")], theirs)
	}
}

func compareBpftool(t *testing.T, got map[string]snapshot.Subject, id string, have bool) {
	t.Helper()
	s, ok := got[id]
	want := "no"
	if have {
		want = "yes"
	}
	switch {
	case !ok:
		t.Errorf("bpftool knows %s, the census does not", id)
	case s.Text(featAvailable) == want:
	case explained[id] != "":
		t.Logf("%s: %s here, %s by bpftool: %s", id, s.Text(featAvailable), want, explained[id])
	default:
		t.Errorf("%s: %q (%s), bpftool says %s", id, s.Text(featAvailable), s.Text(featEvidence), want)
	}
}

// compareHelpers: bpftool takes every line for a yes but "invalid func" and
// "unknown func"; where the kernel words its refusal otherwise, bpftool finds
// every helper. Its yes is therefore worth something only where the kernel speaks
// the old way, and its no always.
func compareHelpers(t *testing.T, s snapshot.Subject, theirs []string) {
	t.Helper()
	open, ok := s.Attrs[featNotRefused].Items()
	if !ok || len(theirs) == 0 && explained[s.ID] != "" {
		return // bpftool does not ask for the helpers of types with a target
	}
	newWords := strings.Contains(s.Text(featEvidence), "program of this type cannot use helper") ||
		strings.Contains(s.Text(featEvidence), "func NAME#ID ")
	for _, name := range open {
		id := slices.Index(helperNames[:], name)
		if !slices.Contains(theirs, name) && id < 209 { // bpftool's table ends there
			t.Errorf("%s may call %s, bpftool says no", s.ID, name)
		}
	}
	for _, name := range theirs {
		if !slices.Contains(open, name) && !newWords && !slices.Contains(notAsked, name) {
			t.Errorf("bpftool says that %s may call %s", s.ID, name)
		}
	}
}
