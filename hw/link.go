package hw

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/mdlayher/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// netlinkPatience bounds each question: rtnl may be held by another.
const netlinkPatience = time.Second

// linkAsker asks the running kernel what sysfs does not tell of an interface. After a
// question that got no answer it asks no more: the lock that one waits for is everyone's.
type linkAsker struct {
	ctx   context.Context
	nl    *netlink.Handle
	nlErr error
	eth   *ethtool.Client // nil where the kernel has no ethtool netlink (before 5.6)
	mute  error
}

func newLinkAsker(ctx context.Context) *linkAsker {
	a := &linkAsker{ctx: ctx}
	a.nl, a.nlErr = netlink.NewHandle(unix.NETLINK_ROUTE)
	if a.nlErr == nil {
		a.nlErr = a.nl.SetSocketTimeout(netlinkPatience)
	}
	a.eth, _ = answerOf(a, ethtool.New) // without it sysfs is asked
	return a
}

func (a *linkAsker) close() {
	if a.nl != nil {
		a.nl.Close()
	}
	if a.eth != nil {
		a.eth.Close() // a question that still waits ends with it
	}
}

// answerOf runs a question and gives up when ctx is done or patience is at its end; only
// its goroutine is lost then.
func answerOf[T any](a *linkAsker, ask func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	var none T
	if a.mute != nil {
		return none, a.mute
	}
	done := make(chan answer, 1)
	go func() {
		v, err := ask()
		done <- answer{v, err}
	}()
	timer := time.NewTimer(netlinkPatience)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.v, r.err
	case <-timer.C:
		a.mute = fmt.Errorf("ask for the link: %w in %v", sysfs.ErrHung, netlinkPatience)
	case <-a.ctx.Done():
		a.mute = fmt.Errorf("ask for the link: %w", a.ctx.Err())
	}
	return none, a.mute
}

// permanent asks for the address that an interface was made with; nil on a recording.
func (a *linkAsker) permanent() func(string) (net.HardwareAddr, error) {
	if a == nil {
		return nil
	}
	return func(name string) (net.HardwareAddr, error) {
		if a.nlErr != nil {
			return nil, fmt.Errorf("open netlink: %w", a.nlErr)
		}
		link, err := a.nl.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("ask netlink for %s: %w", name, err)
		}
		return link.Attrs().PermHWAddr, nil
	}
}

// belongs reads the bridge or bond that the interface belongs to.
func (d *device) belongs() {
	master, err := d.root.Link(d.ctx, d.dir, "master")
	switch {
	case err == nil:
		d.Set("master", snapshot.Text(master))
	case sysfs.Absent(err):
		d.Set("master", snapshot.Text("none"))
	default:
		d.Fail("master", err)
	}
}

// readLink reads the state of the link and, where it is up, what it was negotiated to.
func (d *device) readLink(ask *linkAsker) {
	up := d.keep("operstate", "operstate") == "up"
	carrier := d.carrier()
	d.setUsed(up || carrier || (d.Text("master") != "none" && d.Text("master") != ""))
	if ask != nil {
		d.askLink(ask, up)
	}
	if !up {
		return
	}
	if d.Attrs["speed_bits"].IsZero() {
		d.linkSpeed()
	}
	if d.Text("duplex") == "" {
		d.sysfsDuplex()
	}
}

// setUsed says whether the interface is used; that it is not is known only where all that
// could say so was read.
func (d *device) setUsed(used bool) {
	for _, name := range []string{"operstate", "carrier", "master"} {
		if why := d.Errs[name]; why != "" && !used {
			d.Fail("used", errors.New(why))
			return
		}
	}
	d.Set("used", yesNo(used))
}

// carrier reads whether there is a signal; an interface that is set down answers EINVAL.
func (d *device) carrier() bool {
	s, err := d.root.Attr(d.ctx, d.dir, "carrier")
	switch {
	case err == nil && (s == "0" || s == "1"):
		d.Set("carrier", yesNo(s == "1"))
	case err == nil:
		d.Fail("carrier", fmt.Errorf("read carrier: %.20q is neither 0 nor 1", s))
	case !sysfs.Absent(err) && !errors.Is(err, unix.EINVAL):
		d.Fail("carrier", err)
	}
	return s == "1"
}

// linkSpeed reads Mb/s; -1 is the kernel's word for a speed that it does not know
// (SPEED_UNKNOWN), and a virtual link answers EINVAL.
func (d *device) linkSpeed() {
	n, err := d.root.Int(d.ctx, d.dir, "speed")
	switch {
	case err == nil && n > 0:
		d.Set("speed_bits", snapshot.Int(n*1e6))
	case err != nil && !noAnswer(err):
		d.Fail("speed_bits", err)
	}
}

func (d *device) sysfsDuplex() {
	s, err := d.root.Attr(d.ctx, d.dir, "duplex")
	switch {
	case err == nil && (s == "full" || s == "half"):
		d.Set("duplex", snapshot.Text(s))
	case err != nil && !noAnswer(err):
		d.Fail("duplex", err)
	}
}

// noAnswer reports whether an error says that the interface has no such thing.
func noAnswer(err error) bool {
	return sysfs.Absent(err) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV)
}

// askLink asks for the link's modes, forward error correction, other names and firmware.
// Nothing in here is known only to it, or it is no matter that it is missing: an error is
// kept only where a question got no answer.
func (d *device) askLink(ask *linkAsker, up bool) {
	if ask.eth != nil {
		iface := ethtool.Interface{Name: d.name}
		mode, err := answerOf(ask, func() (*ethtool.LinkMode, error) { return ask.eth.LinkMode(iface) })
		if err == nil {
			d.linkMode(mode, up)
		}
		fec, err := answerOf(ask, func() (*ethtool.FEC, error) { return ask.eth.FEC(iface) })
		if err == nil && fec.Active != 0 && up {
			d.Set("fec", snapshot.Text(strings.ToLower(fec.Active.String())))
		}
	}
	if ask.nlErr == nil {
		if link, err := ask.nl.LinkByName(d.name); err == nil && len(link.Attrs().AltNames) > 0 {
			d.Set("altnames", snapshot.List(link.Attrs().AltNames...))
		}
	}
	firmware, err := answerOf(ask, func() (string, error) { return firmwareOf(d.name) })
	if firmware = strings.Join(strings.Fields(firmware), " "); err == nil && firmware != "" && firmware != "N/A" {
		d.Set("firmware", snapshot.Text(firmware))
	}
	if ask.mute != nil {
		d.Fail("autoneg", ask.mute)
	}
}

// linkMode sets what a link was negotiated to. SPEED_UNKNOWN is -1 in an unsigned number of
// 32 bits (include/uapi/linux/ethtool.h).
func (d *device) linkMode(m *ethtool.LinkMode, up bool) {
	if up && int32(m.SpeedMegabits) > 0 {
		d.Set("speed_bits", snapshot.Int(int64(m.SpeedMegabits)*1e6))
	}
	if duplex := map[ethtool.Duplex]string{ethtool.Full: "full", ethtool.Half: "half"}[m.Duplex]; up && duplex != "" {
		d.Set("duplex", snapshot.Text(duplex))
	}
	if on := map[ethtool.Autoneg]string{ethtool.AutonegOn: "on", ethtool.AutonegOff: "off"}[m.Autoneg]; on != "" {
		d.Set("autoneg", snapshot.Text(on))
	}
	var ours []string
	for _, mode := range m.Ours {
		ours = append(ours, mode.Name)
	}
	if len(ours) > 0 {
		d.Set("modes", snapshot.List(ours...))
	}
}

// firmwareOf asks with ETHTOOL_GDRVINFO, which any user may.
func firmwareOf(name string) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	if err != nil {
		return "", fmt.Errorf("ask for the driver of %s: %w", name, err)
	}
	return unix.ByteSliceToString(info.Fw_version[:]), nil
}
