package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"lastgood/internal/sysfs"
)

// IntentSchema names the document.
const IntentSchema = "lastgood.intent/v1"

// Intent is what the boot loader was set to boot next when a boot ended.
type Intent struct {
	Schema string `json:"schema"`
	BootID string `json:"boot_id"` // the boot that ended
	// Running is the kernel of the boot that ended.
	Running string    `json:"running,omitempty"`
	Taken   time.Time `json:"taken"`
	Loader  string    `json:"loader,omitempty"`
	Entry   string    `json:"entry,omitempty"`
	Title   string    `json:"title,omitempty"`
	Release string    `json:"release,omitempty"` // kernel of the entry; "" where it could not be told
	Why     string    `json:"why,omitempty"`     // which setting decided, or why nothing could be told
	Once    bool      `json:"once,omitempty"`    // for one boot only
	// Kexec is set where a kernel was loaded to be started without the loader.
	Kexec   bool   `json:"kexec,omitempty"`
	AskedBy string `json:"asked_by,omitempty"`
	// Records is how many boots wtmp held, or -1.
	Records int `json:"wtmp_boots"`
	// Previous is the intent of an earlier boot, where this one was written by the boot that it
	// speaks of: the unit can be stopped without a shutdown.
	Previous *Intent `json:"previous,omitempty"`
}

// maxIntent bounds the document.
const maxIntent = 64 << 10

// ReadIntent gathers what is to be written at shutdown. It always returns, for it runs where
// nobody can be asked any more: what is not known is said in Why.
func ReadIntent(ctx context.Context, root *sysfs.Root, now time.Time) Intent {
	in := Intent{Schema: IntentSchema, Taken: now.UTC(), Records: -1}
	r := &reader{ctx: ctx, root: root, errs: map[string]string{}}
	in.BootID, in.Running = fact(r, "boot_id", bootID), fact(r, "release", release)
	st, errs := readLoader(ctx, root)
	in.Loader, in.Why = st.Loader, st.Why
	if e := st.NextEntry(); e != nil {
		in.Entry, in.Title, in.Release = e.ID, e.Title, e.Release
	} else if len(errs) > 0 {
		in.Why += ": " + errs[0].Error()
	}
	in.Once = st.Once()
	if loaded, err := root.Attr(ctx, "/sys/kernel/kexec_loaded"); err == nil {
		in.Kexec = loaded == "1"
	}
	if log, err := readWtmp(ctx, root); err == nil {
		in.Records = len(log.boots)
	}
	in.AskedBy = scheduledBy(ctx, root)
	return in
}

// After keeps what is known of the boot before: an intent that was written earlier by this very
// boot passes its own Previous on.
func (in *Intent) After(old *Intent) {
	switch {
	case old == nil:
	case plainID(old.BootID) == plainID(in.BootID):
		in.Previous = old.Previous
	default:
		p := *old
		p.Previous = nil
		in.Previous = &p
	}
}

// For is the intent that an earlier boot had for the current one, or nil.
func (in *Intent) For(current string) *Intent {
	for ; in != nil; in = in.Previous {
		if plainID(in.BootID) != plainID(current) {
			return in
		}
	}
	return nil
}

// scheduledBy reads what logind keeps of a shutdown that is under way: KEY=VALUE lines, of which
// older versions have no UID.
func scheduledBy(ctx context.Context, root *sysfs.Root) string {
	text, err := text(ctx, root, "/run/systemd/shutdown/scheduled")
	if err != nil {
		return ""
	}
	v := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			v[name] = flatText(value)
		}
	}
	if v["MODE"] == "" {
		return ""
	}
	said := "scheduled " + v["MODE"]
	if v["UID"] != "" {
		said += " by uid " + v["UID"]
	}
	if v["TTY"] != "" {
		said += " on " + v["TTY"]
	}
	if v["WALL_MESSAGE"] != "" {
		said += ": " + v["WALL_MESSAGE"]
	}
	return said
}

// ParseIntent reads what Encode wrote.
func ParseIntent(b []byte) (*Intent, error) {
	if len(b) > maxIntent {
		return nil, fmt.Errorf("read intent: longer than %d bytes", maxIntent)
	}
	var in Intent
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("read intent: %w", err)
	}
	switch {
	case in.Schema != IntentSchema:
		return nil, fmt.Errorf("read intent: schema %.40q is not %s", in.Schema, IntentSchema)
	case in.BootID == "":
		return nil, errors.New("read intent: it names no boot")
	case in.Previous != nil && in.Previous.BootID == "":
		in.Previous = nil
	}
	return &in, nil
}

// Encode writes the document.
func (in *Intent) Encode() ([]byte, error) { return json.MarshalIndent(in, "", " ") }

// Told is the intent in one line.
func (in *Intent) Told() string {
	if in.Entry == "" {
		return "what boots next is not known: " + in.Why
	}
	if in.Release == "" {
		return fmt.Sprintf("next boot: %s, whose kernel release is not known (%s)", in.Entry, in.Why)
	}
	return fmt.Sprintf("next boot: %s by %s (%s)", in.Release, in.Entry, in.Why)
}
