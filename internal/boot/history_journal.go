package boot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBootList bounds the list of boots, maxBoots how many of them are looked into: each
	// takes two runs of journalctl.
	maxBootList = 1 << 20
	maxBoots    = 6
	// maxTail bounds what is read of a boot's end, maxHead of its beginning.
	maxTail   = 2 << 20
	maxHead   = 64 << 10
	tailLines = "500"
)

// journalBoots lists the boots before the current one, as the journal numbers its records.
func journalBoots(ctx context.Context, run Runner, current string) ([]Past, error) {
	out, err := run(ctx, maxBootList, "journalctl", "--list-boots", "--output=json", "--quiet", "--no-pager")
	if err != nil && !errors.Is(err, ErrCut) {
		return nil, err
	}
	ids, err := parseBootList(out)
	if err != nil {
		return nil, fmt.Errorf("read list of boots: %w", err)
	}
	here := slices.Index(ids, plainID(current))
	if here < 0 && len(ids) == 0 {
		return nil, errors.New("the journal keeps no boots (is its storage volatile?)")
	}
	if here >= 0 {
		ids = slices.Delete(ids, here, here+1)
	}
	if len(ids) == 0 {
		return nil, errors.New("the journal keeps no boot but this one (is its storage volatile?)")
	}
	var boots []Past
	for _, id := range newestBoots(ids, unsetBoots(out)) {
		boots = append(boots, journalBoot(ctx, run, id))
	}
	orderBoots(boots)
	return boots[max(0, len(boots)-maxBoots):], nil
}

// newestBoots are those that are looked into: the last of the list, and of those before them the last whose clock was never set.
// journalctl lists boots by the wall clock, so that a boot of 1970 stands before all others however new it is.
func newestBoots(ids []string, unset map[string]bool) []string {
	at := max(0, len(ids)-maxBoots)
	before := slices.DeleteFunc(slices.Clone(ids[:at]), func(id string) bool { return !unset[id] })
	return append(before[max(0, len(before)-maxBoots):], ids[at:]...)
}

// neverSet is before any clock that somebody set: no host with systemd was up in 2010.
var neverSet = time.Date(2010, time.January, 1, 0, 0, 0, 0, time.UTC)

// unsetBoots are the boots of the list that began before any clock was set. The list has times as JSON alone; a table's are for
// people, and in their language.
func unsetBoots(list []byte) map[string]bool {
	var entries []struct {
		ID    string `json:"boot_id"`
		First int64  `json:"first_entry"` // microseconds
	}
	if json.Unmarshal(list, &entries) != nil {
		return nil
	}
	out := map[string]bool{}
	for _, e := range entries {
		out[plainID(e.ID)] = e.First < neverSet.UnixMicro()
	}
	return out
}

// journalBoot looks at the beginning and the end of one boot. What cannot be read stays unknown.
func journalBoot(ctx context.Context, run Runner, id string) Past {
	p := Past{ID: id}
	head, err := run(ctx, maxHead, "journalctl", "--boot="+id, "--dmesg", "--output=json", "--output-fields=MESSAGE", "--no-pager", "--quiet")
	if err == nil || errors.Is(err, ErrCut) {
		for _, r := range parseRecords(head) {
			if b, err := parseBanner(r.Message); err == nil && strings.HasPrefix(r.Message, "Linux version ") {
				p.Release = b.release
				break
			}
		}
	}
	tail, err := run(ctx, maxTail, "journalctl", "--boot="+id, "--lines="+tailLines, "--output=json", "--no-pager", "--quiet",
		"--output-fields=MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER,_COMM,_AUDIT_LOGINUID,_UID")
	if err == nil || errors.Is(err, ErrCut) {
		p.take(parseRecords(tail))
	}
	return p
}

// take reads a boot's end out of its last records.
func (p *Past) take(records []record) {
	if len(records) == 0 {
		return
	}
	last := records[len(records)-1]
	p.chain, p.sequence, p.Seconds = last.place()
	p.Ended = EndNone
	for i, r := range records {
		how, by := r.ending()
		switch {
		case how == endJournal && i < len(records)-lastFew:
			// The journal was started anew in the middle of the boot.
		case how == endJournal, how == endSome:
			p.Ended = EndClean
		case how != "":
			p.Ended, p.How = EndClean, how
		}
		if by != "" && !slices.Contains(p.By, by) {
			p.By = append(p.By, by)
		}
	}
}

// lastFew is how many records may follow the journal's own last one.
const lastFew = 3

// orderBoots sorts by the journal's sequence numbers, where all are of one series: a host
// without a clock of its own lists its boots by a wall clock that begins anew each time.
func orderBoots(boots []Past) {
	for _, b := range boots {
		if b.chain == "" || b.chain != boots[0].chain {
			return
		}
	}
	slices.SortStableFunc(boots, func(a, b Past) int { return cmp.Compare(a.sequence, b.sequence) })
}

// plainID is a boot id as the journal writes it: without hyphens.
func plainID(id string) string { return strings.ToLower(strings.ReplaceAll(id, "-", "")) }

func isBootID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// parseBootList reads `journalctl --list-boots`: JSON since systemd 251, a table before.
func parseBootList(b []byte) ([]string, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil, nil
	}
	var ids []string
	if b[0] == '[' {
		var list []struct {
			ID string `json:"boot_id"`
		}
		if err := json.Unmarshal(b, &list); err != nil {
			return nil, err
		}
		for _, e := range list {
			if isBootID(plainID(e.ID)) {
				ids = append(ids, plainID(e.ID))
			}
		}
	} else {
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 2 || !isBootID(f[1]) {
				continue
			}
			if _, err := strconv.Atoi(f[0]); err == nil {
				ids = append(ids, f[1])
			}
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%.80q names no boot", b)
	}
	return ids, nil
}

// record is what is read of one record of the journal.
type record struct {
	Cursor     string
	Message    string
	MessageID  string
	Identifier string
	Comm       string
	LoginUID   string
}

// parseRecords reads journalctl's JSON, one object a line; a line that is cut off or no object
// is passed over. A field may be a text, a list of bytes (where it is no UTF-8) or null.
func parseRecords(b []byte) []record {
	var out []record
	for line := range bytes.Lines(b) {
		var m map[string]json.RawMessage
		if json.Unmarshal(line, &m) != nil || m == nil {
			continue
		}
		out = append(out, record{field(m["__CURSOR"]), field(m["MESSAGE"]), field(m["MESSAGE_ID"]), field(m["SYSLOG_IDENTIFIER"]), field(m["_COMM"]), field(m["_AUDIT_LOGINUID"])})
	}
	return out
}

func field(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var bytes []uint16
	if json.Unmarshal(raw, &bytes) != nil {
		return ""
	}
	out := make([]byte, 0, len(bytes))
	for _, b := range bytes {
		out = append(out, byte(b))
	}
	return strings.ToValidUTF8(string(out), "?")
}

// place reads a cursor: s=SERIES;i=NUMBER;b=BOOT;m=MICROSECONDS of uptime;… in hexadecimal
// (sd_journal_get_cursor). Every version of the journal writes it.
func (r *record) place() (chain string, sequence uint64, seconds float64) {
	for part := range strings.SplitSeq(r.Cursor, ";") {
		name, value, _ := strings.Cut(part, "=")
		n, err := strconv.ParseUint(value, 16, 64)
		switch {
		case name == "s":
			chain = value
		case err != nil:
		case name == "i":
			sequence = n
		case name == "m":
			seconds = float64(n) / 1e6
		}
	}
	return chain, sequence, seconds
}
