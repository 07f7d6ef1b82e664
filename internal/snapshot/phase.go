package snapshot

// Phases that say how far the host had come up. Others name what asked for the
// snapshot, and were taken when a person or a timer thought it time: as good as settled.
const (
	PhaseEarly     = "early"     // before anybody waited for the devices
	PhaseSettled   = "settled"   // devices had stopped coming and going, udev had nothing left to do
	PhaseUnsettled = "unsettled" // they had not when the time was up, or it could not be told
)

// SettleSource is the ID of the tool.source subject that says how the waiting for
// devices ended, and SourceUptime its attribute: seconds from boot to the snapshot.
const (
	SettleSource = "settle"
	SourceUptime = "uptime_seconds"
)

// Unsettled reports whether devices may still have been coming when the snapshot was taken.
func (s *Snapshot) Unsettled() bool { return s.Phase == PhaseEarly || s.Phase == PhaseUnsettled }

// Uptime is how long after boot the snapshot was taken, in seconds, where it says so.
func (s *Snapshot) Uptime() (seconds float64, ok bool) {
	sub := s.Subject(Key{SourceKind, SettleSource})
	if sub == nil {
		return 0, false
	}
	return sub.Attrs[SourceUptime].Number()
}
