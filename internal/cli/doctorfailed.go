package cli

import (
	"context"
	"strings"
)

// askFailed asks whether lastgood itself did its work in this boot. That it holds nothing where it
// fails makes a failure easy to overlook.
func (g *gateRun) askFailed(ctx context.Context) []answerLine {
	const question = "no unit of lastgood's failed in this boot"
	hint := "`systemctl --failed` lists them, `journalctl -b -u 'lastgood*'` tells why; workloads start without them"
	if runs, err := g.systemdRuns(ctx); !g.live || err != nil || !runs {
		return nil // a recorded host has no boot that runs; without systemd it is said already
	}
	var units []string
	for _, u := range serviceUnits {
		if strings.HasSuffix(u.name, ".service") {
			units = append(units, u.name)
		}
	}
	failed, err := g.system.Failed(ctx, append(units, notifyUnit))
	l := told(question, len(failed) == 0, err, hint)
	if err == nil {
		l.Detail = strings.Join(failed, "; ")
	}
	return []answerLine{l}
}
