package baseline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const line1, line2 = `{"time":"2026-11-20T00:00:00Z","type":"check","boot_id":"a"}`, `{"time":"2026-11-21T00:00:00Z","type":"hold"}`

func TestParseEvents(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string // types
		bad  []int
	}{
		"empty":              {"", nil, nil},
		"two":                {line1 + "\n" + line2 + "\n", []string{"check", "hold"}, nil},
		"last without \\n":   {line1 + "\n" + line2, []string{"check", "hold"}, nil},
		"last cut off":       {line1 + "\n" + line2[:20], []string{"check"}, []int{2}},
		"went on after":      {line1[:9] + "\n" + line2 + "\n", []string{"hold"}, []int{1}},
		"zeros at the end":   {line1 + "\n" + strings.Repeat("\x00", 512), []string{"check"}, []int{2}},
		"blank lines":        {"\n\n" + line1 + "\n\n", []string{"check"}, nil},
		"type of later date": {`{"time":"2026-11-20T00:00:00Z","type":"dream","colour":1}`, []string{"dream"}, nil},
		"no type, no object": {"{}\n[]\n7\n", nil, []int{1, 2, 3}},
	} {
		events, bad := parseEvents([]byte(test.text))
		var got []string
		for _, e := range events {
			got = append(got, e.Type)
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s: types (-want +got):\n%s", name, d)
		}
		if d := cmp.Diff(test.bad, bad); d != "" {
			t.Errorf("%s: bad lines (-want +got):\n%s", name, d)
		}
	}
}

func TestEventAfterACutOffLine(t *testing.T) {
	c := lived(t)
	i := c.seen[filepath.Join(memDir, eventsFile)]
	i.seen = i.seen[:len(i.seen)-10]
	s := memStore(t, c)
	if err := s.AppendEvent(Event{Type: "hold", Text: "two units"}); err != nil {
		t.Fatal(err)
	}
	events, err := s.Events()
	if err != nil {
		t.Fatal(err)
	}
	if last := events[len(events)-1]; last.Type != "hold" || last.Text != "two units" || last.Time.IsZero() {
		t.Errorf("the new event is %+v", last)
	}
	if d := s.Damaged(); len(d) != 1 || !strings.Contains(d[0], eventsFile) {
		t.Errorf("reported: %v", d)
	}
}

func TestTimelineIsBounded(t *testing.T) {
	c := lived(t)
	s := memStore(t, c)
	largest := 0
	const n = 100
	for k := range n {
		if err := s.AppendEvent(Event{Type: "note", Text: fmt.Sprintf("%0*d", maxSummary, k)}); err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(c.seen[filepath.Join(memDir, eventsFile)].seen))
	}
	if largest > testEvents {
		t.Errorf("the time line grew to %d bytes", largest)
	}
	events, err := s.Events()
	if err != nil {
		t.Fatal(err)
	}
	if len(events) < 3 || len(s.Damaged()) > 0 {
		t.Errorf("%d events are left, damage %v", len(events), s.Damaged())
	}
	for i, e := range events {
		if want := fmt.Sprintf("%0*d", maxSummary, n-len(events)+i); e.Text != want {
			t.Fatalf("event %d is %s", i, strings.TrimLeft(e.Text, "0"))
		}
	}
}

func TestTimelineOfAnotherSizeIsMovedAside(t *testing.T) {
	c := lived(t)
	big := make([]byte, readEvents+1)
	c.seen[filepath.Join(memDir, eventsFile)] = &inode{big, big}
	s := memStore(t, c)
	if err := s.AppendEvent(Event{Type: "hold"}); err != nil {
		t.Fatal(err)
	}
	kept(t, c, eventsFile, big)
	if events, err := s.Events(); err != nil || len(events) != 1 {
		t.Errorf("afterwards: %v, %v", events, err)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(line1 + "\n" + line2 + "\n"))
	f.Add([]byte(line1 + "\n" + line2[:20]))
	f.Add([]byte(`{"type":"check","result":{"verdict":"good","exit":0,"took_seconds":1e3}}` + "\r\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, bad := parseEvents(b)
		if n := bytes.Count(b, []byte{'\n'}) + 1; len(events)+len(bad) > n {
			t.Fatalf("%d events and %d bad lines from %d lines", len(events), len(bad), n)
		}
		var again bytes.Buffer
		for _, e := range events {
			line, err := json.Marshal(e)
			if err != nil {
				return // a year beyond what JSON carries
			}
			again.Write(append(line, '\n'))
		}
		if twice, bad := parseEvents(again.Bytes()); len(twice) != len(events) || len(bad) > 0 {
			t.Fatalf("%d events became %d, %d bad", len(events), len(twice), len(bad))
		}
	})
}
