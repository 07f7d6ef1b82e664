package notify

import (
	"context"
	"maps"
	"strings"
	"time"
)

// alert is one of Alertmanager's API v2.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	// Without them it begins when it comes, and ends after resolve_timeout of Alertmanager's configuration.
	StartsAt time.Time `json:"startsAt,omitzero"`
	EndsAt   time.Time `json:"endsAt,omitzero"`
}

// alertFor is how long an alert stands after it was sent: the next boot's message ends it, or the administrator does.
const alertFor = 25 * time.Hour

// released is when there was no lastgood yet: a clock that is before it was never set.
var released = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// ends reports whether an event says that what was wrong is so no more.
func ends(event string) bool {
	return event == EventGood || event == EventConfirmed || event == EventCommitted
}

// endedBy reports whether a message ends the alert of another event.
func (m *Message) endedBy(other string) bool {
	if m.Event == EventReleased {
		return other == EventHeld // the host is as bad as it was, and nothing is held any more
	}
	return ends(m.Event) || m.Event == EventRolledBack
}

// span is when an alert begins and ends. A message of a boot that began in 1970 would be over before it came: it begins when it
// is sent, and where the clock is not set even then Alertmanager goes by its own.
func (m *Message) span() (starts, ends time.Time) {
	starts = m.Time
	if starts.Before(released) {
		starts = m.sent
	}
	if m.sent.Before(released) {
		return time.Time{}, time.Time{}
	}
	return starts, m.sent.Add(alertFor)
}

func (a Alertmanager) send(ctx context.Context, m *Message) error {
	var alerts []alert
	for _, e := range Events() {
		own := e.Name == m.Event
		switch begins := e.Name == EventTest || e.Severity != Info && rank[e.Severity] >= rank[a.least]; {
		case own && !begins, !own && (e.Severity == Info || !m.endedBy(e.Name)):
			continue
		}
		al := alert{Labels: a.labels(m, &e), Annotations: map[string]string{"summary": m.Title, "description": m.body()}}
		if al.StartsAt, al.EndsAt = m.span(); !own { // what was so before is so no more
			al.EndsAt, al.StartsAt = m.Time, m.Time.Add(-time.Second)
		}
		if own && m.Event == EventTest && !al.StartsAt.IsZero() {
			al.EndsAt = m.sent.Add(5 * time.Minute)
		}
		alerts = append(alerts, al)
	}
	if len(alerts) == 0 {
		return nil // what only informs is no alert
	}
	return post(ctx, strings.TrimRight(a.URL, "/")+"/api/v2/alerts", alerts, nil, "")
}

// labels tell an alert from others; the administrator's say where it goes, that of a test too.
func (a Alertmanager) labels(m *Message, e *Event) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, a.Labels)
	labels["alertname"], labels["instance"], labels["severity"] = alertName(e.Name), m.Host, string(e.Severity)
	return labels
}

// alertName is an event's in the manner of alerts: gate-held becomes LastgoodGateHeld.
func alertName(event string) string {
	out := "Lastgood"
	for word := range strings.SplitSeq(event, "-") {
		out += strings.ToUpper(word[:1]) + word[1:]
	}
	return out
}
