package kmsg

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

func TestParse(t *testing.T) {
	for record, want := range map[string]Record{
		"4,1234,5678000,-;WARNING: CPU: 0\n SUBSYSTEM=pci\n DEVICE=+pci:0000:01:00.0\n": {Seq: 1234, Level: 4, At: 5678 * time.Millisecond, Text: "WARNING: CPU: 0", Subsystem: "pci", Device: "+pci:0000:01:00.0"},
		"6,0,0,-,caller=T1;a\\x09b\n": {Level: 6, Text: "a\tb"},
		"14,7,1,-;a program\n":        {Seq: 7, Level: 6, At: time.Microsecond, Text: "a program", Foreign: true},
		"6,1,2,-;":                    {},
		"6,1;text":                    {},
		"x,1,2,-;text":                {},
		"6,-1,2,-;text":               {},
		"6,1,18446744073709551615,-;": {},
		"garbage":                     {},
		"":                            {},
	} {
		got, ok := Parse(record)
		if d := cmp.Diff(want, got); d != "" || ok != (want.Text != "") {
			t.Errorf("%q gave %v (-want +got):\n%s", record, ok, d)
		}
	}
}

func TestParseConsole(t *testing.T) {
	got := ParseConsole("[    0.000000] Linux version 6.1\n[    9.000000] of another boot\n[    0.000000] Linux version 6.12\r\n" +
		"[    1.500000][    T1] with its task\n[ 12345.678901] late\nnot the kernel's\n[x] nor this\n[    2.000000] \n[1.5] nor this\n")
	want := []Record{
		{Seq: 3, Level: -1, Text: "Linux version 6.12"},
		{Seq: 4, Level: -1, At: 1500 * time.Millisecond, Text: "with its task"},
		{Seq: 5, Level: -1, At: 12345678901 * time.Microsecond, Text: "late"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

// script is a log that answers each read in turn.
func script(answers ...any) *Log {
	return &Log{close: func() error { return nil }, read: func(b []byte) (int, error) {
		if len(answers) == 0 {
			return 0, unix.EAGAIN
		}
		a := answers[0]
		answers = answers[1:]
		if err, ok := a.(error); ok {
			return -1, err
		}
		return copy(b, a.(string)), nil
	}}
}

func TestWhole(t *testing.T) {
	for name, c := range map[string]struct {
		log     *Log
		lim     Limits
		records int
		gap     string
		err     string
	}{
		"whole":             {script("6,0,0,-;a\n", "6,1,1,-;b\n"), Limits{}, 2, "", ""},
		"empty":             {script(), Limits{}, 0, "", ""},
		"interrupted":       {script(unix.EINTR, "6,0,0,-;a\n"), Limits{}, 1, "", ""},
		"begun too late":    {script("6,5,0,-;a\n"), Limits{}, 1, "first 5 records", ""},
		"overrun":           {script("6,0,0,-;a\n", unix.EPIPE, "6,9,1,-;b\n"), Limits{}, 2, "overwritten while", ""},
		"flooded":           {script("6,0,0,-;a\n", "6,1,0,-;b\n", "6,2,0,-;c\n"), Limits{Records: 2}, 2, "stopped after 2", ""},
		"too many bytes":    {script("6,0,0,-;a\n", "6,1,0,-;b\n"), Limits{Bytes: 5}, 1, "stopped after 1", ""},
		"overrun for ever":  {script(unix.EPIPE, unix.EPIPE, unix.EPIPE, unix.EPIPE), Limits{Records: 3}, 0, "stopped after 3", ""},
		"refused":           {script(unix.EPERM), Limits{}, 0, "", "operation not permitted"},
		"no log":            {script(""), Limits{}, 0, "", "no kernel log"},
		"a record of noise": {script("noise", "6,0,0,-;a\n"), Limits{}, 1, "", ""},
	} {
		w, err := c.log.whole(c.lim)
		if len(w.Records) != c.records || !strings.Contains(w.Gap, c.gap) || (c.gap == "") != (w.Gap == "") {
			t.Errorf("%s: %d records, gap %q", name, len(w.Records), w.Gap)
		}
		if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
	}
}

func TestRecorded(t *testing.T) {
	read := func(f *sysfstest.FS) (Whole, error) { return ReadWhole(t.Context(), sysfs.New(f)) }
	if _, err := read(&sysfstest.FS{Files: map[string]string{"/proc/cmdline": ""}}); err == nil || !strings.Contains(err.Error(), "no console.log was recorded") {
		t.Errorf("without a log: %v", err)
	}
	if _, err := read(&sysfstest.FS{Errs: map[string]error{"/console.log": unix.EIO}}); !errors.Is(err, unix.EIO) {
		t.Errorf("an unreadable log: %v", err)
	}
	line := "[    1.000000] " + strings.Repeat("x", 1000) + "\n"
	if w, err := read(&sysfstest.FS{Files: map[string]string{"/console.log": strings.Repeat(line, 2000)}}); err != nil || w.Gap == "" || len(w.Records) < 1000 {
		t.Errorf("a long log: %d records, gap %q, %v", len(w.Records), w.Gap, err)
	}
}

func TestThisHostsLog(t *testing.T) {
	if f, err := os.Open(Device); err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("the kernel log cannot be read here: %v", err)
	} else {
		f.Close()
	}
	w, err := ReadWhole(t.Context(), sysfs.Live())
	if err != nil || len(w.Records) == 0 {
		t.Fatalf("%d records, %v", len(w.Records), err)
	}
	for i := 1; i < len(w.Records); i++ {
		if w.Records[i].Seq <= w.Records[i-1].Seq {
			t.Fatalf("record %d comes after %d", w.Records[i].Seq, w.Records[i-1].Seq)
		}
	}
	t.Logf("%d records, gap %q", len(w.Records), w.Gap)
	l, err := Open(Device, true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, err := l.Read(Limits{Records: 1000}); err != nil {
		t.Errorf("read at the end: %v", err)
	}
	if _, err := Open("/nonexistent", false); !errors.Is(err, unix.ENOENT) {
		t.Errorf("open what is not there: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("4,1,2,-;text\n SUBSYSTEM=pci\n DEVICE=+pci:0000:01:00.0\n")
	f.Add("14,1,2,c,caller=T1;text\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := Parse(s)
		if ok && (r.Text == "" || strings.Contains(r.Text, "\n") || strings.Contains(r.Device, "\n") || r.Level < 0 || r.Level > 7 || r.At < 0) {
			t.Errorf("%q gave %+v", s, r)
		}
	})
}

func FuzzParseConsole(f *testing.F) {
	f.Add("[    4.794364] sd 0:2:0:0: [sda] text\n[    1.500000][    T1] x\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range ParseConsole(s) {
			if r.Text == "" || strings.Contains(r.Text, "\n") || r.At < 0 {
				t.Errorf("%q gave %+v", s, r)
			}
		}
	})
}
