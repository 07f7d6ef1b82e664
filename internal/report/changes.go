package report

import (
	"fmt"
	"strings"
)

// Boot says how the boot came about.
type Boot struct {
	Class    string `json:"class"` // as intended, fell back, …; "" where it could not be told
	Intended string `json:"intended,omitempty"`
	Entry    string `json:"intended_entry,omitempty"`
	Running  string `json:"running,omitempty"`
	Basis    string `json:"basis,omitempty"`
	Between  string `json:"between,omitempty"`
	Why      string `json:"why,omitempty"`
}

// Since is what changed on the host since the last good boot.
type Since struct {
	Facts        []SinceFact   `json:"facts"`
	Transactions []Transaction `json:"transactions"`
	// Unrelated counts transactions that touched nothing that the kernel or the boot goes through.
	Unrelated int    `json:"unrelated"`
	Reboot    Reboot `json:"reboot"`
	// Notes say what could not be told.
	Notes []string `json:"notes,omitempty"`
}

// SinceFact is one part of the boot that is another now.
type SinceFact struct {
	What string `json:"what"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Transaction is one run of a package manager.
type Transaction struct {
	Manager   string          `json:"manager"`
	ID        string          `json:"id,omitempty"`
	Time      string          `json:"time"`
	Command   string          `json:"command,omitempty"`
	User      string          `json:"user,omitempty"`
	Automatic bool            `json:"automatic,omitempty"` // a timer's
	Failed    bool            `json:"failed,omitempty"`
	Packages  []PackageChange `json:"packages"`
	Others    int             `json:"others,omitempty"` // further packages
}

// PackageChange is one package of a transaction.
type PackageChange struct {
	Name   string `json:"name"`
	Action string `json:"action"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
}

// Reboot is how the boot before this one ended.
type Reboot struct {
	Ended string   `json:"ended,omitempty"` // clean, or no record; "" where it could not be told
	How   string   `json:"how,omitempty"`
	By    []string `json:"by,omitempty"`
	Why   string   `json:"why,omitempty"` // why it could not be told
}

const sinceTitle = "What changed since the last good boot"

// empty reports whether there is nothing to tell: a reboot that was asked for is no change.
func (s *Since) empty() bool {
	return s == nil || len(s.Facts) == 0 && len(s.Transactions) == 0 && len(s.Notes) == 0 && s.Reboot.Ended != "no record"
}

// since tells what changed, who did it, and who rebooted.
func (p *page) since(r *Report) {
	if b := r.Boot; b != nil && b.Class != "" && (p.o.Verbose || b.Class != "as intended") {
		p.line("  boot:      ", dim, flat(b.Class)+": "+cut(flat(b.Why), longText))
	}
	s := r.Since
	if s.empty() {
		return
	}
	p.head(sinceTitle)
	for _, f := range s.Facts {
		p.line("  "+flat(f.What)+": ", dim, cut(orNone(flat(f.Old))+" → "+orNone(flat(f.New)), longText))
	}
	const most = 8
	hidden := 0
	for i, t := range s.Transactions {
		if n := len(s.Transactions); !p.o.Verbose && n > most && i < n-most {
			hidden++
			continue
		}
		p.line("  - ", plain, t.told())
		p.line("    ", dim, t.packages(p.o.Verbose))
	}
	if hidden > 0 {
		p.line("  ", dim, fmt.Sprintf("(%d earlier ones with -v)", hidden))
	}
	p.line("  rebooted:  ", dim, s.Reboot.told())
	for _, n := range s.Notes {
		p.line("  note: ", yellow, n)
	}
}

// told is a transaction in one line: when, who, what was typed.
func (t *Transaction) told() string {
	who := "by somebody that its log does not name"
	switch {
	case t.Automatic && t.User == "":
		who = "automatically, by a timer"
	case t.User != "":
		who = "by " + flat(t.User)
	case t.Manager == "apt":
		who = "by root, not through sudo" // apt notes who sudo or polkit acts for
	}
	text := strings.TrimSpace(flat(t.Time)+" "+flat(t.Manager)+" "+flat(t.ID)) + ", " + who
	if t.Command != "" {
		text += ": " + cut(flat(t.Command), longText/4)
	}
	if t.Failed {
		text += " (failed)"
	}
	return text
}

func (t *Transaction) packages(all bool) string {
	const most = 6
	var parts []string
	for i, c := range t.Packages {
		if !all && i == most && len(t.Packages) > most+1 {
			parts = append(parts, fmt.Sprintf("and %d more of the kind", len(t.Packages)-most))
			break
		}
		switch {
		case c.Action == "remove":
			parts = append(parts, flat(c.Name)+" removed (was "+orDash(flat(c.Old))+")")
		case c.Old != "":
			parts = append(parts, flat(c.Name)+" "+flat(c.Old)+" → "+flat(c.New))
		default:
			parts = append(parts, flat(c.Name)+" "+flat(c.New)+" new")
		}
	}
	text := strings.Join(parts, ", ")
	if t.Others > 0 {
		text += fmt.Sprintf("; %d other packages", t.Others)
	}
	return text
}

func (r *Reboot) told() string {
	switch {
	case r.Ended == "no record":
		return "no shutdown record: crash, power or watchdog"
	case r.Ended == "":
		return "could not be told: " + orDash(flat(r.Why))
	}
	text := "in order"
	if r.How != "" {
		text += " (" + flat(r.How) + ")"
	}
	if len(r.By) == 0 {
		return text + ", by somebody that the logs do not name"
	}
	return text + ": " + flat(strings.Join(r.By, "; "))
}

// markdownSince is since for a ticket.
func markdownSince(b *strings.Builder, r *Report) {
	if bt := r.Boot; bt != nil && bt.Class != "" && bt.Class != "as intended" {
		fmt.Fprintf(b, "- boot: %s: %s\n", cell(bt.Class), cell(cut(bt.Why, longText)))
	}
	s := r.Since
	if s.empty() {
		return
	}
	fmt.Fprintf(b, "\n**%s**\n\n", sinceTitle)
	for _, f := range s.Facts {
		fmt.Fprintf(b, "- %s: %s → %s\n", cell(f.What), cell(cut(orNone(f.Old), longText)), cell(cut(orNone(f.New), longText)))
	}
	for i := range s.Transactions {
		t := &s.Transactions[i]
		fmt.Fprintf(b, "- %s: %s\n", cell(t.told()), cell(t.packages(false)))
	}
	fmt.Fprintf(b, "- rebooted: %s\n", cell(s.Reboot.told()))
	for _, n := range s.Notes {
		fmt.Fprintf(b, "- note: %s\n", cell(n))
	}
}
