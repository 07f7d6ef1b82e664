package cli

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/collect"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const hostsFolder = "../../testdata/hosts"

func recordedHost(name string) string { return filepath.Join(hostsFolder, name+".tar.gz") }

// said runs a command as a person does, and gives what it printed.
func said(t *testing.T, width int, env map[string]string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	status, err := run(t.Context(), args, Env{Out: &out, Err: &errs, Width: width, OutTTY: env["TTY"] != "", Getenv: func(k string) string {
		if k == "LANG" && env[k] == "" {
			return "C.UTF-8"
		}
		return env[k]
	}})
	if status != exitOK || err != nil {
		t.Fatalf("lastgood %s = %d, %v\n%s", strings.Join(args, " "), status, err, errs.String())
	}
	return out.String()
}

// snapshotOf keeps a recorded host's snapshot in a file.
func snapshotOf(t *testing.T, host string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), host+".json")
	if err := os.WriteFile(name, []byte(said(t, 0, nil, "inventory", "--root", recordedHost(host), "-o", "json")), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestInventoryOfRecordings(t *testing.T) {
	t.Setenv("PCIDB_PATH", filepath.Join(t.TempDir(), "none")) // names are of the list that a host has
	for _, c := range []struct {
		host, against string
		width         int
	}{
		{"full61", "", 100}, {"full61", "full61", 80}, {"full612", "full61", 100}, {"usb-nouas", "usb-base", 80}, {"usb-nouas", "usb-base", 60}, {"usb-hs", "usb-base", 80},
		{"shiftB", "shiftA", 80}, {"dead-xhci-after", "dead-xhci-before", 80}, {"hwmon61", "", 60}, {"bmc-ghost", "bmc-notry", 80}, {"udev61", "", 80},
	} {
		name := c.host
		args := []string{"inventory", "--root", recordedHost(c.host)}
		if c.against != "" {
			name += "-against-" + c.against
			args = append(args, "--against", snapshotOf(t, c.against))
		}
		file := filepath.Join("testdata", "inventory", name+"."+map[int]string{60: "60", 80: "80", 100: "100"}[c.width]+".txt")
		t.Run(filepath.Base(file), func(t *testing.T) {
			got := said(t, c.width, nil, args...)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; run with -update", err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("inventory (-want +got):\n%s", d)
			}
			for line := range strings.Lines(got) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > c.width {
					t.Errorf("a line of %d columns: %q", n, line)
				}
			}
			colours(t, c.width, got, args)
		})
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// colours checks that they take no room, and that NO_COLOR keeps them away.
func colours(t *testing.T, width int, plain string, args []string) {
	t.Helper()
	if d := cmp.Diff(plain, said(t, width, map[string]string{"TTY": "1", "NO_COLOR": "1"}, args...)); d != "" {
		t.Errorf("with NO_COLOR on a terminal (-plain +got):\n%s", d)
	}
	coloured := said(t, width, map[string]string{"TTY": "1"}, args...)
	if d := cmp.Diff(plain, escape.ReplaceAllString(coloured, "")); d != "" || plain == coloured {
		t.Errorf("in colour (-plain +got without escapes):\n%s", d)
	}
}

// The last good boot is compared with unasked, where there is one, and nothing else is.
func TestInventoryAgainstLastGood(t *testing.T) {
	state := t.TempDir()
	args := []string{"inventory", "--root", recordedHost("usb-nouas"), "--state-dir", state}
	if got := said(t, 80, nil, args...); strings.Contains(got, "compared with") {
		t.Errorf("without a last good boot:\n%s", got)
	}
	said(t, 80, nil, "check", "--root", booted(t, "usb-base"), "--state-dir", state)
	if got := said(t, 80, nil, args...); !strings.Contains(got, "! no driver (was uas)") {
		t.Errorf("with a last good boot nothing is marked:\n%s", got)
	}
	if got := said(t, 80, nil, append(args, "--against", "none")...); strings.Contains(got, "compared with") {
		t.Errorf("--against none:\n%s", got)
	}
	status, err := run(context.Background(), append(args, "--against", "no-such-boot"), Env{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Getenv: os.Getenv})
	if status != exitUsage || err == nil {
		t.Errorf("--against what is not there = %d, %v", status, err)
	}
}

// booted is a recorded host that has a boot id and a machine id too.
func booted(t *testing.T, host string) string {
	t.Helper()
	under, err := sysfs.OpenTreeFS(recordedHost(host))
	if err != nil {
		t.Fatal(err)
	}
	recorder := sysfs.NewRecorder(under, map[string][]byte{
		"/proc/sys/kernel/random/boot_id": []byte("b6c2bb2d-3b1c-4d3a-9a1e-0123456789ab\n"),
		"/etc/machine-id":                 []byte("4f1d2c3b5a697887766554433221100f\n"),
	})
	h := source.Host{Root: sysfs.WithPatience(recorder, time.Hour), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if _, err := collect.Run(t.Context(), collect.Options{Host: h, Sources: recordable(), Budget: time.Minute, Jobs: 1}); err != nil {
		t.Fatal(err)
	}
	packed, _, err := recorder.Recording().Pack(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), host+".tar.gz")
	if err := os.WriteFile(name, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
