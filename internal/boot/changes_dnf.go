package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lastgood/internal/sysfs"
)

const (
	// maxDnf bounds what is read of dnf's answers.
	maxDnf = 8 << 20
	// maxDnfInfo is how many transactions are asked about: the newest.
	maxDnfInfo = 30
)

// dnfHistories are where dnf 5 and dnf 4 keep their history: SQLite databases, which only dnf
// itself is asked to read.
var dnfHistories = []struct{ file, program string }{
	{"/usr/lib/sysimage/libdnf5/transaction_history.sqlite", "dnf5"},
	{"/var/lib/dnf/history.sqlite", "dnf"},
}

// readDnf asks dnf for its history; nil where the host has none.
func readDnf(ctx context.Context, root *sysfs.Root, run Runner) *Log {
	for _, h := range dnfHistories {
		found, err := root.Exists(ctx, h.file)
		if err != nil {
			return &Log{Manager: "dnf", Err: err}
		}
		if !found {
			continue
		}
		ask := readDnf4
		if h.program == "dnf5" {
			ask = readDnf5
		}
		l := &Log{Manager: "dnf"}
		l.Transactions, l.Whole, err = ask(ctx, run)
		if err != nil {
			l.Err = fmt.Errorf("read %s: %w", h.file, err)
		}
		return l
	}
	return nil
}

func readDnf4(ctx context.Context, run Runner) ([]Transaction, bool, error) {
	// --cacheonly: no repository is reached for this.
	out, err := run(ctx, maxDnf, "dnf", "--quiet", "--cacheonly", "history", "list")
	if err != nil && !errors.Is(err, ErrCut) {
		return nil, false, err
	}
	ids := parseDnfList(string(out))
	if len(ids) == 0 {
		return nil, true, nil
	}
	asked := ids[:min(len(ids), maxDnfInfo)]
	out, err = run(ctx, maxDnf, "dnf", append([]string{"--quiet", "--cacheonly", "history", "info"}, asked...)...)
	if err != nil && !errors.Is(err, ErrCut) {
		return nil, false, err
	}
	all := parseDnfInfo(string(out))
	if len(all) == 0 {
		return nil, false, errors.New("`dnf history info` could not be understood")
	}
	return all, len(asked) == len(ids), nil
}

// parseDnfList reads the table of `dnf history list`: the number is its first column, newest first.
func parseDnfList(text string) []string {
	var ids []string
	for line := range strings.Lines(text) {
		first, _, found := strings.Cut(line, "|")
		if id := strings.TrimSpace(first); found && isNumber(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// dnfActions are dnf's words for what happened to a package, in both versions; those that name
// what was replaced say the old version only.
var dnfActions = map[string]string{
	"install": "install", "dep-install": "install", "upgrade": "upgrade", "upgraded": "old", "downgrade": "downgrade", "downgraded": "old", "replaced": "old",
	"erase": "remove", "remove": "remove", "removed": "remove", "obsoleted": "remove", "obsoleting": "install", "reinstall": "reinstall", "reinstalled": "old",
}

// parseDnfInfo reads `dnf history info` of dnf 4: "Name : value" lines, then a table of packages
// behind "Packages Altered:". Several transactions are parted by a line of hyphens.
func parseDnfInfo(text string) []Transaction {
	var out []Transaction
	var now *dnfTransaction
	inPackages := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		name, value, pair := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case pair && name == "Transaction ID":
			if now != nil {
				out = append(out, now.done())
			}
			now = &dnfTransaction{t: Transaction{Manager: "dnf", ID: flatText(value)}}
			inPackages = false
		case now == nil:
		case pair && name == "Packages Altered":
			inPackages = true
		case inPackages && strings.HasPrefix(line, " "):
			if f := strings.Fields(strings.ReplaceAll(line, "**", " ")); len(f) >= 2 {
				now.take(f[0], f[1])
			}
		case pair:
			now.t.dnfField(name, value)
			inPackages = false
		}
	}
	if now != nil {
		out = append(out, now.done())
	}
	slices.SortStableFunc(out, byNumber)
	return out
}

func byNumber(a, b Transaction) int {
	x, _ := strconv.ParseUint(a.ID, 10, 64)
	y, _ := strconv.ParseUint(b.ID, 10, 64)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (t *Transaction) dnfField(name, value string) {
	switch name {
	case "Begin time":
		t.Time = flatText(value)
		if when, err := time.Parse("Mon Jan _2 15:04:05 2006", value); err == nil { // %c in the C locale, UTC
			t.when = when
		}
	case "User":
		t.User = dnfUser(value)
	case "Command Line":
		t.Command = flatText(value)
		t.Auto = isAutomatic(value)
	case "Return-Code":
		t.Failed = value != "Success"
	}
}

// dnfUser reads "Full Name <login>"; "System <unset>" is of a process without a login.
func dnfUser(s string) string {
	if strings.Contains(s, "<unset>") {
		return ""
	}
	if _, login, ok := strings.Cut(s, "<"); ok {
		return flatText(strings.TrimSuffix(login, ">"))
	}
	return flatText(s)
}

// dnfTransaction joins what was replaced to what replaced it.
type dnfTransaction struct {
	t   Transaction
	all []PackageChange
	old map[string]string // name → version
}

// take reads one package: its action, and name-[epoch:]version-release.arch.
func (d *dnfTransaction) take(action, nevra string) {
	name, version, ok := splitNEVRA(nevra)
	known := dnfActions[strings.ToLower(action)]
	switch {
	case !ok || known == "":
	case known == "old":
		if d.old == nil {
			d.old = map[string]string{}
		}
		d.old[name] = version
	case known == "remove":
		d.all = append(d.all, PackageChange{Name: name, Action: known, Old: version})
	default:
		d.all = append(d.all, PackageChange{Name: name, Action: known, New: version})
	}
}

func (d *dnfTransaction) done() Transaction {
	for _, c := range d.all {
		if c.Action != "remove" && c.Action != "install" {
			c.Old = d.old[c.Name]
		}
		d.t.add(c)
	}
	d.t.key = d.t.ID // dnf numbers its transactions
	return d.t
}

var rpmArches = []string{"noarch", "x86_64", "x86_64_v2", "i686", "aarch64", "armv7hl", "ppc64le", "s390x", "riscv64", "src"}

// splitNEVRA parts the name from "version-release.arch". A table that is too narrow cuts names off:
// such a one is not taken.
func splitNEVRA(s string) (name, version string, ok bool) {
	if i := strings.LastIndexByte(s, '.'); i > 0 && slices.Contains(rpmArches, s[i+1:]) {
		s = s[:i]
	}
	release := strings.LastIndexByte(s, '-')
	if release <= 0 {
		return "", "", false
	}
	v := strings.LastIndexByte(s[:release], '-')
	if v <= 0 || v+1 == release || release+1 == len(s) {
		return "", "", false
	}
	return flatText(s[:v]), flatText(s[v+1:]), true
}

func readDnf5(ctx context.Context, run Runner) ([]Transaction, bool, error) {
	out, err := run(ctx, maxDnf, "dnf5", "history", "list", "--json")
	if err != nil {
		return nil, false, err
	}
	ids, err := parseDnf5List(out)
	if err != nil || len(ids) == 0 {
		return nil, err == nil, err
	}
	asked := ids[max(0, len(ids)-maxDnfInfo):]
	args := []string{"history", "info", "--json"}
	for _, id := range asked {
		args = append(args, strconv.FormatInt(id, 10))
	}
	if out, err = run(ctx, maxDnf, "dnf5", args...); err != nil {
		return nil, false, err
	}
	all, err := parseDnf5Info(out)
	return all, len(asked) == len(ids), err
}

// parseDnf5List gives the numbers, smallest first.
func parseDnf5List(b []byte) ([]int64, error) {
	var list []struct {
		ID int64 `json:"id"`
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read dnf5's list: %w", err)
	}
	var ids []int64
	for _, e := range list {
		if e.ID > 0 {
			ids = append(ids, e.ID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// parseDnf5Info reads dnf5's own JSON of transactions, whose description is the command line.
func parseDnf5Info(b []byte) ([]Transaction, error) {
	var list []struct {
		ID          int64  `json:"id"`
		Start       int64  `json:"start_time"`
		User        string `json:"user_name"`
		Status      string `json:"status"`
		Description string `json:"description"`
		Packages    []struct {
			NEVRA  string `json:"nevra"`
			Action string `json:"action"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read dnf5's transactions: %w", err)
	}
	var out []Transaction
	for _, e := range list {
		when := time.Unix(e.Start, 0).UTC()
		d := dnfTransaction{t: Transaction{Manager: "dnf", ID: strconv.FormatInt(e.ID, 10), Time: when.Format("2006-01-02 15:04:05Z"), when: when,
			Command: flatText(e.Description), User: dnf5User(e.User), Auto: isAutomatic(e.Description), Failed: e.Status != "" && !strings.EqualFold(e.Status, "ok")}}
		for _, p := range e.Packages {
			d.take(p.Action, p.NEVRA)
		}
		out = append(out, d.done())
	}
	slices.SortStableFunc(out, byNumber)
	return out, nil
}

// dnf5User reads "UID Full Name <login>", and leaves out the number that stands for nobody.
func dnf5User(s string) string {
	s = strings.TrimSpace(s)
	uid, rest, _ := strings.Cut(s, " ")
	if uid == "4294967295" {
		return ""
	}
	if isNumber(uid) && rest != "" {
		return dnfUser(rest)
	}
	return dnfUser(s)
}
