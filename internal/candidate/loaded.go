package candidate

import (
	"context"
	"fmt"
	"strings"

	"lastgood/internal/snapshot"
)

// loadedModules compares what is loaded now with what the candidate has. A module that
// drives a device is the drivers' business and is left out here.
func (r *reader) loadedModules(ctx context.Context) {
	loaded, err := r.loaded(ctx)
	if err != nil {
		r.unread(moduleMissing, err)
		return
	}
	var gone []string
	for _, m := range loaded {
		if !r.tree.Has(m.name) && !m.outOfTree && !r.reported(m.name) {
			gone = append(gone, m.name)
		}
	}
	for _, name := range gone {
		r.add(moduleMissing, snapshot.Finding{Subject: r.subject("module/" + name), Old: text("loaded"), New: text("none"),
			Message: fmt.Sprintf("module %s is loaded now and is not in %s", name, r.files.Release),
			Hint:    "if anything uses it, choose a kernel that has it"})
	}
}

func (r *reader) reported(module string) bool {
	for i := range r.found {
		if r.found[i].Subject.ID == "module/"+module {
			return true
		}
	}
	return false
}

type loadedModule struct {
	name      string
	outOfTree bool // DKMS and the like: preflight's host checks look at these
}

// loaded reads /proc/modules: name, size, users, who uses it, state, address, and in
// brackets the taint flags, of which O is out-of-tree.
func (r *reader) loaded(ctx context.Context) ([]loadedModule, error) {
	b, err := r.host.Root.Bytes(ctx, 1<<20, "/proc/modules")
	if err != nil {
		return nil, err
	}
	var out []loadedModule
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		last := f[len(f)-1]
		out = append(out, loadedModule{name: f[0], outOfTree: strings.HasPrefix(last, "(") && strings.Contains(last, "O")})
	}
	return out, nil
}
