package boot

import (
	"context"
	"strings"
	"time"

	"lastgood/internal/sysfs"
)

func readPacman(ctx context.Context, root *sysfs.Root) *Log {
	return fromText(ctx, root, "pacman", "/var/log/pacman.log", parsePacmanLog)
}

var pacmanActions = map[string]string{"installed": "install", "reinstalled": "reinstall", "upgraded": "upgrade", "downgraded": "downgrade", "removed": "remove"}

// parsePacmanLog reads "[TIME] [WHO] TEXT" lines. "[PACMAN] Running 'COMMAND'" begins what a
// command did, in one or several transactions of "[ALPM]". pacman does not write who ran it.
func parsePacmanLog(text string) []Transaction {
	var out []Transaction
	var now *Transaction
	command := ""
	var body strings.Builder
	end := func(failed bool) {
		if now != nil {
			now.Failed = failed
			now.seal(body.String())
			out = append(out, *now)
		}
		now = nil
		body.Reset()
	}
	for line := range strings.Lines(text) {
		stamp, who, said, ok := pacmanLine(line)
		if !ok {
			continue
		}
		switch {
		case who == "PACMAN" && strings.HasPrefix(said, "Running '"):
			end(true) // a transaction that was not completed
			command = flatText(strings.TrimSuffix(strings.TrimPrefix(said, "Running '"), "'"))
		case who == "PACMAN" || who == "ALPM" && said == "transaction started":
		case who != "ALPM":
		case said == "transaction completed":
			end(false)
		case said == "transaction failed", said == "transaction interrupted":
			end(true)
		default:
			c, ok := pacmanChange(said)
			if !ok {
				continue
			}
			if now == nil {
				now = &Transaction{Manager: "pacman", Time: flatText(stamp), Command: command, Auto: isAutomatic(command), when: pacmanTime(stamp)}
			}
			now.add(c)
			body.WriteString(line)
		}
	}
	end(true)
	return out
}

func pacmanLine(line string) (stamp, who, said string, ok bool) {
	rest, found := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "[")
	stamp, rest, more := strings.Cut(rest, "] ")
	if !found || !more {
		return "", "", "", false
	}
	rest, found = strings.CutPrefix(rest, "[")
	who, said, more = strings.Cut(rest, "] ")
	return stamp, who, said, found && more
}

// pacmanChange reads "upgraded linux (6.11.1.arch1-1 -> 6.11.2.arch1-1)" and its like.
func pacmanChange(said string) (PackageChange, bool) {
	verb, rest, _ := strings.Cut(said, " ")
	action := pacmanActions[verb]
	name, versions, ok := strings.Cut(rest, " (")
	if action == "" || !ok {
		return PackageChange{}, false
	}
	versions = strings.TrimSuffix(versions, ")")
	c := PackageChange{Name: flatText(name), Action: action, New: flatText(versions)}
	if old, new, ok := strings.Cut(versions, " -> "); ok {
		c.Old, c.New = flatText(old), flatText(new)
	}
	if action == "remove" {
		c.Old, c.New = c.New, ""
	}
	return c, true
}

// pacmanTime reads both forms: with a zone since pacman 5.2, without before.
func pacmanTime(s string) time.Time {
	if t, err := time.Parse("2006-01-02T15:04:05-0700", s); err == nil {
		return t
	}
	return localTime("2006-01-02 15:04", s)
}

func readZypper(ctx context.Context, root *sysfs.Root) *Log {
	return fromText(ctx, root, "zypper", "/var/log/zypp/history", parseZypperHistory)
}

// parseZypperHistory reads "TIME|command|USER@HOST|'ARG' 'ARG'|" and the lines of what it did:
// "TIME|install|NAME|VERSION|ARCH|USER@HOST|REPO|SUM|", "TIME|remove |NAME|VERSION|ARCH|USER@HOST|".
func parseZypperHistory(text string) []Transaction {
	var out []Transaction
	var now *Transaction
	var body strings.Builder
	end := func() {
		if now != nil && (len(now.Packages) > 0 || now.Others > 0) {
			now.seal(body.String())
			out = append(out, *now)
		}
		now = nil
		body.Reset()
	}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), "|")
		if len(f) < 4 || strings.HasPrefix(line, "#") {
			continue
		}
		action := strings.TrimSpace(f[1])
		if action == "command" || now == nil {
			end()
			now = &Transaction{Manager: "zypper", Time: flatText(f[0]), when: localTime("2006-01-02 15:04:05", f[0])}
		}
		switch action {
		case "command":
			now.User, now.Command = flatText(f[2]), flatText(strings.ReplaceAll(f[3], "'", ""))
			now.Auto = isAutomatic(now.Command)
		case "install":
			now.add(PackageChange{Name: flatText(f[2]), Action: "install", New: flatText(f[3])})
		case "remove":
			now.add(PackageChange{Name: flatText(f[2]), Action: "remove", Old: flatText(f[3])})
		}
		body.WriteString(line)
	}
	end()
	return out
}
