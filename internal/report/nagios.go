package report

import (
	"fmt"
	"io"
	"strings"

	"lastgood/internal/snapshot"
)

// nagiosWords are the states of the monitoring plug-ins' guidelines, by exit status.
var nagiosWords = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// nagiosExit is the status by which Nagios and its kin judge: what only warns is
// WARNING although lastgood's verdict is good, and what could not be measured is UNKNOWN.
func nagiosExit(r *Report) int {
	switch r.Verdict {
	case snapshot.Good, snapshot.Learned:
		if bySeverity(r)[snapshot.Warning] > 0 {
			return 1
		}
		return 0
	case snapshot.Regressed, snapshot.Invalid:
		return 2
	}
	return 3
}

// Nagios writes one line in the manner of monitoring plug-ins: status, sentence,
// performance data behind a bar, which the sentence itself must not hold.
func Nagios(w io.Writer, r *Report, _ Options) error {
	n := bySeverity(r)
	text := strings.ReplaceAll(sentence(r), "|", "/")
	_, err := fmt.Fprintf(w, "LASTGOOD %s - %s | critical=%d warning=%d info=%d incomplete=%d time=%.3fs\n", nagiosWords[nagiosExit(r)], text,
		n[snapshot.Critical], n[snapshot.Warning], n[snapshot.Info], len(r.Incomplete), r.TookSeconds)
	return err
}
