package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *Snapshot {
	yes := true
	taint := uint64(512)
	return &Snapshot{
		Tool: "lastgood 1", Taken: time.Date(2026, 11, 21, 4, 5, 6, 7e6, time.UTC), Phase: "boot",
		Identity: Identity{
			Kernel: KernelIdentity{Release: "6.12.43", Arch: "x86_64", BuildID: "ab"},
			BootID: "b", CPU: CPUIdentity{Model: "m", Count: 2, Microcode: []string{"0x1"}},
			SecureBoot: &yes, Taint: &taint, Sysctls: map[string]int64{"net.core.bpf_jit_enable": 1},
		},
		Subjects: []Subject{
			{Kind: "hw.disk", ID: "naa.5", Label: "sda", Parent: "hw.pci/x", Outcome: Measured,
				Attrs: Attrs{"size_bytes": Int(1 << 40), "ro": Bool(false), "aliases": List("b", "a", "b"), "temp": Float(40)},
				Errs:  map[string]string{"model": "input/output error"}},
			{Kind: "bpf.probe", ID: "a/b", Outcome: Skipped, Reason: "budget"},
		},
	}
}

func TestEncodeDecodeIsTheIdentity(t *testing.T) {
	b, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	want.Schema = Schema
	if err := want.Sort(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded differs (-want +got):\n%s", d)
	}
}

func TestEqualStatesEncodeToEqualBytes(t *testing.T) {
	a, b := sample(), sample()
	b.Subjects[0], b.Subjects[1] = b.Subjects[1], b.Subjects[0]
	b.Subjects[1].Attrs["aliases"] = List("a", "b")
	b.Taken = b.Taken.In(time.FixedZone("east", 7200)).Add(300 * time.Microsecond)
	ba, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bb, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ba, bb) {
		t.Errorf("differ:\n%s", cmp.Diff(string(ba), string(bb)))
	}
}

func TestEncodeRefusesRepeatedSubjects(t *testing.T) {
	s := sample()
	s.Subjects = append(s.Subjects, s.Subjects[0])
	if _, err := s.Encode(); err == nil {
		t.Error("a subject that stands twice was accepted")
	}
}

func TestDecodeOtherDocuments(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		schema bool // a *SchemaError is wanted, else ErrNotSnapshot
	}{
		"newer":         {`{"schema":"lastgood.snapshot/v2","subjects":{}}`, true},
		"older":         {`{"schema":"lastgood.snapshot/v0"}`, true},
		"report":        {`{"schema":"lastgood.report/v1"}`, false},
		"no schema":     {`{"subjects":[]}`, false},
		"empty schema":  {`{"schema":""}`, false},
		"schema number": {`{"schema":"lastgood.snapshot/vx"}`, false},
	} {
		_, err := Decode([]byte(test.text))
		var se *SchemaError
		if errors.As(err, &se) != test.schema || errors.Is(err, ErrNotSnapshot) == test.schema {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	for _, text := range []string{"", "[", "[]", `"x"`, `{"schema":"lastgood.snapshot/v1","subjects":[{"kind":"a"}]}`,
		`{"schema":"lastgood.snapshot/v1","subjects":[{"kind":"a","id":"b"},{"kind":"a","id":"b"}]}`} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}

func TestDecodeUnknownFieldsAndValues(t *testing.T) {
	s, err := Decode([]byte(`{"schema":"lastgood.snapshot/v1","colour":1,"taken":"2026-11-21T00:00:00Z","subjects":[
		{"kind":"k","id":"i","outcome":"dreamt","attrs":{"o":{"x": 1},"n":null,"m":[1,"a"],"f":1e3},"new":[]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Subject(Key{"k", "i"})
	if got.Outcome != Inconclusive {
		t.Errorf("an unknown outcome became %q", got.Outcome)
	}
	if _, null := got.Attrs["n"]; null {
		t.Error("null became a value")
	}
	if b, _ := json.Marshal(got.Attrs); string(b) != `{"f":1000.0,"m":[1,"a"],"o":{"x":1}}` {
		t.Errorf("kept as %s", b)
	}
}

func TestValues(t *testing.T) {
	for _, v := range []Value{Int(0), Int(-7), Int(uint64(1 << 62)), Float(0), Float(1), Float(-2.5e-9), Bool(true), Bool(false), Text(""), Text("ä\"\n"), List(), List("x")} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got Value
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if !got.Equal(v) {
			t.Errorf("%s came back as %#v", b, got)
		}
	}
	if v := Int(uint64(1 << 63)); v.String()[0] == '-' {
		t.Errorf("a large unsigned number became %s", v)
	}
	var a Attrs = Attrs{}
	a.Set("none", Value{})
	if len(a) != 0 {
		t.Error("no value was stored")
	}
}

func TestSameBuildNeedsToKnow(t *testing.T) {
	a, b := sample().Identity, sample().Identity
	b.BootID = "other"
	if !a.SameBuild(&b) {
		t.Error("two boots of one build are told apart")
	}
	b.Kernel.Cmdline = "mitigations=off"
	if a.SameBuild(&b) {
		t.Error("another command line passes for the same")
	}
	b = sample().Identity
	a.Kernel.BuildID, b.Kernel.BuildID = "", ""
	if a.SameBuild(&b) {
		t.Error("two kernels without build-id pass for the same")
	}
}

func TestUnreadableFactIsNoChange(t *testing.T) {
	a, b := sample().Identity, sample().Identity
	b.Kernel.BTFHash, a.Kernel.BTFHash = "", "aa"
	if c := a.Changes(&b); len(c) != 1 || c[0].Fact != "btf_hash" {
		t.Errorf("BTF went away: got changes %v", c)
	}
	b.Errs = map[string]string{"btf_hash": "input/output error"}
	if c := a.Changes(&b); len(c) != 0 {
		t.Errorf("BTF could not be read: got changes %v", c)
	}
}

func TestNewKindsRefuses(t *testing.T) {
	good := Kind{Name: "a.b", Doc: "d", Attrs: []Attr{{Name: "x", Doc: "d"}}, Rules: []Rule{{Code: "c", On: OnChanged, Attr: "x", Severity: Info, Class: ClassTool, Message: "m"}}}
	if _, err := NewKinds(good); err != nil {
		t.Fatal(err)
	}
	for want, break_ := range map[string]func(*Kind){
		"name or doc":  func(k *Kind) { k.Doc = "" },
		"no doc":       func(k *Kind) { k.Attrs[0].Doc = "" },
		"not declared": func(k *Kind) { k.Rules[0].Attr = "y" },
		"is empty":     func(k *Kind) { k.Rules[0].Message = "" },
		"no order":     func(k *Kind) { k.Attrs[0].Cumulative, k.Attrs[0].Order = true, []string{"a", "b"} },
		"only grows":   func(k *Kind) { k.Attrs[0].Cumulative, k.Attrs[0].Better = true, HigherBetter },
	} {
		k := good
		k.Attrs = append([]Attr{}, good.Attrs...)
		k.Rules = append([]Rule{}, good.Rules...)
		break_(&k)
		if _, err := NewKinds(k); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := NewKinds(good, good); err == nil {
		t.Error("a kind declared twice was accepted")
	}
}

func TestCoverage(t *testing.T) {
	source := func(id string, o Outcome, kinds ...string) Subject {
		return Subject{Kind: SourceKind, ID: id, Outcome: o, Attrs: Attrs{SourceKinds: List(kinds...)}}
	}
	s := &Snapshot{Subjects: []Subject{source("a", Measured, "x", "y"), source("b", Inconclusive, "y"), source("c", Unsupported, "z"), source("d", Skipped, "w")}}
	c := s.Coverage()
	for kind, want := range map[string]bool{"x": true, "y": false, "z": true, "w": false, "none": false} {
		if c.Vouched(kind) != want {
			t.Errorf("%s: vouched %v, want %v", kind, !want, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":"lastgood.snapshot/v1","subjects":[{"kind":"a","id":"b","attrs":{"x":[1]}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		once, err := s.Encode()
		if err != nil {
			return // a year beyond what JSON carries
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("what was encoded is not decoded: %v", err)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("encoding is not stable (%v):\n%s\n%s", err, once, twice)
		}
	})
}
