package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"lastgood/internal/snapshot"
)

// npdLength is how many bytes node-problem-detector keeps of a plug-in's output
// unless told otherwise (max_output_length in its pluginConfig).
const npdLength = 80

// npdExit is the status by which node-problem-detector sets a condition: 0 no
// problem, 1 a problem, all else unknown.
func npdExit(r *Report) int {
	switch r.Verdict {
	case snapshot.Good, snapshot.Learned:
		return 0
	case snapshot.Regressed, snapshot.Invalid:
		return 1
	}
	return 2
}

// NPD writes the message of a node condition: one short line, which stays the same
// as long as the result does.
func NPD(w io.Writer, r *Report, _ Options) error {
	line := strings.ToLower(verdictWord(r)) + ": " + sentence(r)
	if r.Verdict == snapshot.Regressed && len(r.Findings) > 0 {
		n := bySeverity(r)
		var counts []string
		for _, s := range []snapshot.Severity{snapshot.Critical, snapshot.Warning} {
			if n[s] > 0 {
				counts = append(counts, fmt.Sprintf("%d %s", n[s], s))
			}
		}
		line = joined(": ", "regressed", strings.Join(counts, ", "), said(worstFirst(r.Findings)[0]))
	}
	_, err := io.WriteString(w, cutBytes(flat(line), npdLength)+"\n")
	return err
}

// cutBytes is a text of at most so many bytes, whole runes only.
func cutBytes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.TrimRight(s[:end], " ") + "…"
}
