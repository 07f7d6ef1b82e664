package gate

import (
	"context"
	"fmt"
	"strings"
)

// AssessUnit is the unit that fails by a verdict too.
const AssessUnit = "lastgood-assess.service"

// Failed are, of the given units of lastgood's, those that failed and how, by systemd's word:
// "UNIT: timeout". An assessment that ended with status 1 did what it is for: a boot that is
// worse keeps boot-complete.target back.
func (s Systemctl) Failed(ctx context.Context, units []string) ([]string, error) {
	text, err := s.run(ctx, append([]string{"show", "-p", "Id,ActiveState,Result,ExecMainStatus", "--"}, units...)...)
	if err != nil {
		return nil, err
	}
	return failed(text), nil
}

func failed(text string) []string {
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		p := map[string]string{}
		for line := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			p[k] = v
		}
		verdict := p["Id"] == AssessUnit && p["Result"] == "exit-code" && p["ExecMainStatus"] == "1"
		if p["ActiveState"] != "failed" || verdict {
			continue
		}
		why := p["Result"]
		if why == "exit-code" {
			why = fmt.Sprintf("exit status %s", p["ExecMainStatus"])
		}
		out = append(out, p["Id"]+": "+why)
	}
	return out
}
