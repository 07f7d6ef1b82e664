package veristat

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

const full = "file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,max_states_per_insn,max_mark_read_len,prog_size,prog_size_jited,prog_type,attach_type,stack_depth,mem_peak\n"

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       map[string]string
	}{
		{"its own writer", full + "a.o,p,success,1500,20,3,2,1,0,18,90,sched_cls,cgroup_inet_ingress,16,-1\n", map[string]string{
			"object": "a.o", "name": "p", "verdict": "accepted", "verification_seconds": "0.0015", "insns_processed": "20", "total_states": "3", "peak_states": "2",
			"max_states_per_insn": "1", "mark_read": "0", "insns": "18", "jited_bytes": "90", "prog_type": "sched_cls", "stack_depth": "16"}},
		{"what is not known is not 0", full + "a.o,p,failure,0,0,0,0,0,0,0,0,unspec,N/A,0,-1\n", map[string]string{"object": "a.o", "name": "p", "verdict": "rejected"}},
		{"other order, names, lines", "\ufeffinsns,what,Prog,verdict,file\r\n\r\n7,\"x\",p,failure,/b/a.o\r\n", map[string]string{
			"object": "a.o", "name": "p", "verdict": "rejected", "insns_processed": "7"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Read(strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			sub := s.Subject(snapshot.Key{Kind: programKind, ID: "a.o/p"})
			if sub == nil || sub.Outcome != snapshot.Measured {
				t.Fatalf("subjects %+v", s.Subjects)
			}
			got := map[string]string{}
			for name, v := range sub.Attrs {
				got[name] = v.String()
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if len(s.Subjects) != 1 {
				t.Errorf("%d subjects: something vouches for what is not known", len(s.Subjects))
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	head := "file_name,prog_name,verdict,total_insns\n"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"blank", "\n\n", "it is empty"},
		{"no programs", head, "it has no programs"},
		{"no verdict", "file_name,prog_name\n", "line 1: there is no column verdict"},
		{"a column twice", "file_name,file,prog,verdict\n", `line 1: column "file" is there twice`},
		{"a verdict", head + "\na.o,p,maybe,1\n", `line 3: column verdict: "maybe" is neither success nor failure`},
		{"a number", head + "a.o,p,success,1e9\n", `line 2: column total_insns: "1e9" is no count`},
		{"less than none", head + "a.o,p,success,-2\n", "is no count"},
		{"too large", head + "a.o,p,success,99999999999999999999\n", "is no count"},
		{"too few", head + "a.o,p,success\n", "line 2: 3 fields, and the first line names 4 columns"},
		{"too many", head + "a.o,p,success,1,2\n", "line 2: 5 fields"},
		{"no name", head + ",p,success,1\n", "line 2: it names no file"},
		{"twice", head + "a.o,p,success,1\nx/a.o,p,success,1\n", "line 3: a.o/p is on line 2 already"},
		{"no text", head + "a.o,\xff,success,1\n", "line 2: it is no text"},
		{"a long line", head + strings.Repeat("x", maxLine+1), "line 2: it is longer than 64 KiB"},
		{"a comparison", "file_name,prog_name,verdict_base,verdict_comp\n", "comparison of two files"},
		{"JSON", "{\n", "line 1: there is no column file_name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// endless is a CSV without an end.
type endless struct {
	head bool
	row  []byte
	at   int // place in row
}

func (e *endless) Read(b []byte) (int, error) {
	if !e.head {
		e.head = true
		return copy(b, "file_name,prog_name,verdict\n"), nil
	}
	n := 0
	for n < len(b) {
		k := copy(b[n:], e.row[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.row)
	}
	return n, nil
}

func TestReadIsBounded(t *testing.T) {
	blank := &endless{row: []byte("\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n")}
	if _, err := Read(blank); err == nil || !strings.Contains(err.Error(), "more than 10000000 lines") {
		t.Errorf("lines: %v", err)
	}
	wide := &endless{row: []byte(strings.Repeat(" ", 2047) + "\n")}
	if _, err := Read(wide); err == nil || !strings.Contains(err.Error(), "more than 1024 MiB") {
		t.Errorf("bytes: %v", err)
	}
	sparse := filepath.Join(t.TempDir(), "big.csv")
	if err := os.WriteFile(sparse, []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, maxBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(sparse); err == nil || !strings.Contains(err.Error(), "no more than 1024 are read") {
		t.Errorf("file: %v", err)
	}
}

// What lastgood writes it reads again as it was, but for what the format has no place for.
func TestWriterAndReaderAgree(t *testing.T) {
	sub := snapshot.Subject{Kind: programKind, ID: "a.o/p", Outcome: snapshot.Measured}
	want := map[string]snapshot.Value{
		"verdict": snapshot.Text("accepted"), "insns_processed": snapshot.Int(7001), "total_states": snapshot.Int(0), "peak_states": snapshot.Int(0),
		"max_states_per_insn": snapshot.Int(0), "mark_read": snapshot.Int(0), "insns": snapshot.Int(12), "jited_bytes": snapshot.Int(77),
		"prog_type": snapshot.Text("xdp"), "stack_depth": snapshot.Int(8), "verification_seconds": snapshot.Float(0.25),
	}
	for name, v := range want {
		sub.Set(name, v)
	}
	var b bytes.Buffer
	if err := report.ProgramsCSV(&b, &snapshot.Snapshot{Subjects: []snapshot.Subject{sub}}); err != nil {
		t.Fatal(err)
	}
	if !IsCSV(b.Bytes()) {
		t.Errorf("not known for a CSV: %s", b.String())
	}
	s, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	got := s.Subject(sub.Key())
	for name, v := range want {
		if !got.Attrs[name].Equal(v) {
			t.Errorf("%s: %v, want %v", name, got.Attrs[name], v)
		}
	}
}

func TestIsCSV(t *testing.T) {
	for text, want := range map[string]bool{
		full: true, "prog,verdict,file\n": true, "": false, "{\"schema\": 1}": false, "a,b,c\n": false, "\x7fELF,prog,verdict,file\xff": false,
	} {
		if got := IsCSV([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(full + "a.o,p,success,1500,20,3,2,1,0,18,90,sched_cls,cgroup_inet_ingress,16,-1\n")
	f.Add("insns,prog,verdict,file\n\n7,p,failure,/b/a.o\r\n")
	f.Add("\ufefffile,prog,verdict\n,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		IsCSV([]byte(text))
		s, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for i := range s.Subjects {
			sub := &s.Subjects[i]
			if sub.ID == "" || sub.Text("verdict") == "" {
				t.Fatalf("subject %+v", sub)
			}
		}
		if _, err := s.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}
