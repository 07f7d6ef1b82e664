package boot

import (
	"context"
	"errors"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// EntryKind is the kind of what the boot loader can boot.
const EntryKind = "boot.entry"

var entrySource = source.Source{
	Name:  "boot_entries",
	Doc:   "What the boot loader can boot, and which entry it boots next.",
	Kinds: []snapshot.Kind{entryKind},
	Read:  readEntries,
}

var entryKind = snapshot.Kind{
	Name: EntryKind,
	Doc:  "An entry of the boot loader's menu: GRUB's, of the boot loader specification, or systemd-boot's.",
	Attrs: []snapshot.Attr{
		{Name: "release", Doc: "kernel release that the entry starts"},
		{Name: "image", Noise: snapshot.Evidence, Doc: "path of the kernel image"},
		{Name: "next", Noise: snapshot.Evidence, Doc: "whether it is what boots next"},
		{Name: "why", Noise: snapshot.Evidence, Doc: "which setting makes it boot next"},
		{Name: "options", Noise: snapshot.Evidence, Doc: "kernel command line of the entry"},
	},
}

// readEntries gives one subject an entry. A machine without a loader that is known gives none.
func readEntries(ctx context.Context, host source.Host) ([]snapshot.Subject, error) {
	st, errs := readLoader(ctx, host.Root)
	var out []snapshot.Subject
	for i, e := range st.Entries {
		s := snapshot.Subject{Kind: EntryKind, ID: e.ID, Label: e.Title, Outcome: snapshot.Measured}
		for _, a := range []struct{ name, value string }{{"release", e.Release}, {"image", e.Linux}, {"options", e.Options}} {
			if a.value != "" {
				s.Set(a.name, snapshot.Text(a.value))
			}
		}
		s.Set("next", snapshot.Bool(i == st.Next))
		if i == st.Next {
			s.Set("why", snapshot.Text(st.Why))
		}
		out = append(out, s)
	}
	return out, errors.Join(errs...)
}
