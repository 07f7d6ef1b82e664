package page

import (
	"strings"

	"lastgood/internal/boot"
	"lastgood/internal/snapshot"
)

// Kinds that pages know by name; all others are shown by their declarations.
const (
	kindProgram = "bpf.program" // of this node's own objects
	kindLoaded  = "bpf.loaded"  // that somebody loaded: as it runs
	kindProbe   = "bpf.probe"
	kindSensor  = "hw.sensor"
)

// mostPast bounds what is kept of an older snapshot, by kind.
const mostPast = 4000

// reduce keeps of a snapshot what pages need of an older boot: a hundredth of it.
func reduce(s *snapshot.Snapshot) *Past {
	p := &Past{Identity: s.Identity, Components: map[string]string{}, Programs: map[snapshot.Key]Program{}, Sensors: map[string]Sensor{}}
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		switch sub.Kind {
		case kindProgram, kindLoaded, kindProbe:
			if prog, ok := programOf(sub); ok && len(p.Programs) < mostPast {
				p.Programs[sub.Key()] = prog
			}
		case kindSensor:
			if sensor, ok := sensorOf(sub); ok && len(p.Sensors) < mostPast {
				p.Sensors[sub.ID] = sensor
			}
		case boot.OutcomeKind:
			p.Class, p.Intended, p.Why = sub.Text("class"), sub.Text("intended"), sub.Text("why")
		case boot.PastKind:
			p.Ended = sub.Text("ended")
		case boot.ComponentKind:
			if v := component(sub); v != "" && len(p.Components) < mostPast {
				p.Components[sub.ID] = v
			}
		case "boot.transactions":
			if t := sub.Text("last_told"); t != "" {
				p.Log = t
			}
		}
		if device(sub.Kind) && sub.Outcome == snapshot.Measured {
			p.Devices++
		}
	}
	return p
}

func device(kind string) bool {
	return strings.HasPrefix(kind, "hw.") || kind == "net.interface"
}

// component is the version of a part of the boot, or its hash where it has none.
func component(s *snapshot.Subject) string {
	if s.Outcome != snapshot.Measured {
		return ""
	}
	if v, ok := s.Attrs["version"]; ok {
		return v.String()
	}
	return s.Text("sha256")
}

// programOf is what the verifier said of a measured program. Of one that runs the kernel
// may not say how much it walked (before 5.16): there is nothing to draw then.
func programOf(s *snapshot.Subject) (Program, bool) {
	if _, counted := s.Attrs["insns_processed"]; s.Outcome != snapshot.Measured || s.Kind == kindLoaded && !counted {
		return Program{}, false
	}
	p := Program{Verdict: s.Text("verdict"), Digest: s.Text("program"), Insns: -1}
	if n, ok := s.Attrs["insns_processed"].Number(); ok {
		p.Insns = n
	}
	p.Limit, _ = s.Attrs["insns_limit"].Number()
	return p, true
}

// sensorOf is a temperature sensor's reading; false for a fan.
func sensorOf(s *snapshot.Subject) (Sensor, bool) {
	out := Sensor{Label: s.Name()}
	out.Value, out.Known = s.Attrs["value_celsius"].Number()
	out.Limit, _ = s.Attrs["limit_celsius"].Number()
	out.Critical, _ = s.Attrs["crit_celsius"].Number()
	return out, out.Known || s.Text("type") == "temperature"
}
