package notify

// Severity says how much a message matters.
type Severity string

// Severities, worst first.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// Event is a kind of message.
type Event struct {
	Name string
	// ID is its MESSAGE_ID in the journal, for ever.
	ID       string
	Severity Severity
	Title    string
	// Doc is for the journal's catalogue: what it means and what to do.
	Doc string
}

// Names of events that are treated in a way of their own.
const (
	EventGood      = "good"
	EventConfirmed = "confirmed"
	EventCommitted = "try-committed"
	EventTest      = "test"
	EventFailed    = "tool-failed"
	EventHeld      = "gate-held"
	EventReleased  = "gate-released"
	// EventRolledBack ends what was wrong with the boot before, and is told itself.
	EventRolledBack = "rolled-back-good"
)

// Events is the catalogue.
func Events() []Event {
	return []Event{
		{"regressed", "33ceff559f614b8a8ab6f6e8e3731225", Critical, "This boot is worse than the last good one",
			"`lastgood check -v` shows what came back worse, `lastgood accept current` makes it the last good boot if all of it is meant."},
		{"gate-held", "40ff0333813d4e389231bb6c44a2affe", Critical, "Workloads are held",
			"The units that depend on this kernel were not started, because it came back worse. `lastgood check -v` shows why, `lastgood release` starts them."},
		{"gate-released", "2eefe8e0355b4e1d9e0e71cafa2299ec", Info, "Workloads were let go",
			"The units that were held were started by hand. The finding stands until a boot is good."},
		{"incomplete", "d78ace40398741b7b13844b91502e4b4", Warning, "This boot could not be judged",
			"Something could not be measured. This is never taken for a regression: nothing was held, and nothing is rolled back."},
		{"invalid", "94ca9248f75e4de9a44fa8afb39ef95f", Warning, "This is not the boot that was to be judged",
			"The kernel, machine or configuration is not the one that was meant: a silent fallback of the boot loader, say. `lastgood check` names both."},
		{"tool-failed", "05d817f6ed244794bdb6e471d4f7b708", Warning, "lastgood itself failed",
			"The check came to no verdict by a fault of its own. Workloads start as without it. `lastgood doctor` tells what is not in place."},
		{"good", "1e0bd62484d74491881bd07f772867c8", Info, "This host came back the same way it went down",
			"Nothing is worse than at the last good boot."},
		{"try-armed", "22a0f2e573a24ec9bb11b0296a9fc1f7", Info, "A kernel will be tried once",
			"The next boot is of another kernel. The present one stays the default until the new one is found good."},
		{"try-fell-back", "0be886447f5849538a3f8f1725989a89", Warning, "A kernel that was tried did not come up",
			"The boot before this one was to try a kernel and another one runs: it crashed, hung, or the boot loader did not take it."},
		{"try-committed", "de688799f14d40afa68a80de98453b28", Info, "A kernel that was tried is kept",
			"It was found good and boots from now on."},
		{"try-abandoned", "30fa921bb4b040dc8238b36104085748", Warning, "A kernel that was tried was left",
			"The host was booted into another kernel before it was found good."},
		{"rollback-armed", "66012ba2a14a4347b86c570aecd047cf", Critical, "This host goes back to the last good kernel",
			"The kernel came back worse, and the policy asks for a rollback. The next boot is judged again."},
		{"rollback-missed", "4927c6ba7b4f40b4adf3893a2d3b67f9", Critical, "The rollback did not happen",
			"The boot loader was set to the last good kernel and booted another one. It is not tried again. `lastgood doctor` tells whether the loader can be set."},
		{"rollback-refused", "506f69bddab340be84c025d846baaab3", Warning, "This boot is not undone",
			"It is worse than the last good one, and going back by itself is not allowed or not possible here; the message says why. `lastgood rollback` does it by hand."},
		{"rolled-back-good", "d8fe33333f4a4f538ee50aaa1446443a", Warning, "Rolled back, and good",
			"The host went back to the last good kernel and is as it was. The kernel that was left is not rolled back from again; look at it before you boot it."},
		{"rolled-back-still-broken", "c82b338d3c3340d789f748159ce058ef", Critical, "Rolled back, and still broken",
			"The last good kernel runs again and this host is still worse than it was: it was not the kernel alone. Nothing more is tried by itself."},
		{"third-strike", "c9ffd23b1acc4f3fa9f7b35b264ecdc8", Critical, "Too many bad boots in a row",
			"Nothing more is tried by itself. The host stays up and can be logged in to, its workloads are held. `lastgood check -v` shows why, `lastgood bless` says that it is fine, `lastgood release` starts the workloads."},
		{"action-failed", "4895c92bdf084ccfa27746a0867880d6", Warning, "What was decided could not be done",
			"The boot loader, the reboot or the hold file could not be set; the message says why."},
		{"confirmed", "ccbf9c88cc984d478d7a0d4fe9e93a6c", Info, "Somebody said that this boot is fine",
			"It is neither held nor rolled back from now on."},
		{"test", "f6f8b1137cc34a8f96ee07c001164196", Info, "A test message",
			"Sent by `lastgood notify --test`."},
	}
}

// EventNamed finds an event of the catalogue.
func EventNamed(name string) (Event, bool) {
	for _, e := range Events() {
		if e.Name == name {
			return e, true
		}
	}
	return Event{}, false
}
