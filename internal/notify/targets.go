package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// target is somebody who is told by way of the spool.
type target struct {
	name string
	// wants says which messages it gets.
	wants func(*Message) bool
	send  func(ctx context.Context, m *Message) error
	// fresh: what is of an earlier boot would be a lie.
	fresh bool
}

// refusedError is an answer that sending again would hardly change; later messages need
// not wait for this one.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

// Patience bounds one attempt at one target.
const Patience = 10 * time.Second

// targets are those of the configuration, in its order. Their names are in the spool and
// hold no secret.
func (c *Config) targets() []target {
	var out []target
	severe := func(m *Message) bool { return rank[m.Severity] >= rank[c.Least] || m.Event == EventTest }
	add := func(kind, id string, send func(context.Context, *Message) error) {
		out = append(out, target{name: kind + " " + id, wants: severe, send: send})
	}
	if c.Mail != nil {
		add("mail", strings.Join(c.Mail.To, ","), c.Mail.send)
	}
	for _, w := range c.Webhooks {
		add("webhook", publicURL(w.URL), w.send)
	}
	for _, a := range c.Alertmanagers {
		a.least = c.Least
		add("alertmanager", publicURL(a.URL), a.send)
	}
	for _, s := range c.Slack {
		add("slack", s.URLFile, s.send)
	}
	for _, n := range c.Ntfy {
		add("ntfy", publicURL(n.URL)+" "+n.Topic, n.send)
	}
	for i := range out {
		if strings.HasPrefix(out[i].name, "alertmanager ") {
			// What ends an alert is sent, however little it matters by itself.
			out[i].wants = func(m *Message) bool {
				return severe(m) || slices.ContainsFunc(Events(), func(e Event) bool { return m.endedBy(e.Name) })
			}
		}
	}
	if c.DeadMan != "" {
		out = append(out, target{name: "dead_man " + publicURL(c.DeadMan), fresh: true, send: c.ping,
			wants: func(m *Message) bool { return m.Event == EventGood }})
	}
	return out
}

// Names lists whom a message would be sent to.
func (c *Config) Names() []string {
	var out []string
	for _, t := range c.targets() {
		out = append(out, t.name)
	}
	return out
}

// publicURL is an address without what may be a secret: user, query, and the path but for
// its first element.
func publicURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(an address that cannot be read)"
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	sum := sha256.Sum256([]byte(s))
	return fmt.Sprintf("%s/%s#%s", u.Host, first, hex.EncodeToString(sum[:3]))
}

// secretFile reads a secret.
func secretFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("read secret: %s is empty", name)
	}
	return s, nil
}

// post sends JSON and wants an answer of 2xx.
func post(ctx context.Context, to string, v any, headers map[string]string, sign string) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be read")
	}
	req.Header.Set("Content-Type", "application/json")
	for k, h := range headers {
		req.Header.Set(k, h)
	}
	if sign != "" {
		mac := hmac.New(sha256.New, []byte(sign))
		mac.Write(body)
		req.Header.Set("X-Lastgood-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return do(req)
}

// do sends a request, once, without following redirects: a signed message is for one place.
func do(req *http.Request) error {
	req.Header.Set("User-Agent", "lastgood")
	client := http.Client{Timeout: Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	var ue *url.Error
	if errors.As(err, &ue) {
		return fmt.Errorf("%s: %w", req.URL.Host, ue.Err) // without the address, which may be a secret
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // only for people
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err = fmt.Errorf("%s: %s: %s", req.URL.Host, resp.Status, oneLine(string(said), 200))
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return err
	}
	if resp.StatusCode < 500 {
		return refusedError{err}
	}
	return err
}

func (w Webhook) send(ctx context.Context, m *Message) error {
	sign := ""
	if w.SecretFile != "" {
		var err error
		if sign, err = secretFile(w.SecretFile); err != nil {
			return err
		}
	}
	return post(ctx, w.URL, m, map[string]string{"Idempotency-Key": m.Key()}, sign)
}

func (s Slack) send(ctx context.Context, m *Message) error {
	to, err := secretFile(s.URLFile)
	if err != nil {
		return err
	}
	text := slackText(m)
	block := map[string]any{"type": "section", "text": map[string]string{"type": "mrkdwn", "text": text}}
	return post(ctx, to, map[string]any{"text": m.headline(), "blocks": []any{block}}, nil, "")
}

// mostSlack bounds the text of a block, which takes 3,000 characters; the escapes count.
const mostSlack = 2900

// slackText is the message with Slack's three escapes, shortened line by line so that none is cut in two.
func slackText(m *Message) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	return shorten("*"+m.headline()+"*\n"+m.body(), mostSlack, escape.Replace)
}

// shorten gives the lines of a text that fit into a bound after they were written as the receiver wants them, the last three (what
// to do, the kernel, the boot) before the others, and says how many it left out.
func shorten(text string, most int, write func(string) string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = write(cut(l, most/4))
	}
	tail := lines[max(0, len(lines)-3):]
	head := lines[:len(lines)-len(tail)]
	room := most - len("… and 1000 more lines\n")
	for _, l := range tail {
		room -= len(l) + 1
	}
	fit := 0
	for fit < len(head) && len(head[fit])+1 <= room {
		room -= len(head[fit]) + 1
		fit++
	}
	out := append([]string{}, head[:fit]...)
	if fit < len(head) {
		out = append(out, fmt.Sprintf("… and %d more lines", len(head)-fit))
	}
	return strings.Join(append(out, tail...), "\n") + "\n"
}

// mostNtfy bounds a message to ntfy: beyond 4,096 bytes the server makes a file of it, or refuses it where it keeps none
// (message-size-limit).
const mostNtfy = 3900

func (n Ntfy) send(ctx context.Context, m *Message) error {
	headers := map[string]string{}
	if n.TokenFile != "" {
		token, err := secretFile(n.TokenFile)
		if err != nil {
			return err
		}
		headers["Authorization"] = "Bearer " + token
	}
	tag := map[Severity]string{Critical: "rotating_light", Warning: "warning", Info: "white_check_mark"}[m.Severity]
	return post(ctx, n.URL, map[string]any{"topic": n.Topic, "title": m.headline(), "message": shorten(m.body(), mostNtfy, strings.Clone),
		"priority": map[Severity]int{Critical: 5, Warning: 4, Info: 2}[m.Severity], "tags": []string{tag}}, headers, "")
}

func (c *Config) ping(ctx context.Context, _ *Message) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.DeadMan, nil)
	if err != nil {
		return errors.New("the address cannot be read")
	}
	return do(req)
}

// SendmailPath is where the program is by the Filesystem Hierarchy Standard.
const SendmailPath = "/usr/sbin/sendmail"

// mailWidth is the customary width of a line. RFC 5322 allows 998 bytes, and Exim, as Debian configures it, returns a mail with a
// longer one to the sender.
const mailWidth = 78

// wrap breaks lines at blanks; a word that is longer than a line stays whole up to what a mail may hold.
func wrap(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		at := 0
		for i, w := range strings.Fields(line) {
			w = cut(w, 900)
			switch {
			case i == 0:
			case at+1+len(w) > width:
				b.WriteString("\n  ")
				at = 2
			default:
				b.WriteByte(' ')
				at++
			}
			b.WriteString(w)
			at += len(w)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (mail *Mail) send(ctx context.Context, m *Message) error {
	program := mail.Sendmail
	if program == "" {
		program = SendmailPath
	}
	ctx, cancel := context.WithTimeout(ctx, 2*Patience)
	defer cancel()
	var b bytes.Buffer
	if mail.From != "" {
		fmt.Fprintf(&b, "From: %s\n", mail.From)
	}
	fmt.Fprintf(&b, "To: %s\nSubject: %s\n", strings.Join(mail.To, ", "), mime.QEncoding.Encode("utf-8", "[lastgood] "+oneLine(m.headline(), 200)))
	fmt.Fprintf(&b, "Date: %s\nMessage-ID: <%s@%s>\n", m.Time.Format(time.RFC1123Z), strings.ReplaceAll(m.Key(), "/", "."), oneLine(m.Host, 200))
	b.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nAuto-Submitted: auto-generated\n\n")
	b.WriteString(wrap(m.body(), mailWidth))
	cmd := exec.CommandContext(ctx, program, "-t", "-oi")
	cmd.Stdin, cmd.WaitDelay = &b, time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", program, err, oneLine(string(out), 200))
	}
	return nil
}
