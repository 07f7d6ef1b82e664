package boot

import (
	"fmt"
	"strings"
)

// Message ids of systemd's catalogue (src/systemd/sd-messages.h).
const (
	messageShutdown    = "98268866d1d54a499c4e98921d93bc40" // logind: shutdown initiated
	messageJournalStop = "d93fb3c9c24d451a97cea615ce59c00b" // the journal was stopped in order
)

// logindWords are what logind says when it begins, by what it does. The wording changed with
// the versions of systemd.
var logindWords = []struct{ word, how string }{
	{"will reboot now", "reboot"}, {"is rebooting with kexec", "kexec"}, {"is rebooting", "reboot"},
	{"will power off now", "poweroff"}, {"is powering down", "poweroff"}, {"will be powered off", "poweroff"}, {"will halt now", "halt"}, {"is halting", "halt"},
	{"system will be rebooted", "reboot"},
}

// targets are the units in which an orderly shutdown ends.
var targets = []struct{ word, how string }{
	{"reached target reboot.target", "reboot"}, {"reached target poweroff.target", "poweroff"}, {"reached target halt.target", "halt"}, {"reached target kexec.target", "kexec"},
	{"reached target system reboot", "reboot"}, {"reached target system power off", "poweroff"}, {"reached target system halt", "halt"},
	{"reached target reboot", "reboot"}, {"reached target power-off", "poweroff"},
}

// enders are programs that end a boot, as they stand in sudo's record of a command.
var enders = []string{"reboot", "shutdown", "poweroff", "halt", "telinit", "init", "kexec"}

// Ends of which it is not known how: in order, and the journal stopped.
const (
	endSome    = "?"
	endJournal = "journal"
)

// ending says what a record tells of its boot's end: how, endSome where it is only known that it
// was in order, "" where it says nothing; and by whom, as a sentence.
func (r *record) ending() (how, by string) {
	said := strings.ToLower(r.Message)
	switch r.Identifier {
	case "systemd-logind":
		for _, w := range logindWords {
			if strings.Contains(said, w.word) {
				return w.how, ""
			}
		}
		if strings.Contains(said, "requested from client pid") || strings.Contains(said, "power key pressed") {
			return "", "systemd-logind: " + flatText(r.Message)
		}
		if r.MessageID == messageShutdown {
			return endSome, ""
		}
	case "systemd":
		for _, t := range targets {
			if strings.HasPrefix(said, t.word) {
				return t.how, ""
			}
		}
		if strings.HasPrefix(said, "shutting down.") {
			return endSome, ""
		}
	case "systemd-shutdown", "systemd-journald":
		if r.MessageID == messageJournalStop || said == "journal stopped" || strings.HasPrefix(said, "received sigterm from pid 1 (systemd-shutdow") {
			return endJournal, ""
		}
	case "sudo":
		return "", sudoEnder(r.Message)
	case "unattended-upgrade", "unattended-upgrades", "kured", "needrestart", "dnf-automatic", "shutdown", "rebootmgrd":
		if strings.Contains(said, "reboot") || strings.Contains(said, "shutdown") {
			return "", fmt.Sprintf("%s: %s", r.Identifier, flatText(r.Message))
		}
	}
	return "", ""
}

// sudoEnder reads sudo's "USER : TTY=… ; PWD=… ; USER=root ; COMMAND=/usr/sbin/reboot" and gives a
// sentence where the command ends a boot.
func sudoEnder(message string) string {
	user, rest, ok := strings.Cut(message, " : ")
	_, command, found := strings.Cut(rest, "COMMAND=")
	words := strings.Fields(command)
	if !ok || !found || len(words) == 0 {
		return ""
	}
	base := words[0][strings.LastIndexByte(words[0], '/')+1:]
	ends := false
	switch base {
	case "systemctl":
		for _, w := range words[1:] {
			ends = ends || w == "reboot" || w == "poweroff" || w == "halt" || w == "kexec" || w == "isolate"
		}
	default:
		for _, e := range enders {
			ends = ends || base == e
		}
	}
	if !ends {
		return ""
	}
	return fmt.Sprintf("%s, by sudo: %s", flatText(strings.TrimSpace(user)), flatText(command))
}

// maxSaid bounds a text that is taken over from a log.
const maxSaid = 300

// flatText is a text on one line, bounded.
func flatText(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "?")
	if len(s) > maxSaid {
		s = strings.ToValidUTF8(s[:maxSaid], "") + "…"
	}
	return s
}
