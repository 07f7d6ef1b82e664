package cli

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/hw"
	"lastgood/internal/boot"
	"lastgood/internal/collect"
	"lastgood/internal/kmsg"
	"lastgood/internal/scrub"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func recordCommand() command {
	return command{
		name: "record", args: "FILE.tar.gz", summary: "record the hardware, to be looked at elsewhere",
		long: `Reads the hardware as ` + "`inventory`" + ` does and keeps what was asked for and what was answered, errors
included, in one archive. Every command takes it with --root and comes to the same result,
on any machine: for a report of a fault, for a test, to compare before and after.

Serial numbers, hardware addresses, UUIDs, world-wide names, the host's names and IP addresses
are replaced, each by another of its shape, the same everywhere. What takes a value's place
depends on this machine, so that two recordings of it can be compared. Passwords and keys are
taken out. What disks hold is not read. With --root it records a recorded host anew.`,
		status:  "The exit status is 0, 2 where it could not be written, 3 where part of the hardware could not be read.",
		example: "lastgood record host.tar.gz",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			noScrub := f.Bool("no-scrub", false, "keep what names this host: serial numbers, addresses, secrets in files under /etc")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if len(args) != 1 {
					return exitUsage, hinted(fmt.Errorf("record wants one file, got %d arguments", len(args)), "for instance `lastgood record host.tar.gz`")
				}
				return s.record(ctx, args[0], !*noScrub)
			}
		},
	}
}

func (s *session) record(ctx context.Context, name string, scrubbed bool) (int, error) {
	if !strings.HasSuffix(name, ".tar.gz") && !strings.HasSuffix(name, ".tgz") {
		return exitUsage, hinted(fmt.Errorf("record %s: a recording is a .tar.gz", name), "for instance `lastgood record %s.tar.gz`", name)
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return exitUsage, fmt.Errorf("record %s: %w", name, err)
	}
	rec, snap, err := s.takeRecording(ctx)
	if err != nil {
		return exitIncomplete, err
	}
	rep := scrub.Report{}
	if scrubbed {
		if rep, err = scrub.Scrub(rec, scrub.Options{Key: hostKey(&snap.Identity), Junk: hw.JunkSerial}); err != nil {
			return exitUsage, err
		}
	}
	packed, large, err := rec.Pack(cmp.Or(s.root.Recorded(), snap.Taken))
	if err != nil {
		return exitUsage, err
	}
	if err := writeWhole(name, packed); err != nil {
		return exitUsage, err
	}
	err = s.printRecorded(name, len(packed), rec, snap, rep, scrubbed, large)
	return s.warnSources(snap), err
}

// takeRecording reads all sources that read files, on a host that keeps what it answers.
func (s *session) takeRecording(ctx context.Context) (sysfs.Recording, *snapshot.Snapshot, error) {
	var under sysfs.FS
	if s.rootPath != "" {
		var err error
		if under, err = sysfs.OpenTreeFS(s.rootPath); err != nil {
			return nil, nil, err
		}
	}
	host := s.host()
	stand := map[string][]byte{}
	if log, err := kmsg.Console(ctx, s.root); err == nil {
		stand[kmsg.ConsoleFile] = log
	} else {
		host.Log.Warn("the kernel's log is not in the recording", "err", err)
	}
	recorder := sysfs.NewRecorder(under, stand)
	host.Root = sysfs.New(recorder)
	p := newProgress(s)
	defer p.end()
	snap, err := collect.Run(ctx, collect.Options{Host: host, Sources: recordable(), Tool: tool(), Phase: "record", Budget: s.budget, Jobs: s.jobs, Progress: p.show})
	if err != nil {
		return nil, nil, err
	}
	return recorder.Recording(), snap, nil
}

// recordable are the sources that read files of the hardware and the boot.
func recordable() []source.Source {
	return slices.DeleteFunc(slices.Concat(boot.Sources(), hw.Sources()), func(s source.Source) bool { return s.Read == nil })
}

// hostKey is what takes a value's place is made from: known to this host alone, and the same
// before and after a reboot. The machine id is not to be shown to others and is used as
// machine-id(5) wants it, as the key of a hash. Without one the key is made anew.
func hostKey(id *snapshot.Identity) []byte {
	if id.MachineID == "" && id.ProductUUID == "" {
		key := make([]byte, sha256.Size)
		rand.Read(key)
		return key
	}
	h := hmac.New(sha256.New, []byte(id.MachineID+id.ProductUUID))
	h.Write([]byte("lastgood recording v1"))
	return h.Sum(nil)
}

func (s *session) printRecorded(name string, size int, rec sysfs.Recording, snap *snapshot.Snapshot, rep scrub.Report, scrubbed bool, large []string) error {
	if s.quiet {
		return nil
	}
	devices := 0
	for i := range snap.Subjects {
		if k := snap.Subjects[i].Kind; strings.HasPrefix(k, "hw.") || strings.HasPrefix(k, "net.") {
			devices++
		}
	}
	var errs []error
	tell := func(lead, format string, args ...any) { errs = append(errs, s.tell(lead, format, args...)) }
	tell("", "recorded %d devices, %d files and folders, %s, in %s", devices, len(rec), snapshot.Bytes.Brief(snapshot.Int(int64(size))), name)
	switch {
	case !scrubbed:
		tell("", "nothing was replaced: it names this host; give it to nobody who must not know")
	case len(rep.Classes) == 0:
		tell("", "there was nothing in it to replace")
	default:
		tell("", "replaced, the same everywhere:")
		for _, c := range rep.Classes {
			tell(fmt.Sprintf("  %-28s ", c.Class), "%d different, in %d places", c.Different, c.Places)
		}
	}
	if len(rep.Left) > 0 {
		tell("", "left out, for they are no text and may hold anything: %s", strings.Join(rep.Left, ", "))
	}
	if len(large) > 0 {
		tell("", "left out, for they are larger than 1 MiB: %s", strings.Join(large, ", "))
	}
	tell("", "look at it with `lastgood inventory --root %s`", name)
	return errors.Join(errs...)
}

// writeWhole makes name hold data, for its owner alone: all of it or none. A file of that
// name is replaced, whatever else stands there is not.
func writeWhole(name string, data []byte) (err error) {
	if st, serr := os.Lstat(name); serr == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("write %s: %w", name, errors.New("it is there, and no file"))
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".lastgood-record-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, pathless(err))
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", name, pathless(err))
		}
	}()
	if _, err = f.Write(data); err == nil { // CreateTemp made it 0600
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}

// pathless is an error without the path of the temporary file.
func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}

// now is the clock: of a recorded host the time of its recording, so that one recording
// gives one snapshot, whenever it is looked at.
func (s *session) now() time.Time {
	if s.root.Live() {
		return s.env.clock()
	}
	return s.root.Recorded()
}
