package kmsg

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFormatConsole(t *testing.T) {
	records := []Record{
		{Seq: 1, Level: 5, At: 0, Text: "Linux version 6.1.0"},
		{Seq: 2, Level: 6, At: time.Second + 2*time.Microsecond, Text: "a program's", Foreign: true},
		{Seq: 3, Level: 6, At: 12345*time.Second + 654321*time.Microsecond, Text: "usb 1-1: it's [here]"},
	}
	text := FormatConsole(records)
	want := "[    0.000000] Linux version 6.1.0\n[12345.654321] usb 1-1: it's [here]\n"
	if d := cmp.Diff(want, string(text)); d != "" {
		t.Errorf("FormatConsole (-want +got):\n%s", d)
	}
	back := []Record{{Seq: 1, Level: -1, Text: records[0].Text}, {Seq: 2, Level: -1, At: records[2].At, Text: records[2].Text}}
	if d := cmp.Diff(back, ParseConsole(string(text))); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
}
