package cli

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lastgood/internal/gate"
)

// packaged are the files that the list of the packages names: source and destination.
func packaged(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../../deploy/package/files.list")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 5 || strings.HasPrefix(line, "#") || f[3] == "-" || f[3] == "@binary" {
			continue
		}
		found, err := filepath.Glob(filepath.Join("../..", f[3]))
		if err != nil || len(found) == 0 {
			t.Errorf("%s: no such file: %v", f[3], err)
		}
		for _, p := range found {
			out[strings.TrimPrefix(filepath.ToSlash(p), "../../")] = f[4]
		}
	}
	return out
}

// TestPackageHoldsWhatIsDeployed: what lies under deploy for hosts is in the packages, a unit where the
// binary has the command that it starts and only there.
func TestPackageHoldsWhatIsDeployed(t *testing.T) {
	in := packaged(t)
	for name, text := range ourUnits(t) {
		_, listed := in["deploy/systemd/"+name]
		if works := startsWhatIs(t, name, text); works != listed {
			t.Errorf("%s: its command is there: %v; in the packages: %v", name, works, listed)
		}
	}
	for _, pattern := range []string{"hooks/*", "motd/*", "greenboot/*", "completion/*", "contract.d/*", "systemd/*.catalog", "systemd/*.sysusers", "systemd/*.tmpfiles", "systemd/lastgood-generator",
		"prometheus/*", "grafana/*.json", "kured/*", "node-problem-detector/*", "node_exporter/*"} {
		found, err := filepath.Glob("../../deploy/" + pattern)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: no files: %v", pattern, err)
		}
		for _, p := range found {
			if p = strings.TrimPrefix(filepath.ToSlash(p), "../../"); in[p] == "" {
				t.Errorf("%s is not in the packages", p)
			}
		}
	}
	for _, c := range shownCommands() {
		if in["docs/man/lastgood-"+c.name+".8"] == "" {
			t.Errorf("no page of the manual for %s", c.name)
		}
	}
}

var execLine = regexp.MustCompile(`(?m)^Exec(?:Start|Stop)=/usr/bin/lastgood (\S+)`)

// startsWhatIs reports whether a unit's commands are there; a timer's or socket's are those of its service.
func startsWhatIs(t *testing.T, name, text string) bool {
	t.Helper()
	if ext := path.Ext(name); ext != ".service" {
		name = strings.TrimSuffix(name, ext) + ".service"
		text = ourUnits(t)[name]
	}
	found := execLine.FindAllStringSubmatch(text, -1)
	if len(found) == 0 && strings.Contains(text, "\nAssertPathExists=!"+gate.WorsePath) {
		return true // what the assessment found is all that it asks for
	}
	if len(found) == 0 {
		t.Errorf("%s starts no command of lastgood's", name)
	}
	for _, m := range found {
		if !slices.ContainsFunc(commands(), func(c command) bool { return c.name == m[1] }) {
			return false
		}
	}
	return true
}

// asked are the units that somebody has to enable: nothing listens by itself.
func asked() []string { return []string{"lastgood-serve.service", "lastgood-serve.socket"} }

// TestPackageEnables: the units with an [Install] are those of the preset and of every script that
// names units, those that want to be asked for are enabled by none, and no script starts what decides or holds.
func TestPackageEnables(t *testing.T) {
	in := packaged(t)
	var want []string
	for name, text := range ourUnits(t) {
		if strings.Contains(text, "\n[Install]") && in["deploy/systemd/"+name] != "" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	word := regexp.MustCompile(`lastgood-[a-z@-]+\.(?:service|timer|socket)`)
	byItself := slices.DeleteFunc(slices.Clone(want), func(u string) bool { return slices.Contains(asked(), u) })
	for _, file := range []string{"50-lastgood.preset", "scripts/postinst", "scripts/postrm", "scripts/post.rpm", "scripts/preun.rpm"} {
		b, err := os.ReadFile("../../deploy/package/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			units := word.FindAllString(line, -1)
			have = append(have, units...)
			if file == "50-lastgood.preset" && strings.HasPrefix(line, "disable") != slices.Contains(asked(), strings.TrimSpace(line[strings.IndexByte(line, ' ')+1:])) {
				t.Errorf("%s: %s", file, line)
			}
			starts := strings.Contains(line, "watchers=") || strings.HasPrefix(strings.TrimSpace(line), "for unit in l")
			for _, u := range units {
				if starts && !slices.Contains([]string{"lastgood-intent.service", "lastgood-notify.timer", "lastgood-watch.timer"}, u) {
					t.Errorf("%s starts %s on a host that runs", file, u)
				}
			}
		}
		slices.Sort(have)
		want := want
		if strings.HasPrefix(file, "scripts/post") && file != "scripts/postrm" {
			want = byItself
		}
		if d := gocmp.Diff(want, slices.Compact(have)); d != "" {
			t.Errorf("%s (-units with [Install] +its own):\n%s", file, d)
		}
	}
}
