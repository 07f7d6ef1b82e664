package hw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"lastgood/internal/source"
)

// mfiOpcode is a command of a MegaRAID firmware (DCMD).
type mfiOpcode uint32

// The commands that are ever sent. All of them read; the same interface also clears
// configurations and shuts controllers down, so nothing else gets past mfiPacket.
const (
	mfiControllerInfo mfiOpcode = 0x01010000 // MR_DCMD_CTRL_GET_INFO
	mfiEventInfo      mfiOpcode = 0x01040100 // MR_DCMD_CTRL_EVENT_GET_INFO
	mfiDiskList       mfiOpcode = 0x02010000 // MR_DCMD_PD_GET_LIST
	mfiDiskInfo       mfiOpcode = 0x02020000 // MR_DCMD_PD_GET_INFO
	mfiVolumeList     mfiOpcode = 0x03010000 // MR_DCMD_LD_GET_LIST
	mfiBatteryStatus  mfiOpcode = 0x05010000 // MR_DCMD_BBU_GET_STATUS
)

var mfiReads = []mfiOpcode{mfiControllerInfo, mfiEventInfo, mfiDiskList, mfiDiskInfo, mfiVolumeList, mfiBatteryStatus}

// mfiClient asks the firmware of one controller. It gives at most size bytes.
type mfiClient interface {
	ask(op mfiOpcode, mailbox uint16, size int) ([]byte, error)
}

// mfiStatusError is a command that the firmware did not carry out (enum MFI_STAT).
type mfiStatusError struct {
	op     mfiOpcode
	status uint8
}

func (e *mfiStatusError) Error() string {
	return fmt.Sprintf("ask RAID firmware 0x%08x: status 0x%02x", uint32(e.op), e.status)
}

// Statuses that say that there is no such thing.
const (
	mfiInvalidCommand = 0x02 // MFI_STAT_INVALID_DCMD
	mfiNoHardware     = 0x22 // MFI_STAT_NO_HW_PRESENT
)

// The driver's request: struct megasas_iocpacket of megaraid_sas.h. Its frame is a
// megasas_dcmd_frame, its scatter list one buffer of ours.
const (
	mfiIoctl       = 0xc1944d01 // MEGASAS_IOC_FIRMWARE: _IOWR('M', 1, struct megasas_iocpacket)
	mfiPacketBytes = 404
	mfiFrameAt     = 20
	mfiListAt      = 148
	mfiStatusAt    = mfiFrameAt + 2
	mfiDCMD        = 0x05 // MFI_CMD_DCMD
	mfiRead        = 0x10 // MFI_FRAME_DIR_READ
	mfiSGLOffset   = 0x28 // of the scatter list in the frame
)

// mfiPacket fills in a request, all but the address of the buffer. It refuses what
// does not only read.
func mfiPacket(host uint16, op mfiOpcode, mailbox uint16, size int) ([mfiPacketBytes]byte, error) {
	var p [mfiPacketBytes]byte
	if !slices.Contains(mfiReads, op) {
		return p, fmt.Errorf("ask RAID firmware 0x%08x: not a command that only reads", uint32(op))
	}
	le := binary.LittleEndian
	le.PutUint16(p[0:], host)
	le.PutUint32(p[4:], mfiSGLOffset)
	le.PutUint32(p[8:], 1) // one buffer
	frame := p[mfiFrameAt:]
	frame[0] = mfiDCMD
	frame[2] = 0xff // MFI_CMD_STATUS_POLL_MODE: overwritten by an answer
	frame[7] = 1
	le.PutUint16(frame[0x10:], mfiRead)
	le.PutUint32(frame[0x14:], uint32(size))
	le.PutUint32(frame[0x18:], uint32(op))
	le.PutUint16(frame[0x1c:], mailbox)
	le.PutUint64(p[mfiListAt+8:], uint64(size))
	return p, nil
}

// mfiDevice is the driver's character device, and host the number of the SCSI host
// that it is asked of.
type mfiDevice struct {
	fd   int
	host uint16
}

// ask sends one command. It may not return for minutes, or ever, where the
// controller is sick: the driver waits for a reset of it, and cannot be interrupted.
func (m *mfiDevice) ask(op mfiOpcode, mailbox uint16, size int) ([]byte, error) {
	p, err := mfiPacket(m.host, op, mailbox, size)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	var pin runtime.Pinner // the packet holds the buffer's address as a number
	defer pin.Unpin()
	pin.Pin(&data[0])
	binary.LittleEndian.PutUint64(p[mfiListAt:], uint64(uintptr(unsafe.Pointer(&data[0]))))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m.fd), mfiIoctl, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return nil, fmt.Errorf("ask RAID firmware 0x%08x: %w", uint32(op), errno)
	}
	if p[mfiStatusAt] != 0 {
		return nil, &mfiStatusError{op, p[mfiStatusAt]}
	}
	return data, nil
}

// errNoMFI says that the driver offers no such device.
var errNoMFI = errors.New("driver megaraid_sas offers no ioctl device")

// mfiMajor is the major number of the driver's character device.
func mfiMajor(ctx context.Context, h source.Host) (uint32, error) {
	b, err := h.Root.Bytes(ctx, 64<<10, "/proc/devices")
	if err != nil {
		return 0, err
	}
	return parseMajor(string(b), "megaraid_sas_ioctl")
}

// parseMajor finds a character device's number in /proc/devices.
func parseMajor(text, name string) (uint32, error) {
	text, _, _ = strings.Cut(text, "Block devices:")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 2 || f[1] != name {
			continue
		}
		n, err := strconv.ParseUint(f[0], 10, 12) // MINORBITS is 20: 12 are left
		if err != nil {
			return 0, fmt.Errorf("read /proc/devices: %q is no number", f[0])
		}
		return uint32(n), nil
	}
	return 0, errNoMFI
}

// openPrivately opens a character device that may have no node in /dev. The driver
// makes none: vendors' tools do, with mknod. Here the node is made in a tmpfs that is
// mounted nowhere (fsmount(2), Linux 5.2): no path leads to it, and it ends with the
// descriptor, however this process ends.
func openPrivately(major, minor uint32) (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open private tmpfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", "64k"); err != nil {
		return -1, fmt.Errorf("set up private tmpfs: %w", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("make private tmpfs: %w", err)
	}
	dir, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return -1, fmt.Errorf("make private tmpfs: %w", err)
	}
	defer unix.Close(dir)
	const node = "node"
	if err := unix.Mknodat(dir, node, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return -1, fmt.Errorf("make device %d:%d in private tmpfs: %w", major, minor, err)
	}
	fd, err := unix.Openat(dir, node, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open device %d:%d: %w", major, minor, err)
	}
	return fd, nil
}
