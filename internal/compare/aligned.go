package compare

import "lastgood/internal/snapshot"

// Align is old with the IDs that new knows its subjects by, as Diff compares it: whoever
// shows what Diff found beside the subjects needs both to speak of the same ones.
func Align(old, new *snapshot.Snapshot, kinds snapshot.Kinds) *snapshot.Snapshot {
	return align(old, new, kinds)
}
