package kernels

import (
	"strings"
)

// maxChanges bounds how many entries of a changelog are quoted.
const maxChanges = 40

// ChangesAbout takes out of a package's changelog (deb-changelog(5)) the entries that
// have word in them, from the newest version down to, and without, the one since. An
// entry that runs over several lines is one.
func ChangesAbout(text, since, word string) []string {
	var out []string
	entry, version := "", ""
	flush := func() {
		if entry != "" && strings.Contains(strings.ToLower(entry), strings.ToLower(word)) {
			out = append(out, version+": "+entry)
		}
		entry = ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if v, ok := headingVersion(line); ok {
			flush()
			if version = v; since != "" && CompareDebian(v, since) <= 0 {
				break
			}
			continue
		}
		words := strings.TrimSpace(line)
		switch {
		case words == "" || strings.HasPrefix(line, " -- "):
			flush()
		case strings.HasPrefix(words, "- ") || strings.HasPrefix(words, "* "):
			flush()
			entry = strings.TrimSpace(words[2:])
		case entry != "":
			entry += " " + words
		}
	}
	flush()
	return out[:min(len(out), maxChanges)]
}

// headingVersion reads "linux (6.1.192-2) bookworm-security; urgency=high".
func headingVersion(line string) (string, bool) {
	if line == "" || line[0] == ' ' || line[0] == '\t' {
		return "", false
	}
	_, rest, ok := strings.Cut(line, " (")
	version, _, closed := strings.Cut(rest, ")")
	return version, ok && closed && version != ""
}
