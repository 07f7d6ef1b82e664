// Package notify tells somebody what became of a boot: the journal and the message of the
// day at once, everybody else over the network, by way of a spool on disk.
//
// A boot that is bad may have no network. What is to be told is therefore written down
// first, sent when it can be, and what is left is sent from the boot that follows, the
// oldest first. A message is tried for a day.
package notify

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// MessageSchema is that of a message's JSON form, as webhooks get it.
const MessageSchema = "lastgood.message/v1"

// Message is what is told.
type Message struct {
	Schema   string   `json:"schema"`
	Event    string   `json:"event"`
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Text     string   `json:"text"`
	Host     string   `json:"host"`
	BootID   string   `json:"boot_id,omitempty"`
	Kernel   string   `json:"kernel,omitempty"`
	// BaselineKernel is that of the last good boot.
	BaselineKernel string    `json:"baseline_kernel,omitempty"`
	Verdict        string    `json:"verdict,omitempty"`
	Time           time.Time `json:"time"`
	// Findings are the worst of them, a line each.
	Findings []string `json:"findings,omitempty"`
	// Number counts the messages that wait on this host, from 1 where none does.
	Number int64 `json:"number"`

	sent time.Time // when this try is made, by this host's clock
}

// Bounds of a message: a report has its place on disk, and a datagram to the journal has a bound.
const (
	maxText     = 2 << 10
	maxFinding  = 300
	maxFindings = 20
)

// New makes a message of an event of the catalogue.
func New(event, text string) (Message, error) {
	e, ok := EventNamed(event)
	if !ok {
		return Message{}, fmt.Errorf("make message: no event is named %q", event)
	}
	return Message{Schema: MessageSchema, Event: event, Severity: e.Severity, Title: e.Title, Text: oneLine(text, maxText)}, nil
}

// AddFindings adds the first findings, bounded.
func (m *Message) AddFindings(lines []string) {
	for i, l := range lines {
		if i == maxFindings {
			m.Findings = append(m.Findings, fmt.Sprintf("and %d more", len(lines)-i))
			return
		}
		m.Findings = append(m.Findings, oneLine(l, maxFinding))
	}
}

// Key tells a message from all others, and is the same each time it is sent. The time is in it because the numbers begin
// anew when the spool is empty: whoever drops what came twice would drop the second hold of a boot.
func (m *Message) Key() string {
	return fmt.Sprintf("%s/%s/%d-%d", m.BootID, m.Event, m.Number, m.Time.UnixMilli())
}

// headline is the message in one line.
func (m *Message) headline() string {
	return fmt.Sprintf("%s: %s", m.Host, m.Title)
}

// body is the message for people.
func (m *Message) body() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", m.Text)
	for _, f := range m.Findings {
		fmt.Fprintf(&b, "- %s\n", f)
	}
	b.WriteString("\n")
	if e, ok := EventNamed(m.Event); ok && m.Severity != Info {
		fmt.Fprintf(&b, "%s\n", e.Doc) // what it means and what to type, for who reads this at night
	}
	if m.Kernel != "" {
		fmt.Fprintf(&b, "kernel %s", m.Kernel)
		if m.BaselineKernel != "" && m.BaselineKernel != m.Kernel {
			fmt.Fprintf(&b, ", last good %s", m.BaselineKernel)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "boot %s, %s\n", m.BootID, m.Time.UTC().Format(time.RFC3339))
	return b.String()
}

// oneLine makes a text fit for a line: no control characters, bounded.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.Fields(s), " ")
	return cut(s, limit)
}

// cut bounds a text in bytes, and says by an ellipsis that it did.
func cut(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// Config says whom to tell. Secrets stand in files of their own, for the configuration
// may be read by all.
type Config struct {
	// MOTD: a line for whoever logs in (default: yes).
	MOTD *bool `yaml:"motd"`
	// Mail is sent with the host's own sendmail.
	Mail *Mail `yaml:"mail"`
	// Webhooks get the message as JSON.
	Webhooks []Webhook `yaml:"webhooks"`
	// Alertmanagers get alerts by their v2 interface.
	Alertmanagers []Alertmanager `yaml:"alertmanagers"`
	Slack         []Slack        `yaml:"slack"`
	Ntfy          []Ntfy         `yaml:"ntfy"`
	// DeadMan is fetched when a boot is good, and never else: whoever waits for it
	// misses a host that does not come up.
	DeadMan string `yaml:"dead_man"`
	// Least is the least severity that is sent over the network: info (default), warning, critical.
	Least Severity `yaml:"least"`
}

// Mail is a mail by the host's own means.
type Mail struct {
	To   []string `yaml:"to"`
	From string   `yaml:"from"`
	// Sendmail is the program (default: /usr/sbin/sendmail).
	Sendmail string `yaml:"sendmail"`
}

// Webhook is an address that takes JSON by POST.
type Webhook struct {
	URL string `yaml:"url"`
	// SecretFile holds the key of the HMAC-SHA256 in X-Lastgood-Signature.
	SecretFile string `yaml:"secret_file"`
}

// Alertmanager is an address that has /api/v2/alerts.
type Alertmanager struct {
	URL    string            `yaml:"url"`
	Labels map[string]string `yaml:"labels"`

	least Severity // of the whole configuration: what matters less begins no alert
}

// Slack is an incoming webhook of Slack or of what speaks like it; the address is the secret.
type Slack struct {
	URLFile string `yaml:"url_file"`
}

// Ntfy is a topic of an ntfy server.
type Ntfy struct {
	URL       string `yaml:"url"`
	Topic     string `yaml:"topic"`
	TokenFile string `yaml:"token_file"`
}

// Check refuses what could never tell anybody.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("notify: "+format, args...)) }
	for _, w := range c.Webhooks {
		if why := badURL(w.URL); why != "" {
			bad("webhooks: url %q: %s", w.URL, why)
		}
	}
	for _, a := range c.Alertmanagers {
		if why := badURL(a.URL); why != "" {
			bad("alertmanagers: url %q: %s", a.URL, why)
		}
	}
	for _, n := range c.Ntfy {
		if why := badURL(n.URL); why != "" {
			bad("ntfy: url %q: %s", n.URL, why)
		}
		if n.Topic == "" {
			bad("ntfy: %s has no topic", n.URL)
		}
	}
	for i, s := range c.Slack {
		if s.URLFile == "" {
			bad("slack: entry %d has no url_file", i+1)
		}
	}
	if c.Mail != nil {
		c.Mail.check(bad)
	}
	if c.DeadMan != "" && badURL(c.DeadMan) != "" {
		bad("dead_man: %q: %s", c.DeadMan, badURL(c.DeadMan))
	}
	if _, known := rank[c.Least]; !known && c.Least != "" {
		bad("least: %q is none of critical, warning, info", c.Least)
	}
	return errors.Join(errs...)
}

func (m *Mail) check(bad func(string, ...any)) {
	if len(m.To) == 0 {
		bad("mail: it goes to nobody")
	}
	for _, a := range append([]string{m.From}, m.To...) {
		if strings.ContainsAny(a, "\r\n") || strings.HasPrefix(a, "-") {
			bad("mail: %q is no address", a)
		}
	}
	if m.Sendmail != "" && !strings.HasPrefix(m.Sendmail, "/") {
		bad("mail: sendmail %q is no absolute path", m.Sendmail)
	}
}

func badURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "it is no address"
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "it must begin with http:// or https:// and name a host"
	}
	return ""
}

var rank = map[Severity]int{Info: 0, Warning: 1, Critical: 2}
