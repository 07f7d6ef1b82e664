package boot

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// fifth is a stanza of apt's history by bzip2, which the standard library does not write.
const fifth = "QlpoOTFBWSZTWdnBrf4AAAJfgAAQQGJ3EA4gCAAnp59AIABURTwUDQ00APKMg1T0NTamm01AAAfVnlBJRUAnzWPmc52CjWugGe6RCBpIbkdFZAVXEciLUGMaMpjLy+IMMlV4F6xI4ueP05oCVwp+LuSKcKEhs4Nb/A=="

func stanza(what string) string {
	return "\nStart-Date: 2026-06-01  04:00:00\nCommandline: " + what + "\nInstall: linux-image-" + what + ":amd64 (1)\nEnd-Date: x\n"
}

// pack packs a text as a rotated log's name says.
func pack(t *testing.T, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch {
	case strings.HasSuffix(name, ".gz"):
		return zip(t, text)
	case strings.HasSuffix(name, ".xz"):
		w, err = xz.NewWriter(&b)
	case strings.HasSuffix(name, ".zst"):
		w, err = zstd.NewWriter(&b)
	default:
		return text
	}
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// commands are those of a log's transactions, oldest first.
func commands(l Log) string {
	var out []string
	for _, tr := range l.Transactions {
		out = append(out, tr.Command)
	}
	return strings.Join(out, " ")
}

// TestRotatedLogs: parts are read in their order however logrotate numbers and packs them; one that is cut off or no archive ends
// the reading of older ones, and the log is not whole then.
func TestRotatedLogs(t *testing.T) {
	const base = "/var/log/apt/history.log"
	cut := func(name, text string) string { p := pack(t, name, text); return p[:len(p)*2/3] }
	noise := ""
	for i := range 4000 { // so that what is cut off is not all of it
		noise += fmt.Sprintf("# %d\n", i*7919)
	}
	for name, c := range map[string]struct {
		parts map[string]string
		want  string
		whole bool
	}{
		"numbers": {map[string]string{"": stanza("now"), ".1": stanza("one"), ".2.gz": pack(t, ".gz", stanza("two")), ".3.xz": pack(t, ".xz", stanza("three")),
			".4.zst": pack(t, ".zst", stanza("four")), ".10.gz": pack(t, ".gz", stanza("ten"))}, "ten four three two one now", true},
		"days":        {map[string]string{"": stanza("now"), "-20261101.xz": pack(t, ".xz", stanza("nov")), "-20261001": stanza("oct"), "-20251231.zst": pack(t, ".zst", stanza("dec"))}, "dec oct nov now", true},
		"bzip2":       {map[string]string{"": stanza("now"), ".1.bz2": unbase(t, fifth)}, "five now", true},
		"gzip cut":    {map[string]string{"": stanza("now"), ".1": stanza("one"), ".2.gz": cut(".gz", stanza("two")+noise), ".3": stanza("three")}, "one now", false},
		"xz cut":      {map[string]string{"": stanza("now"), ".1.xz": cut(".xz", stanza("one")+noise), ".2": stanza("two")}, "now", false},
		"zstd cut":    {map[string]string{"": stanza("now"), ".1.zst": cut(".zst", stanza("one")+noise), ".2": stanza("two")}, "now", false},
		"no archive":  {map[string]string{"": stanza("now"), ".1.xz": "plain", ".2": stanza("two")}, "now", false},
		"no part":     {map[string]string{"": stanza("now"), ".old": stanza("old"), "-2026": stanza("year"), ".0": stanza("null"), ".1.lz": "x"}, "now", true},
		"rotated now": {map[string]string{"": "", ".1": stanza("one")}, "one", true},
		"cut stanza":  {map[string]string{"": "Install: linux-image-lost:amd64 (1)\nEnd-Date: x\n" + stanza("now") + "\nStart-Date: 2026-07-01  04:00:00\nCommandl"}, "now ", true},
	} {
		h := newHost()
		for suffix, text := range c.parts {
			h = h.with(base+suffix, text)
		}
		l := logOf(t, ReadLogs(context.Background(), h.root(), nil), "apt")
		if have := commands(l); have != c.want || l.Whole != c.whole {
			t.Errorf("%s: %q, whole %v; want %q, %v", name, have, l.Whole, c.want, c.whole)
		}
	}
}

func FuzzTurn(f *testing.F) {
	for _, s := range []string{".1", ".2.gz", "-20261101.xz", ".gz", "", ".1.gz.xz", "-99999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		if n, ok := turn(rest); ok && n < 1 {
			t.Errorf("%q is %d back", rest, n)
		}
	})
}

func unbase(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMarkInRotatedPart: what was the newest transaction at the last good boot is found again after the log was rotated and packed,
// in every manager's log; where it is gone that is said.
func TestMarkInRotatedPart(t *testing.T) {
	for _, c := range []struct{ manager, base, old, new string }{
		{"apt", "/var/log/apt/history.log", stanza("old"), stanza("new")},
		{"dpkg", "/var/log/dpkg.log", "2026-06-01 04:00:00 install linux-image-a:amd64 <none> 1\n", "2026-06-02 04:00:00 startup archives unpack\n2026-06-02 04:00:00 upgrade linux-image-a:amd64 1 2\n"},
		{"pacman", "/var/log/pacman.log", "[2026-06-01T04:00:00+0000] [ALPM] upgraded linux (1 -> 2)\n[2026-06-01T04:00:00+0000] [ALPM] transaction completed\n",
			"[2026-06-02T04:00:00+0000] [ALPM] upgraded linux (2 -> 3)\n[2026-06-02T04:00:00+0000] [ALPM] transaction completed\n"},
		{"zypper", "/var/log/zypp/history", "2026-06-01 04:00:00|install|kernel-default|1|x86_64|root@a|repo|sum|\n", "2026-06-02 04:00:00|command|root@a|'zypper' 'dup'|\n2026-06-02 04:00:00|install|kernel-default|2|x86_64|root@a|repo|sum|\n"},
	} {
		before := logOf(t, ReadLogs(context.Background(), newHost().with(c.base, c.old).root(), nil), c.manager)
		mark := before.Last()
		for _, suffix := range []string{".1", ".1.gz", "-20261101.xz", ".2.zst"} {
			after := logOf(t, ReadLogs(context.Background(), newHost().with(c.base, c.new).with(c.base+suffix, pack(t, suffix, c.old)).root(), nil), c.manager)
			since, note := after.Since(mark, true, time.Time{})
			if len(since) != 1 || note != "" || mark == "" {
				t.Errorf("%s%s: mark %q, %+v, %q", c.manager, suffix, mark, since, note)
			}
		}
		gone := logOf(t, ReadLogs(context.Background(), newHost().with(c.base, c.new).root(), nil), c.manager)
		if since, note := gone.Since(mark, true, time.Time{}); len(since) != 1 || !strings.Contains(note, "do not go back to the last good boot") {
			t.Errorf("%s: %+v, %q", c.manager, since, note)
		}
	}
}

// TestMarkInAPartThatCannotBeRead: that not all was read is another reason than that it is gone.
func TestMarkInAPartThatCannotBeRead(t *testing.T) {
	h := newHost().with("/var/log/apt/history.log", stanza("new")).with("/var/log/apt/history.log.1.xz", "no archive")
	l := logOf(t, ReadLogs(context.Background(), h.root(), nil), "apt")
	if since, note := l.Since("gone", true, time.Time{}); len(since) != 1 || !strings.Contains(note, "only the newest 1 were read") {
		t.Errorf("%+v, %q", since, note)
	}
}

// TestPackedBomb: what unpacks to more than is read costs its end and no memory.
func TestPackedBomb(t *testing.T) {
	bomb := strings.Repeat(stanza("x"), 1<<18) // 22 MB
	for _, suffix := range []string{".1.gz", ".1.xz", ".1.zst"} {
		h := newHost().with("/var/log/apt/history.log", stanza("now")).with("/var/log/apt/history.log"+suffix, pack(t, suffix, bomb))
		l := logOf(t, ReadLogs(context.Background(), h.root(), nil), "apt")
		if d := cmp.Diff([]any{maxTransactions, false}, []any{len(l.Transactions), l.Whole}); d != "" {
			t.Errorf("%s: %s", suffix, d)
		}
	}
}
