// Package baseline is the store of snapshots under the state folder: one per
// boot, the one that is trusted, the time line of checks, and the crash guard.
//
//	boots/BOOT.json                 the newest snapshot of that boot
//	boots/BOOT.accepted-HASH.json   the snapshot that was accepted, as it was then
//	boots/BOOT.early.json           what was there before the host had settled
//	last-good                       which snapshot is trusted, since when, by whom
//	events.jsonl                    what happened, one JSON object a line, oldest first
//	objects/sha256/DIGEST           objects of agents, and values, as the last good boot loaded them
//	explanations/PROGRAM-BUILD.json where the insns of its largest programs went, by program digest and kernel build-id
//	damaged/NAME.TIME               what did not hold what was written; never deleted
//	journal, journal.lock           the crash guard, see [Guard]
//	lock                            held by the one process that writes
//
// # One boot, many checks
//
// A boot may be checked at start, an hour later and by hand. boots/BOOT.json is
// always the newest of these. What was accepted must stay what was accepted, so
// Accept copies the snapshot to a name made of its checksum before last-good is
// made to point to that name: no later Save can reach it. A power cut between
// the two leaves the old last-good and a copy that Prune removes. The copy also
// is a second one: where it is damaged and boots/BOOT.json still has the same
// bytes, those are used, and the damage is reported.
//
// # The good boots since
//
// [Store.GoodSince] lists the boots whose newest check held them to the very snapshot
// that is trusted now and came to good. A snapshot that was saved after that check, or
// whose check was held to a file, is of no verdict and is not among them.
//
// # A power cut
//
// A file is replaced whole: temporary file in the same folder, fsync, rename,
// fsync of the folder. Two files are appended to instead, each append being
// synced: events.jsonl, and the journal, which is written before every group of
// probes and would otherwise cost two flushes in the place of one. An append
// that was cut off is no line of theirs: it is passed over, which is the old state.
//
// # Checksums
//
// The last field of each JSON file is "checksum": the SHA-256 of the file's
// bytes with the 64 digits of the checksum itself as zeros. It is inside, since
// a file beside it could not be replaced together with it; it leaves the
// document one document for jq and others; and it is over bytes, not over what
// they mean, so that it does not depend on which fields a version of lastgood
// knows. A file in the store must have it. [ReadFile] takes a snapshot without
// one too: what `lastgood snapshot -o json` printed, or a copy that was edited
// on purpose, from which the field was removed: jq 'del(.checksum)'.
//
// # Damage
//
// A file that fails its checksum is moved to damaged/, reported by
// [Store.Damaged], and does not keep the rest from working. Where it is
// last-good or its snapshot, nothing else is taken in its place: LastGood
// returns a [LostError] from then on, until a boot is accepted anew. It must
// not be [ErrNone], upon which a check would learn whatever it finds.
//
// Damage is moved only by the process that holds the lock; readers report it.
package baseline
