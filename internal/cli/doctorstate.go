package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/baseline"
	"lastgood/internal/gate"
)

// minFree is what a state folder wants: its history is pruned to 64 MiB.
const minFree = 128 << 20

// askConfig: a configuration with a mistake in it is used by nothing.
func (g *gateRun) askConfig(context.Context) []answerLine {
	l := told(g.s.configPath+" can be read", g.s.configErr == nil, nil, "mend it: until then nothing is judged or sent, nothing is held, and what follows is told by the defaults")
	if g.s.configErr != nil {
		l.Detail = briefly(g.s.configErr).Error()
	}
	return []answerLine{l}
}

func (g *gateRun) askState(ctx context.Context) []answerLine {
	dir := g.s.stateDir
	err := unix.Access(dir, unix.W_OK)
	l := told(dir+" can be written", err == nil, nil, "it is made by the package, or by the first `lastgood check` as root")
	if errors.Is(err, unix.EACCES) {
		l = told(l.Question, false, err, "run it as root")
	}
	if err != nil {
		l.Detail = err.Error()
		return []answerLine{l}
	}
	var st unix.Statfs_t
	err = unix.Statfs(dir, &st)
	free := uint64(st.Bavail) * uint64(st.Bsize)
	room := told(fmt.Sprintf("it has room for %d MiB", minFree>>20), free >= minFree, err, "make room on its file system, or keep fewer boots (keep: in the configuration)")
	if err == nil && free < minFree {
		room.Detail = fmt.Sprintf("%d MiB are free", free>>20)
	}
	damaged, derr := os.ReadDir(filepath.Join(dir, "damaged"))
	if errors.Is(derr, os.ErrNotExist) {
		derr = nil
	}
	whole := told("nothing in it was found damaged", len(damaged) == 0, derr, "look at "+filepath.Join(dir, "damaged")+" and at the disk (dmesg), then remove it")
	return []answerLine{l, g.askOwner(ctx), room, whole}
}

// askOwner: whoever can write there says what is good, and who serves the results must be able to read.
func (g *gateRun) askOwner(ctx context.Context) answerLine {
	const question = "it is root's, for the group lastgood to read and for nobody else"
	info, err := os.Stat(g.s.stateDir)
	if err != nil {
		return told(question, false, err, "")
	}
	st, _ := info.Sys().(*syscall.Stat_t) // on Linux it is one
	group, err := g.groupID(ctx, "lastgood")
	if err != nil {
		return told(question, false, err, "")
	}
	l := told(question, true, nil, "systemd-sysusers lastgood.conf; systemd-tmpfiles --create lastgood.conf; or: chown root:lastgood, chmod 0750")
	var bad []string
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		bad = append(bad, fmt.Sprintf("its mode is %04o", mode))
	}
	if st != nil && st.Uid != 0 {
		bad = append(bad, fmt.Sprintf("it is of user %d", st.Uid))
	}
	if st != nil && group >= 0 && int(st.Gid) != group {
		bad = append(bad, fmt.Sprintf("it is of group %d, lastgood is %d: lastgood-serve.service could not read it", st.Gid, group))
	}
	if l.Detail = strings.Join(bad, ", "); l.Detail != "" {
		l.Answer = gate.No
	}
	if l.Detail == "" && group < 0 {
		l.Detail = "there is no group lastgood here, which lastgood-serve.service needs"
	}
	return l
}

// groupID is a group's number in /etc/group, -1 where it is not there.
func (g *gateRun) groupID(ctx context.Context, name string) (int, error) {
	const most = 1 << 20
	b, err := g.s.root.Bytes(ctx, most, "/etc/group")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return -1, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 3 || f[0] != name {
			continue
		}
		if id, err := strconv.Atoi(f[2]); err == nil {
			return id, nil
		}
	}
	return -1, nil
}

func (g *gateRun) askBaseline(ctx context.Context) []answerLine {
	store, err := g.s.openStore(ctx)
	if err != nil {
		return []answerLine{told("there is a last good boot", false, err, "")}
	}
	snap, rec, err := store.LastGood()
	if errors.Is(err, baseline.ErrNone) {
		return []answerLine{told("there is a last good boot", false, nil, "`lastgood check` learns it; until then there is nothing to hold a boot to")}
	}
	l := told("there is a last good boot", err == nil, err, "")
	if err == nil {
		g.base = &snap.Identity
		g.accepted = rec.Accepted
		l.Detail = fmt.Sprintf("kernel %s, accepted %s by %s", rec.Release, rec.Accepted.Format("2006-01-02"), rec.By)
	} else {
		l.Hint = "`lastgood list` shows what there is, `lastgood accept` chooses"
	}
	return []answerLine{l}
}

// askClock: boots are ordered by what they are and not by the clock, which goes wrong on a host without a battery; people, certificates
// and the day after which a message is given up go by it.
func (g *gateRun) askClock(context.Context) []answerLine {
	now := g.spool.Now()
	if !g.live {
		now = g.s.now()
	}
	set := told("the clock is set", true, nil, "systemctl status chronyd systemd-timesyncd; boots are not ordered by it, but messages and certificates go by it")
	for _, before := range []struct {
		what string
		at   time.Time
	}{{"lastgood was built", built()}, {"the last good boot was accepted", g.accepted}} {
		if now.Before(before.at.Add(-24 * time.Hour)) { // a clock in local time is off by hours
			set.Answer = gate.No
			set.Detail = fmt.Sprintf("it says %s, and %s on %s", now.Format("2006-01-02 15:04"), before.what, before.at.Format("2006-01-02"))
		}
	}
	if now.IsZero() {
		return []answerLine{told(set.Question, false, errors.New("the recording does not say when it was made"), "")}
	}
	if !g.live {
		return []answerLine{set}
	}
	var t unix.Timex // modes 0 asks and sets nothing
	_, err := unix.Adjtimex(&t)
	held := unwanted(told("a time server holds it", t.Maxerror < maxClockError, err, "chronyc tracking, or timedatectl timesync-status"))
	return []answerLine{set, held}
}

// maxClockError is the error, in microseconds, up to which timedatectl calls a clock synchronized.
const maxClockError = 16_000_000

// built is the time of the commit that this was built of, the zero time where it is not known.
func built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			at, err := time.Parse(time.RFC3339, s.Value)
			if err == nil {
				return at
			}
		}
	}
	return time.Time{}
}
