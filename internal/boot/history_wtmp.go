package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"lastgood/internal/sysfs"
)

// Types of records in wtmp (utmp.h).
const (
	utRunLevel = 1 // with user "shutdown": an orderly end
	utBootTime = 2
)

// maxWtmp bounds the log: logrotate cuts it monthly, and a busy terminal server writes some MB.
const maxWtmp = 32 << 20

// wtmpLayout is where the fields of a record are. glibc keeps 32-bit times in it for the sake of
// 32-bit programs (__WORDSIZE_TIME64_COMPAT32), but for aarch64 and other later machines.
type wtmpLayout struct {
	size, seconds int
	wide          bool // 64-bit time
}

var wtmpLayouts = []wtmpLayout{{384, 340, false}, {400, 344, true}}

// wtmpBoot is one boot in wtmp.
type wtmpBoot struct {
	release string
	began   time.Time
	clean   bool // a shutdown was written after it
}

func (b *wtmpBoot) past() Past {
	p := Past{Release: b.release, Ended: EndNone}
	if b.clean {
		p.Ended = EndClean
		p.By = []string{"wtmp: shutdown"}
	}
	return p
}

type wtmpLog struct{ boots []wtmpBoot }

// readWtmp reads the boots in /var/log/wtmp, in the order in which they were written.
func readWtmp(ctx context.Context, root *sysfs.Root) (wtmpLog, error) {
	b, err := root.Bytes(ctx, maxWtmp+1, "/var/log/wtmp")
	if err != nil {
		return wtmpLog{}, err
	}
	if len(b) > maxWtmp {
		return wtmpLog{}, fmt.Errorf("read /var/log/wtmp: longer than %d bytes", maxWtmp)
	}
	log, err := parseWtmp(b)
	if err != nil {
		return log, fmt.Errorf("read /var/log/wtmp: %w", err)
	}
	return log, nil
}

// parseWtmp reads records of fixed size. Which of the two layouts they have is told by the log
// itself: the boots' records bear the line "~" and the user "reboot".
func parseWtmp(b []byte) (wtmpLog, error) {
	if len(b) == 0 {
		return wtmpLog{}, errors.New("it is empty")
	}
	best, most := wtmpLog{}, 0
	for _, l := range wtmpLayouts {
		log, fit := l.parse(b)
		if fit > most {
			best, most = log, fit
		}
	}
	if most == 0 {
		return wtmpLog{}, errors.New("no record in it is of a boot or a shutdown")
	}
	return best, nil
}

// parse reads the log in one layout and counts the records that make sense in it. A record that is
// cut off at the end, as a power cut leaves it, is passed over.
func (l wtmpLayout) parse(b []byte) (log wtmpLog, fit int) {
	order := binary.NativeEndian
	for ; len(b) >= l.size; b = b[l.size:] {
		line, user, host := cstring(b[8:40]), cstring(b[44:76]), cstring(b[76:332])
		kind := order.Uint16(b)
		switch {
		case kind == utBootTime && line == "~" && user == "reboot":
			log.boots = append(log.boots, wtmpBoot{release: safeText(host), began: l.time(b)})
			fit++
		case kind == utRunLevel && line == "~" && user == "shutdown":
			if n := len(log.boots); n > 0 {
				log.boots[n-1].clean = true
			}
			fit++
		}
	}
	return log, fit
}

func (l wtmpLayout) time(b []byte) time.Time {
	if l.wide {
		return time.Unix(int64(binary.NativeEndian.Uint64(b[l.seconds:])), 0).UTC()
	}
	return time.Unix(int64(binary.NativeEndian.Uint32(b[l.seconds:])), 0).UTC()
}

func cstring(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// safeText is a text of printable ASCII without blanks, or "".
func safeText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return s
}
