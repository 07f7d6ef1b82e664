package hw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

var _ = catalogue.Add(source.Source{
	Name: "raid_mfi", Tier: source.Native,
	Doc: `volumes and disks behind MegaRAID controllers, as their firmware tells

Asks each controller that megaraid_sas is bound to, by commands that only read, through the driver's ioctl. A controller that its driver
is bringing back is not asked: the answer would be long in coming.`,
	Kinds: []snapshot.Kind{raidFirmware, raidVolume, raidDisk},
	Read:  readMFI,
})

// mfiPatience is how long all controllers together may take. An answer comes within
// a few milliseconds, but 256 disks are asked one by one.
const mfiPatience = 3 * time.Second

// hostNumber is what the ioctl names a controller by.
var hostNumber = regexp.MustCompile(`^host([0-9]+)$`)

func readMFI(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	if !h.Root.Live() {
		return nil, source.ErrSkipped
	}
	hosts, err := scsiHosts(ctx, h)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, mfiPatience)
	defer cancel()
	var out []snapshot.Subject
	controllers, err := scan(ctx, h, "/sys/bus/pci/devices", raidFirmwareKind, func(d *device) bool { return d.isMFI(hosts) })
	errs := []error{err}
	for i := range controllers {
		found, err := askController(ctx, h, &controllers[i], openMFI)
		errs = append(errs, err)
		out = append(append(out, controllers[i]), found...)
	}
	return out, errors.Join(errs...)
}

// isMFI keeps the functions that megaraid_sas is bound to.
func (d *device) isMFI(hosts []hostFolder) bool {
	drv, err := d.root.Link(d.ctx, d.dir, "driver")
	if err != nil || drv != "megaraid_sas" {
		return false // hw.raid tells of a driver that cannot be told
	}
	d.settle(d.dir)
	d.Parent = raidKind + "/" + d.place
	d.Label = "firmware of " + d.name
	if host := hostBelow(hosts, d.dir); host != nil {
		d.Set("host", snapshot.Text(host.name))
		d.Set("host_folder", snapshot.Text(path.Dir(path.Dir(host.dir))))
	}
	return true
}

// askController fills in a controller and returns its volumes and disks. Where it
// could not be asked its subject says why, and so does the error.
func askController(ctx context.Context, h source.Host, c *snapshot.Subject, open func(context.Context, source.Host, uint16) (mfiClient, func(), error)) ([]snapshot.Subject, error) {
	fail := func(err error) ([]snapshot.Subject, error) {
		c.Outcome, c.Reason = snapshot.Inconclusive, err.Error()
		return nil, fmt.Errorf("ask %s: %w", c.Name(), err)
	}
	m := hostNumber.FindStringSubmatch(c.Text("host"))
	if m == nil {
		return fail(errors.New("it has no SCSI host"))
	}
	n, err := strconv.ParseUint(m[1], 10, 16)
	if err != nil {
		return fail(err)
	}
	state, err := h.Root.Attr(ctx, "/sys/class/scsi_host", m[0], "state")
	if err == nil && state != hostRunning {
		err = fmt.Errorf("its SCSI host is in state %q, and an answer would be long in coming", state)
	}
	if err != nil {
		return fail(err)
	}
	a, err := within(ctx, func() (mfiAnswers, error) {
		client, done, err := open(ctx, h, uint16(n))
		if err != nil {
			return mfiAnswers{}, err
		}
		defer done()
		return gatherMFI(ctx, client)
	})
	if err != nil {
		return fail(err)
	}
	return a.subjects(ctx, h, c)
}

// openMFI opens the driver's device.
func openMFI(ctx context.Context, h source.Host, host uint16) (mfiClient, func(), error) {
	major, err := mfiMajor(ctx, h)
	if err != nil {
		return nil, nil, err
	}
	fd, err := openPrivately(major, 0)
	if err != nil {
		return nil, nil, err
	}
	return &mfiDevice{fd: fd, host: host}, func() { unix.Close(fd) }, nil
}

// within runs f and gives up on it when ctx is done. f then goes on by itself, and
// holds a thread of this process until the kernel lets it go.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := f()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%w in the time given: %w", sysfs.ErrHung, ctx.Err())
	}
}

// mfiAnswers is what one controller said.
type mfiAnswers struct {
	controller mfiController
	events     *mfiEvents
	battery    *mfiBattery
	errs       map[string]error // attribute of the controller → why it is not known
	volumes    []mfiVolume
	disks      []mfiDiskAnswer
}

type mfiDiskAnswer struct {
	ref  mfiDiskRef
	info mfiDisk
	err  error
}

// mfiIsDisk is the SCSI device type of disks; enclosures are listed too.
const mfiIsDisk = 0

// gatherMFI asks for everything. What a controller is nothing without is an error.
func gatherMFI(ctx context.Context, c mfiClient) (mfiAnswers, error) {
	a := mfiAnswers{errs: map[string]error{}}
	err := mfiAsk(c, mfiControllerInfo, 0, mfiControllerBytes, parseMFIController, &a.controller)
	if err != nil {
		return a, err
	}
	if err := mfiAsk(c, mfiVolumeList, 0, 8+mfiMaxVolumes*mfiVolumeBytes, parseMFIVolumes, &a.volumes); err != nil {
		return a, err
	}
	var refs []mfiDiskRef
	if err := mfiAsk(c, mfiDiskList, 0, 8+mfiMaxDisks*mfiDiskRefBytes, parseMFIDisks, &refs); err != nil {
		return a, err
	}
	for _, ref := range refs {
		if ref.kind != mfiIsDisk {
			continue
		}
		if err := ctx.Err(); err != nil {
			return a, fmt.Errorf("%w to ask for %d disks", err, len(refs))
		}
		d := mfiDiskAnswer{ref: ref}
		d.err = mfiAsk(c, mfiDiskInfo, ref.id, mfiDiskBytes, parseMFIDisk, &d.info)
		if d.err == nil && d.info.id != ref.id {
			d.err = fmt.Errorf("asked for disk %d, the firmware answered for disk %d", ref.id, d.info.id)
		}
		a.disks = append(a.disks, d)
	}
	a.events = new(mfiEvents)
	if err := mfiAsk(c, mfiEventInfo, 0, mfiEventBytes, parseMFIEvents, a.events); err != nil {
		a.events = nil
		a.errs["events"] = err
	}
	a.battery = &mfiBattery{state: "absent"}
	if a.controller.hasBattery {
		err := mfiAsk(c, mfiBatteryStatus, 0, mfiBatteryBytes, parseMFIBattery, a.battery)
		if status := (*mfiStatusError)(nil); errors.As(err, &status) && (status.status == mfiNoHardware || status.status == mfiInvalidCommand) {
			*a.battery = mfiBattery{state: "absent"}
		} else if err != nil {
			a.battery = nil
			a.errs["battery"] = err
		}
	}
	return a, nil
}

// mfiAsk sends one command and reads the answer into v.
func mfiAsk[T any](c mfiClient, op mfiOpcode, mailbox uint16, size int, parse func([]byte) (T, error), v *T) error {
	b, err := c.ask(op, mailbox, size)
	if err != nil {
		return err
	}
	got, err := parse(b)
	if err != nil {
		return err
	}
	*v = got
	return nil
}

// subjects turns the answers into the controller's, its volumes' and its disks'
// subjects. Lists that hold less than the controller counts are an error: what is
// not in them is not gone.
func (a *mfiAnswers) subjects(ctx context.Context, h source.Host, c *snapshot.Subject) ([]snapshot.Subject, error) {
	a.fillController(c)
	key := c.Key().String()
	var out []snapshot.Subject
	for _, v := range a.volumes {
		s := v.subject(c.ID, key)
		volumeWWID(ctx, h, c, v.target, &s)
		out = append(out, s)
	}
	disks, err := a.diskSubjects(ctx, h, c.ID, key)
	errs := []error{err}
	if n := len(a.volumes); n < a.controller.volumes {
		errs = append(errs, fmt.Errorf("ask %s: it counts %d volumes and lists %d", c.Name(), a.controller.volumes, n))
	}
	return append(out, disks...), errors.Join(errs...)
}

// volumeWWID joins a volume with the disk that the kernel made of it, by its place:
// volumes are on the channels after the two of the disks
// (MEGASAS_MAX_PD_CHANNELS, MEGASAS_MAX_DEV_PER_CHANNEL of megaraid_sas.h).
func volumeWWID(ctx context.Context, h source.Host, c *snapshot.Subject, target int, s *snapshot.Subject) {
	const diskChannels, perChannel = 2, 128
	n := strings.TrimPrefix(c.Text("host"), "host")
	at := fmt.Sprintf("%s:%d:%d", n, diskChannels+target/perChannel, target%perChannel)
	wwid, err := h.Root.Attr(ctx, c.Text("host_folder"), "target"+at, at+":0", "wwid")
	switch {
	case err == nil && wwid != "":
		s.Set("wwid", snapshot.Text(strings.Join(strings.Fields(wwid), "_")))
	case err != nil && !sysfs.Absent(err) && !errors.Is(err, unix.ENXIO): // ENXIO: it has none
		s.Fail("wwid", err)
	}
}
