package hw

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"lastgood/internal/kmsg"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const messageKind = "kernel.message"

var _ = catalogue.Add(source.Source{
	Name: "kernel_log",
	Doc: `what the kernel said of its devices since boot

Reads /dev/kmsg; of a recorded host, console.log. Messages that fit no pattern are counted.`,
	Kinds: []snapshot.Kind{kernelMessage, kernelLog},
	Read:  readMessages,
})

var kernelMessage = snapshot.Kind{
	Name: messageKind,
	Doc: "a message of the kernel's that means trouble, known by what it means and by the device that it is about; " +
		"one that was there at the last good boot is no finding",
	Attrs: []snapshot.Attr{
		{Name: "pattern", Doc: "code of what it means"},
		{Name: "severity", Doc: "how bad it is where it is new: critical, warning or info"},
		{Name: "means", Noise: snapshot.Evidence, Doc: "what it means, in words"},
		{Name: "device", Noise: snapshot.Evidence, Doc: "what the kernel called the device then"},
		{Name: "count", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "how often it came since boot; not counted beyond 10,000"},
		{Name: "per_hour", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "how often it came in an hour, rounded down to 1, 10, 100 …; the first hour is a whole one"},
		{Name: "first_seconds", Unit: snapshot.Seconds, Noise: snapshot.Ambient, Doc: "when it came first, since boot"},
		{Name: "first", Noise: snapshot.Evidence, Doc: "the first of them, as the kernel wrote it"},
	},
	Rules: append(messageRules(), snapshot.Rule{
		Code: "kernel-message-storm", On: snapshot.OnGrowth, Attr: "per_hour", Ratio: 100, Floor: 90, Severity: snapshot.Warning, Class: snapshot.ClassKernel, Symptom: true,
		Message: "{attr:means}: {name}, {new} times an hour, was {old}"}),
}

// messageRules make a finding of a message by the severity of its pattern. Whatever
// explains that a device is gone explains what the kernel said of it too.
func messageRules() []snapshot.Rule {
	var rules []snapshot.Rule
	for _, s := range []snapshot.Severity{snapshot.Critical, snapshot.Warning, snapshot.Info} {
		rules = append(rules, snapshot.Rule{Code: "kernel-message", On: snapshot.OnNew, Where: map[string]string{"severity": string(s)}, Severity: s, Class: snapshot.ClassKernel,
			Symptom: true, Message: "{attr:means}: {name}", Hint: "see `dmesg` around that line"})
	}
	return rules
}

var kernelLog = snapshot.Kind{
	Name: "kernel.log",
	Doc:  "the kernel's log since boot as a whole",
	Attrs: []snapshot.Attr{
		{Name: "records", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "messages that were read"},
		{Name: "errors", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "messages of level error or worse that fit no pattern; not set where levels are not recorded"},
		{Name: "joined", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "messages that fit a pattern"},
	},
}

// maxMessages bounds the subjects that one log gives, and maxCount each one's count.
const (
	maxMessages = 500
	maxCount    = 10_000
)

func readMessages(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	log, err := kmsg.ReadWhole(ctx, h.Root)
	if err != nil {
		return nil, err
	}
	if log.Gap != "" { // what it does not tell may have been said
		err = errors.New(log.Gap)
	}
	g := gather{join: newJoiner(ctx, h, log.Records), byID: map[string]*snapshot.Subject{}}
	for i := range log.Records {
		g.add(&log.Records[i])
	}
	hours := 1.0
	if n := len(log.Records); n > 0 {
		hours = max(hours, uptime(ctx, h, log.Records[n-1].At).Hours())
	}
	return g.subjects(hours), errors.Join(err, g.err)
}

// uptime is how long the host is up, last where only its log can tell.
func uptime(ctx context.Context, h source.Host, last time.Duration) time.Duration {
	s, err := h.Root.Attr(ctx, "/proc/uptime")
	word, _, _ := strings.Cut(s, " ")
	f, perr := strconv.ParseFloat(word, 64)
	if err != nil || perr != nil || !(f >= 0 && f < 1e9) {
		return last
	}
	return max(last, time.Duration(f*float64(time.Second)))
}

// gather counts messages by pattern and device.
type gather struct {
	join            *joiner
	byID            map[string]*snapshot.Subject
	order           []*snapshot.Subject
	records, errors int64
	matched         int64
	levels          bool
	err             error
}

const levelError = 3 // KERN_ERR of include/linux/kern_levels.h

func (g *gather) add(r *kmsg.Record) {
	if r.Foreign {
		return
	}
	g.records++
	g.levels = g.levels || r.Level >= 0
	g.join.follow(r)
	p := patternOf(r.Text)
	if p == nil {
		if r.Level >= 0 && r.Level <= levelError {
			g.errors++
		}
		return
	}
	g.matched++
	about := g.join.about(r)
	id := p.code
	if about.id != "" {
		id += "@" + about.id
	}
	s := g.byID[id]
	if s == nil {
		if len(g.order) >= maxMessages {
			g.err = fmt.Errorf("read kernel log: more than %d different messages", maxMessages)
			return
		}
		s = newMessage(p, id, about, r)
		g.byID[id], g.order = s, append(g.order, s)
	}
	n, _ := s.Attrs["count"].Int()
	s.Set("count", snapshot.Int(min(n+1, maxCount)))
}

// longestLine is as much of a message as is kept.
const longestLine = 300

func newMessage(p *pattern, id string, about subjectOf, r *kmsg.Record) *snapshot.Subject {
	s := &snapshot.Subject{Kind: messageKind, ID: id, Outcome: snapshot.Measured, Parent: about.key, Label: about.label}
	if s.Label == "" {
		s.Label = clipText(r.Text, longestLine)
	}
	s.Set("pattern", snapshot.Text(p.code))
	s.Set("severity", snapshot.Text(p.severity))
	s.Set("means", snapshot.Text(p.means))
	if about.name != "" {
		s.Set("device", snapshot.Text(about.name))
	}
	s.Set("first_seconds", snapshot.Float(r.At.Seconds()))
	s.Set("first", snapshot.Text(clipText(r.Text, longestLine)))
	return s
}

func (g *gather) subjects(hours float64) []snapshot.Subject {
	log := snapshot.Subject{Kind: kernelLog.Name, ID: "log", Label: "kernel log", Outcome: snapshot.Measured}
	log.Set("records", snapshot.Int(g.records))
	log.Set("joined", snapshot.Int(g.matched))
	if g.levels {
		log.Set("errors", snapshot.Int(g.errors))
	}
	out := []snapshot.Subject{log}
	for _, s := range g.order {
		n, _ := s.Attrs["count"].Int()
		s.Set("per_hour", snapshot.Int(tens(float64(n)/hours)))
		out = append(out, *s)
	}
	return out
}

// tens rounds down to a power of ten, and what is less than one to none: counts of one
// boot and the next are alike in no more than that.
func tens(f float64) int64 {
	if f < 1 {
		return 0
	}
	return int64(math.Pow(10, math.Floor(math.Log10(f))))
}

// clipText makes a text that came from outside fit for a line: nothing that a
// terminal would act on, and not too long.
func clipText(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar { // controls, and what turns the direction of writing
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// classLink follows /sys/class/CLASS/NAME or a bus's link; "" where it is not there.
func classLink(ctx context.Context, root *sysfs.Root, elem ...string) string {
	t, err := root.Target(ctx, path.Join(elem...))
	if err != nil {
		return ""
	}
	return t
}
