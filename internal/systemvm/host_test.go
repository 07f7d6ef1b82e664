package systemvm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lastgood/internal/gate"
	"lastgood/internal/notify"
)

// host is the machine of one test.
type host struct {
	*testing.T
	*machine
	img *image
}

// deb builds the package of the sources at hand.
var deb = sync.OnceValues(func() (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "lastgood")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "lastgood/cmd/lastgood")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	pack := exec.Command("go", "run", ".", "-binary", binary, "-out", dir, "-version", "1.0.0")
	pack.Dir, pack.Env = filepath.Join(top, "deploy/package"), append(os.Environ(), "SOURCE_DATE_EPOCH=0")
	if out, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("package: %w\n%s", err, out)
	}
	return filepath.Join(dir, "lastgood_1.0.0_amd64.deb"), nil
})

// parcel is a disk with a tar of what goes into the machine: the package, and the scenarios' settings.
var parcel = sync.OnceValues(func() (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	pkg, err := deb()
	if err != nil {
		return "", err
	}
	here, err := filepath.Abs("testdata")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "parcel")
	if _, err := command("", "tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf", path, "-C", filepath.Dir(pkg), filepath.Base(pkg), "-C", here, "quick"); err != nil {
		return "", err
	}
	return path, nil
})

// withParcel are a machine's disks: its own, and the parcel.
func withParcel(own disk) ([]disk, error) {
	p, err := parcel()
	return []disk{own, {path: p, format: "raw", cache: "writeback", readOnly: true}}, err
}

// careless is a disk that nobody minds losing when the test is over.
func careless(path string) disk { return disk{path: path, format: "qcow2", cache: "unsafe"} }

// install puts lastgood on a running Debian by dpkg.
const install = `set -e
cd /root && tar -xf /dev/vdb && dpkg -i lastgood_*.deb && rm lastgood_*.deb`

// quicken gives a machine the settings of the scenarios.
const quicken = `set -e
cd /root/quick
cp lastgood.yaml /etc/lastgood/lastgood.yaml
mkdir -p /etc/lastgood/contract.d /etc/systemd/system/lastgood-gate.service.d /etc/systemd/system/lastgood-assess.service.d
cp contract.yaml /etc/lastgood/contract.d/node.yaml
cp gate.conf /etc/systemd/system/lastgood-gate.service.d/quick.conf
cp assess.conf /etc/systemd/system/lastgood-assess.service.d/quick.conf
echo here > /srv/data
sync`

// learned is a disk with a machine in it that runs, and has learned what it is held to: at the
// second of its boots, of the older kernel. Scenarios go on from there. It is kept in the cache
// for whoever runs these tests again.
var learned = sync.OnceValues(func() (string, error) { return prepare(false) })

// prepare gives the learned machine, with GRUB or with EFI and systemd-boot, from the cache where
// it was made before. One with EFI has its variables beside the disk.
func prepare(efi bool) (string, error) {
	img, err := debian()
	if err != nil {
		return "", err
	}
	from := img.path
	if efi {
		from = img.efi
	}
	key, err := learnedKey(from)
	if err != nil {
		return "", err
	}
	cache := filepath.Dir(from)
	path := filepath.Join(cache, "learned-"+key+".qcow2")
	if exists(path) {
		return path, nil
	}
	forget(cache)
	dir, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "disk")
	if err := learn(dir, from, made, efi); err != nil {
		return "", fmt.Errorf("prepare: %w", err)
	}
	if efi {
		if err := os.Rename(variables(made), variables(path)); err != nil {
			return "", err
		}
	}
	return path, os.Rename(made, path)
}

// forget removes from the cache what other sources were tested with, and what a run that was killed
// left there, when nobody can be at it any more.
func forget(cache string) {
	for _, pattern := range []string{"learned-*.qcow2*", "making-*"} {
		found, err := filepath.Glob(filepath.Join(cache, pattern))
		if err != nil {
			continue
		}
		for _, name := range found {
			if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > 6*time.Hour {
				_ = os.RemoveAll(name) // it is only room
			}
		}
	}
}

// learnedKey is the digest of what a learned machine is made of.
func learnedKey(from string) (string, error) {
	name, err := parcel()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, from, base, install, quicken)
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func learn(dir, from, path string, efi bool) error {
	if _, err := command("", "qemu-img", "create", "-q", "-f", "qcow2", "-b", from, "-F", "qcow2", path); err != nil {
		return err
	}
	disks, err := withParcel(careless(path))
	if err != nil {
		return err
	}
	var more []string
	if efi {
		if more, err = newFirmware(variables(path)); err != nil {
			return err
		}
	}
	m, err := start(dir, disks, more...)
	if err != nil {
		return err
	}
	defer m.cut()
	for _, step := range []func() error{
		m.up, m.does(install), m.does(quicken), m.does("systemctl --no-block reboot"), m.up, m.settled, m.does("sync"), m.save,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// does is a step that runs a command, which must succeed.
func (m *machine) does(command string) func() error {
	return func() error {
		out, status, err := m.run(command)
		if err == nil && status != 0 {
			err = fmt.Errorf("%s: exit status %d\n%s", command, status, out)
		}
		return err
	}
}

// settled waits for the boot to be over: all jobs done, lastgood's too.
func (m *machine) settled() error {
	return m.does(`for i in $(seq 600); do
  state=$(systemctl is-system-running --wait 2>/dev/null)
  case $state in running | degraded) exit 0 ;; esac
  sleep 0.1
done
echo "the system is $state"; systemctl list-jobs; exit 1`)()
}

// resume is the learned machine, for one test, as it stood.
func resume(t *testing.T) *host {
	t.Helper()
	img := theDebian(t)
	from, err := learned()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.qcow2")
	if err := copyFile(from, path); err != nil {
		t.Fatal(err)
	}
	h := run(t, img, careless(path), dir, "-loadvm", savedName)
	h.kernel = img.older // it said so before it was saved
	return h
}

// run starts a machine for one test; a console is shown where the test fails.
func run(t *testing.T, img *image, own disk, dir string, more ...string) *host {
	t.Helper()
	disks, err := withParcel(own)
	if err != nil {
		t.Fatal(err)
	}
	m, err := start(dir, disks, more...)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{T: t, machine: m, img: img}
	t.Cleanup(func() {
		h.cut()
		if t.Failed() {
			t.Logf("console:\n%s", h.tail())
		}
	})
	return h
}

// sh runs a command that must succeed.
func (h *host) sh(command string) string {
	h.Helper()
	out, status := h.status(command)
	if status != 0 {
		h.Fatalf("%s: exit status %d\n%s", command, status, out)
	}
	return strings.TrimSpace(out)
}

func (h *host) status(command string) (string, int) {
	h.Helper()
	out, status, err := h.run(command)
	if err != nil {
		h.Fatal(err)
	}
	return out, status
}

// reboot does so in order and waits for the boot to be over.
func (h *host) reboot() {
	h.Helper()
	h.sh("systemctl --no-block reboot")
	h.comesUp()
	h.settles()
}

// comesUp waits for the machine's next start.
func (h *host) comesUp() {
	h.Helper()
	if err := h.up(); err != nil {
		h.Fatal(err)
	}
}

func (h *host) settles() {
	h.Helper()
	if err := h.settled(); err != nil {
		h.Fatal(err)
	}
}

// runs fails the test where another kernel than this one runs.
func (h *host) runs(release string) {
	h.Helper()
	if h.kernel != release {
		h.Fatalf("kernel %s runs, want %s\n%s", h.kernel, release, h.log())
	}
}

// unit is a property of a unit.
func (h *host) unit(name, property string) string {
	h.Helper()
	return h.sh("systemctl show --value -p " + property + " " + name)
}

// is fails the test where a unit's state is another one.
func (h *host) is(unit, state string) {
	h.Helper()
	if got := h.unit(unit, "ActiveState"); got != state {
		h.Errorf("%s is %s, want %s\n%s", unit, got, state, h.log())
	}
}

// told are the texts of one kind of message in this boot's journal, by its MESSAGE_ID.
func (h *host) told(event string) []string {
	h.Helper()
	for _, e := range notify.Events() {
		if e.Name != event {
			continue
		}
		out := h.sh("journalctl --sync; journalctl -b -q --no-pager -o json --output-fields=MESSAGE MESSAGE_ID=" + e.ID)
		var texts []string
		for line := range strings.Lines(out) {
			var m struct{ MESSAGE string }
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				h.Fatalf("%v: %s", err, line)
			}
			texts = append(texts, m.MESSAGE)
		}
		return texts
	}
	h.Fatalf("no event %q", event)
	return nil
}

// tells fails the test where this boot's journal has not exactly one message of a kind, with
// these words in it.
func (h *host) tells(event string, words ...string) {
	h.Helper()
	texts := h.told(event)
	if len(texts) != 1 {
		h.Errorf("%d messages %q, want one: %q\n%s", len(texts), event, texts, h.log())
		return
	}
	for _, w := range words {
		if !strings.Contains(texts[0], w) {
			h.Errorf("message %q does not say %q: %s", event, w, texts[0])
		}
	}
}

// silent fails the test where it has any of that kind.
func (h *host) silent(events ...string) {
	h.Helper()
	for _, event := range events {
		if texts := h.told(event); len(texts) > 0 {
			h.Errorf("told %q: %q\n%s", event, texts, h.log())
		}
	}
}

// state is what the gate remembers.
func (h *host) state() gate.State {
	h.Helper()
	var s gate.State
	if err := json.Unmarshal([]byte(h.sh("cat /var/lib/lastgood/gate.json")), &s); err != nil {
		h.Fatal(err)
	}
	return s
}

// log is what lastgood and systemd say of this boot.
func (h *host) log() string {
	out, _, err := h.run("systemctl --failed --no-pager; cat /var/lib/lastgood/gate.json; journalctl -b -q --no-pager -o short-monotonic -u 'lastgood*' -u kubelet | tail -n 150")
	return fmt.Sprint(out, errors.Join(err))
}

// sound fails the test where systemd broke a cycle, a unit but those named failed, or doctor
// misses something but what is named.
func (h *host) sound(failed ...string) {
	h.Helper()
	if out, _ := h.status("journalctl -b -q --no-pager | grep -i 'ordering cycle'"); out != "" {
		h.Errorf("ordering cycle: %s", out)
	}
	for _, unit := range strings.Fields(h.sh("systemctl list-units --failed --plain --no-legend | cut -d' ' -f1")) {
		ours := false
		for _, f := range failed {
			ours = ours || f == unit
		}
		if !ours {
			h.Errorf("%s failed\n%s", unit, h.sh("journalctl -b -q --no-pager -u "+unit))
		}
	}
}

// theDebian is the image, for a test.
func theDebian(t *testing.T) *image {
	t.Helper()
	needVM(t)
	i, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// copyFile copies a file for a machine to write to.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
