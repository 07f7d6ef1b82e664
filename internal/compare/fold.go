package compare

import (
	"strings"

	"lastgood/internal/snapshot"
)

// parents maps every subject to its parent, the newer snapshot's word first.
func parents(old, new *snapshot.Snapshot) map[string]string {
	up := map[string]string{}
	for _, s := range []*snapshot.Snapshot{old, new} {
		for i := range s.Subjects {
			if sub := &s.Subjects[i]; sub.Parent != "" {
				up[sub.Key().String()] = sub.Parent
			}
		}
	}
	return up
}

// fold puts what is missing behind a sick or missing parent, and what is but a sign
// of its sickness, under the parent's own finding, so that fifty disks behind one dead controller are one finding,
// as severe as the worst of them.
func fold(findings []found, up map[string]string) []snapshot.Finding {
	causes := map[string]int{} // subject that explains its children → place in out of its finding
	for _, f := range findings {
		if explains(&f) {
			causes[ref(f.Subject)] = -1
		}
	}
	var out []snapshot.Finding
	var behind []found
	heads := map[together]int{} // findings that are told together → place in out of the first
	for _, f := range findings {
		key := ref(f.Subject)
		if (f.gone || f.symptom) && topmost(key, up, causes) != "" {
			behind = append(behind, f)
			continue
		}
		if at, ok := heads[f.together]; ok && f.together.value != "" {
			merge(&out[at], f.Finding)
			continue
		}
		heads[f.together] = len(out)
		if at, ok := causes[key]; ok && at < 0 && explains(&f) {
			causes[key] = len(out)
		}
		out = append(out, f.Finding)
	}
	for _, f := range behind {
		top := &out[causes[topmost(ref(f.Subject), up, causes)]]
		top.Behind = append(top.Behind, f.Subject)
		if f.Severity.Rank() > top.Severity.Rank() {
			top.Severity = f.Severity
		}
	}
	return out
}

// together is what findings share that are told as one.
type together struct{ kind, code, value string }

// merge puts a finding behind another of its kind, the lesser behind the worse.
func merge(head *snapshot.Finding, f snapshot.Finding) {
	if f.Severity.Rank() > head.Severity.Rank() {
		f.Behind, head.Behind = append(head.Behind, f.Behind...), nil
		*head, f = f, *head
	}
	head.Behind = append(append(head.Behind, f.Subject), f.Behind...)
}

func ref(s snapshot.SubjectRef) string { return s.Kind + "/" + s.ID }

// explains reports whether a finding can be the reason for missing children: its
// subject is gone too, or lost its driver, or its rule says so.
func explains(f *found) bool {
	return f.gone || f.cause || strings.HasSuffix(f.Code, "-driver-lost")
}

// topmost is the highest subject above key that explains it, "" where there is
// none. In a cycle of parents nothing explains anything.
func topmost(key string, up map[string]string, causes map[string]int) string {
	found := ""
	for seen := map[string]bool{key: true}; ; {
		parent, ok := up[key]
		if !ok {
			return found
		}
		if seen[parent] {
			return ""
		}
		seen[parent] = true
		if _, ok := causes[parent]; ok {
			found = parent
		}
		key = parent
	}
}
