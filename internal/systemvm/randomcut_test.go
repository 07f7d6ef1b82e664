package systemvm

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

var cutSeed = flag.Uint64("cut-seed", 0, "seed of the instants at which TestVMDebianPowerCutAtRandom takes the power away; 0: it is not run")

// hook is a receiver that nobody runs: what is to be told stays in the spool.
const hook = `cat >> /etc/lastgood/lastgood.yaml <<'END'
notify:
  webhooks: [{url: "http://127.0.0.1:8099/hook"}]
END
sync`

// cutter takes the power away at random instants, and remembers what must outlive that.
type cutter struct {
	*fragile
	random  *rand.Rand
	boots   []string // kernels, one a boot
	spooled []string // names of messages that were whole on the disk
}

// cutIn waits until a unit of lastgood's is at work, for a random time of the guest's clock up to
// most after that, and takes the power away. A message that was in the spool a second before that
// is on the disk: its name is synced well within it.
func (c *cutter) cutIn(unit, states string, most float64) {
	c.Helper()
	wait := c.random.Float64() * most
	out, status, err := c.run(fmt.Sprintf(`while state=$(systemctl show --value -p ActiveState %s); [ $SECONDS -lt 90 ]; do case $state in %s) break ;; esac; sleep 0.02; done
echo "$state at $(cut -d' ' -f1 /proc/uptime) s"
sleep %.3f
[ %[4]t = true ] && ls /var/lib/lastgood/spool 2> /dev/null | grep json
sleep %.3[5]f`, unit, states, max(0, wait-1), wait > 1, min(wait, 1)))
	switch {
	case err != nil && strings.Contains(err.Error(), "started again"):
		c.count()
		out = "it was booted again meanwhile"
	case err != nil || status != 0:
		c.Fatalf("%s: %v: exit status %d: %s", unit, err, status, out)
	}
	first, names, _ := strings.Cut(strings.TrimSpace(out), "\n")
	c.spooled = append(c.spooled, strings.Fields(names)...)
	c.cutNow(fmt.Sprintf("%.3f s after %s was %s, with %q in the spool", wait, unit, first, c.spooled))
	c.holds()
}

// holds fails the test where something does not hold that does after any cut. It is quick: the
// boot goes on meanwhile.
func (c *cutter) holds() {
	c.Helper()
	c.count()
	out := c.sh(`lastgood list > /dev/null || exit 1
test ! -e /var/lib/lastgood/damaged || exit 2
jq -e .schema /var/lib/lastgood/gate.json > /dev/null || exit 3
stat -c %s /boot/grub/grubenv
grub-editenv list`)
	if out != "1024\nsaved_entry="+entryID(c.img.older) && out != "1024\nsaved_entry="+entryID(c.img.newer) {
		c.Errorf("grubenv: %s", out)
	}
	now := c.waiting()
	for _, name := range c.spooled {
		if !slices.Contains(now, name) {
			c.Errorf("message %s was spooled and is lost: %q", name, now)
		}
	}
}

// waiting are the names of the messages that are not sent yet.
func (c *cutter) waiting() []string {
	c.Helper()
	return strings.Fields(c.sh("ls /var/lib/lastgood/spool 2> /dev/null | grep json; true"))
}

// count notes which kernel runs. Once the newer one was left for the older it is never booted again.
func (c *cutter) count() {
	c.Helper()
	c.boots = append(c.boots, c.kernel)
	left := 0
	for i := 1; i < len(c.boots); i++ {
		if c.boots[i] == c.img.older && c.boots[i-1] == c.img.newer {
			left++
		}
	}
	if left > 1 || left == 1 && c.boots[len(c.boots)-1] != c.img.older {
		c.Fatalf("more than one rollback: %q", c.boots)
	}
}

// TestVMDebianPowerCutAtRandom: the newer kernel is worse and is left; the power goes at a random
// instant of every step. The state is whole after each, there is one rollback at most, GRUB's
// default is sane and what was to be told is told from the boot that stays up.
func TestVMDebianPowerCutAtRandom(t *testing.T) {
	if *cutSeed == 0 {
		t.Skip("power cuts at random instants are asked for with -cut-seed, as `make test-cuts` does; TestVMDebianPowerCut has one aimed at each step")
	}
	t.Parallel()
	t.Logf("-cut-seed %d", *cutSeed)
	c := &cutter{fragile: fragileHost(t, *cutSeed), random: rand.New(rand.NewPCG(*cutSeed, 0))}
	img := c.img
	c.sh(hook)
	c.upgrade()
	c.sh("systemctl --no-block reboot")
	const atWork = "activating | active | failed"
	c.cutIn("lastgood-intent.service", "deactivating | inactive | failed", 0.2)
	c.runs(img.newer)
	c.cutIn("lastgood-gate.service", atWork, 5)
	c.cutIn("lastgood-assess.service", atWork, 6)
	if c.kernel == img.newer {
		c.cutIn("lastgood-decide.service", atWork, 1)
	}
	if c.kernel == img.older {
		c.cutIn("lastgood-bless.service", atWork, 0.3)
	}
	c.end()
}

// end lets the host come to rest.
func (c *cutter) end() {
	c.Helper()
	if err := c.settled(); err != nil && strings.Contains(err.Error(), "started again") {
		c.count()
		c.settles()
	} else if err != nil {
		c.Fatal(err)
	}
	if c.kernel == c.img.newer {
		c.Logf("the newer kernel is still there: %s", c.sh("lastgood decide --dry-run"))
	}
	c.whole()
	s := c.state()
	c.Logf("boots %q, then %s", c.boots, s.Describe())
	if len(s.Bad) > 1 || len(s.Bad) == 1 && s.Bad[0].Release != c.img.newer {
		c.Errorf("state: %+v", s)
	}
	good := c.kernel == c.img.older
	c.is("kubelet.service", map[bool]string{true: "active", false: "inactive"}[good])
	if good != (s.Verdict == snapshot.Good) || s.Step == gate.Returning || s.Step == gate.Returned {
		c.Errorf("state: %+v\n%s", s, c.log())
	}
	c.deliver()
}

// deliver has somebody listen at last, to one message at a time: all of them come, those of the boots that were cut
// first, in the order in which they were written.
func (c *cutter) deliver() {
	c.Helper()
	if names := c.waiting(); len(names) == 0 || len(c.spooled) == 0 {
		c.Fatalf("nothing was spooled: %q, %q", names, c.spooled)
	}
	out := c.sh(`systemctl stop lastgood-notify.timer lastgood-notify.service
cd /root
{ while :; do { sleep 1; printf 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'; } | busybox nc -l -p 8099 >> heard; echo >> heard; done; } 2> /dev/null &
listener=$!
for i in $(seq 60); do
  for j in $(seq 50); do ss -ltn | grep -q :8099 && break; sleep 0.1; done
  lastgood notify --now > /dev/null 2>&1
  ls /var/lib/lastgood/spool | grep -q json || break
done
kill $listener; pkill -x busybox
grep -a '^{' heard | jq -r '[.number, .boot_id, .event] | @tsv'`)
	c.Logf("told, in this order:\n%s", out)
	last, boots := int64(0), []string{}
	for line := range strings.Lines(out) {
		var number int64
		var boot, event string
		if n, _ := fmt.Sscan(line, &number, &boot, &event); n != 3 {
			c.Fatalf("no message: %s", line)
		}
		if number < last {
			c.Errorf("message %d came after %d", number, last)
		}
		last = number
		if !slices.Contains(boots, boot) {
			boots = append(boots, boot)
		}
	}
	if len(boots) < 2 || boots[len(boots)-1] != c.boot {
		c.Errorf("messages of boots %q, want those of an earlier one before this one's, %s", boots, c.boot)
	}
	if names := c.waiting(); len(names) != 0 {
		c.Errorf("messages still wait: %q", names)
	}
}
