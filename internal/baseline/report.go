package baseline

import (
	"encoding/json"
	"fmt"
)

// ReportFile is the report of the newest check, in the state folder.
const ReportFile = "report.json"

// SaveReport keeps the report of a check, a JSON object, in the place of the one before.
// Whoever shows results reads it, and nothing is judged by it.
func (s *Store) SaveReport(doc json.RawMessage) error {
	return s.write(func() error {
		b, err := encodeSealed(doc)
		if err != nil {
			return err
		}
		if len(b) > maxDocument {
			return fmt.Errorf("write %s: %d bytes, more than %d", ReportFile, len(b), maxDocument)
		}
		return replace(s.fl, s.path(ReportFile), b)
	})
}
