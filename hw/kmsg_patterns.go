package hw

import (
	"strings"

	"lastgood/internal/snapshot"
)

// pattern is one thing that the kernel says. A shape is its text from the first
// character on, in which * stands for anything; what follows the last fragment is
// not looked at. Texts change between kernels: each shape was held against the
// format strings of those in testdata/kmsg/samples.tsv.
type pattern struct {
	code     string // kebab-case, for ever
	severity snapshot.Severity
	means    string // what it means, in words
	shapes   []string
}

const (
	crit = snapshot.Critical
	warn = snapshot.Warning
	info = snapshot.Info
)

// patterns are looked through in order; the first that fits has the record. What
// fits none is only counted.
var patterns = []pattern{
	// drivers/usb/host/xhci*.c
	{"xhci-died", crit, "the USB controller stopped answering and was given up", []string{
		"xhci*: HC died; cleaning up", "xhci*: xHCI host controller not responding, assume dead",
		"xhci*: xHCI host not responding to stop endpoint command", "xhci*: Host halt failed, -"}},
	{"xhci-command-stuck", crit, "the USB controller does not stop its command ring", []string{
		"xhci*: Abort failed to stop command ring: "}},
	{"xhci-resume-failed", warn, "the USB controller lost its state in sleep", []string{
		"xhci*: WARN: xHC restore state timeout", "xhci*: xHC error in resume, USBSTS "}},
	{"xhci-gone", crit, "the USB controller is not to be reached", []string{
		"xhci*: Host controller not accessible, removed?", "xhci*: HC probably busted"}},
	{"xhci-full", warn, "the USB controller has no room for one more device", []string{
		"xhci*: Not enough host controller resources for new device state."}},

	// drivers/usb/core/hub.c
	{"usb-disconnect", info, "a USB device went away", []string{"usb *: USB disconnect, device number "}},
	{"usb-over-current", warn, "a USB port was switched off for too much current", []string{
		"usb *: over-current condition", "hub *: over-current condition"}},
	{"usb-enumeration-failed", warn, "a USB device is attached and cannot be set up", []string{
		"usb *: unable to enumerate USB device", "usb *: device descriptor read/*, error ", "usb *: device not accepting address *, error ",
		"usb *: Device not responding to setup address.", "usb *: attempt power cycle"}},
	{"usb-bad-cable", warn, "a USB port cannot be enabled; the cable may be bad", []string{
		"usb *: Cannot enable. Maybe the USB cable is bad?"}},
	{"usb-not-top-speed", info, "a USB device could be faster on another port", []string{
		"usb *: not running at top speed; connect to a high speed hub"}},
	{"usb-reset", warn, "a USB device was reset", []string{"usb *: reset * USB device number "}},

	// drivers/usb/storage/uas*.[ch]; "blacklisted" until Linux 5.8
	{"uas-ignored", warn, "UAS is forbidden for a disk by a quirk, which makes it slower or keeps it away", []string{
		"usb *: UAS is ignored for this device, using usb-storage instead", "usb *: UAS is blacklisted for this device, using usb-storage instead"}},
	{"uas-unusable", warn, "the USB controller cannot do what UAS needs", []string{
		"usb *: USB controller * does not support streams, which are required by the UAS driver.",
		"usb *: The driver for the USB controller * does not support scatter-gather which is"}},
	{"uas-abort", warn, "commands to a UAS disk were aborted", []string{
		"sd *uas_eh_abort_handler ", "scsi *uas_eh_abort_handler ", "sd *: uas_zap_pending ", "sd *uas_zap_pending "}},
	{"uas-reset-failed", crit, "a UAS disk could not be reset", []string{
		"scsi host*: uas_eh_device_reset_handler FAILED "}},
	{"uas-reset", warn, "a UAS disk was reset", []string{"scsi host*: uas_eh_device_reset_handler "}},
	{"uas-stream-failed", warn, "transfers of a UAS disk fail", []string{
		"usb *: cmd cmplt err ", "usb *: stat urb: status ", "scsi host*: alloc streams error * after reset"}},

	// drivers/nvme/host; the text of a timeout changed in Linux 6.4 and 6.8
	{"nvme-timeout", crit, "an NVMe drive did not answer in time", []string{
		"nvme nvme*: I/O *QID * timeout"}},
	{"nvme-down", crit, "an NVMe controller failed and was reset", []string{
		"nvme nvme*: controller is down; will reset: CSTS="}},
	{"nvme-lost", crit, "an NVMe drive was given up", []string{
		"nvme nvme*: Removing after probe failure status: ", "nvme nvme*: Disabling device after reset failure: ",
		"nvme nvme*: Device not ready; aborting ", "nvme nvme*: Identify Controller failed (", "nvme nvme*: IO queues lost"}},
	{"nvme-duplicate-ids", crit, "an NVMe namespace is left out, for another bears its identifier", []string{
		"nvme nvme*: globally duplicate IDs for nsid ", "nvme nvme*: duplicate IDs in subsystem for nsid ", "nvme nvme*: duplicate IDs for nsid ",
		"nvme nvme*: ignoring nsid * because of duplicate IDs"}},
	{"nvme-ids-cleared", warn, "an NVMe drive bears another's identifiers: its names under /dev/disk/by-id are another's or none", []string{
		"nvme nvme*: clearing duplicate IDs for nsid "}},
	{"nvme-identifiers-changed", crit, "an NVMe namespace is another one than before", []string{
		"nvme nvme*: identifiers changed for nsid "}},
	{"nvme-bogus-ids", info, "an NVMe drive's identifiers are not trusted: its WWID is another", []string{
		"nvme nvme*: Ignoring bogus Namespace Identifiers"}},
	{"nvme-abort", warn, "a command to an NVMe drive was aborted", []string{"nvme nvme*: Abort status: "}},

	// drivers/scsi/megaraid
	{"megaraid-killed", crit, "a MegaRAID controller was given up", []string{
		"megaraid_sas *: OCR failed and HBA is killed.", "megaraid_sas *: Adapter already dead, skipping kill HBA",
		"megaraid_sas *: Reset failed, killing adapter scsi", "megaraid_sas *: adapter not ready", "megaraid_sas *: failed to do reset",
		"megaraid_sas *: cannot recover from previous reset failures", "megaraid_sas *: Failed to init firmware",
		"megaraid_sas *: Failed to transition controller to ready"}},
	{"megaraid-fault", crit, "a MegaRAID controller's firmware failed", []string{
		"megaraid_sas *: FW in FAULT state", "megaraid_sas *: FW detected to be in faultstate, restarting it"}},
	{"megaraid-reset", warn, "a MegaRAID controller does not answer and is reset", []string{
		"megaraid_sas *: OCR is requested due to IO timeout", "megaraid_sas *: resetting fusion adapter scsi", "megaraid_sas *: megasas: RESET cmd=",
		"megaraid_sas *: RESETGEN2: retry=", "megaraid_sas *waiting for * commands to complete", "sd *megasas: RESET cmd="}},
	// drivers/scsi/mpt3sas, mpi3mr: "mpt3sas_cm0: …", "mpi3mr0: …"
	{"mpt3sas-fault", crit, "an LSI SAS controller failed", []string{
		"mpt*sas_cm*: SAS host is non-operational !!!!", "mpt*sas_cm*fault info from func: ", "mpt*sas_cm*: fault_state(", "mpt*sas_cm*diag reset: FAILED",
		"mpt*sas_cm*: failed going to ready state"}},
	{"mpi3mr-fault", crit, "a Broadcom SAS controller failed", []string{
		"mpi3mr*: controller is unrecoverable", "mpi3mr*Unrecoverable controller", "mpi3mr*reset failed due to unlock failure"}},

	// drivers/scsi: scsi_error.c, sd.c; block/blk-core.c
	{"scsi-offlined", crit, "a SCSI disk was given up", []string{
		"sd *: Device offlined - not ready after error recovery", "scsi *: Device offlined - not ready after error recovery",
		"sd *: rejecting I/O to offline device", "sd *Medium access timeout failure. Offlining disk!", "scsi *: rejecting I/O to offline device"}},
	{"medium-error", crit, "sectors of a disk cannot be read or written", []string{
		"critical medium error, dev ", "blk_update_request: critical medium error, dev "}},
	{"target-error", warn, "a disk refuses commands", []string{"critical target error, dev ", "blk_update_request: critical target error, dev "}},
	{"io-error", crit, "reading or writing a disk failed", []string{
		"I/O error, dev ", "blk_update_request: I/O error, dev ", "Buffer I/O error on dev "}},
	{"cache-flush-failed", info, "the cache of a disk could not be written out as it went away", []string{"sd *: *Synchronize Cache(*) failed: Result: "}},
	{"scsi-luns-changed", warn, "the units of a SCSI target changed", []string{"sd *: Warning! Received an indication that the LUN assignments on this target have changed"}},

	// drivers/ata/libata-*.c
	{"ata-failed-command", warn, "a command to a SATA disk failed", []string{"ata*: failed command: "}},
	{"ata-slower", warn, "a SATA link was made slower after errors", []string{"ata*: limiting SATA link speed to ", "ata*: limiting speed to "}},
	{"ata-disabled", crit, "a SATA disk was given up", []string{"ata*: disable device", "ata*: disabled"}},
	{"ata-link-down", info, "a SATA port has no link", []string{"ata*: SATA link down (SStatus ", "ata*: link is slow to respond, please be patient"}},

	// file systems and md
	{"ext4-error", crit, "an ext4 file system is damaged", []string{"EXT4-fs error (device "}},
	{"xfs-error", crit, "an XFS file system failed", []string{
		"XFS (*): Corruption ", "XFS (*): Metadata corruption detected", "XFS (*): Metadata I/O Error", "XFS (*): metadata I/O error", "XFS (*): Filesystem has been shut down",
		"XFS (*): Log I/O Error", "XFS (*): Shutting down filesystem", "XFS (*): xfs_do_force_shutdown"}},
	{"btrfs-error", crit, "a btrfs file system failed", []string{"BTRFS error (device ", "BTRFS critical (device ", "BTRFS: error (device "}},
	{"remounted-read-only", crit, "a file system is read-only after an error", []string{"EXT4-fs (*): Remounting filesystem read-only", "BTRFS info (device *): forced readonly"}},
	{"md-degraded", crit, "a software RAID lost a member", []string{
		"md/raid*: Disk failure on ", "md/raid*: Operation continuing on ", "md/raid*: not enough operational ", "md: kicking non-fresh "}},

	// drivers/edac, arch/x86/kernel/cpu/mce, drivers/acpi/apei, drivers/pci/pcie/aer.c
	{"memory-uncorrected", crit, "memory failed in a way that could not be corrected", []string{"EDAC MC*: * UE "}},
	{"memory-corrected", warn, "errors of memory were corrected", []string{"EDAC MC*: * CE "}},
	{"hardware-error-uncorrected", crit, "the processor or the firmware reported a hardware error that was not corrected", []string{
		"mce: [Hardware Error]: CPU *: Machine Check Exception: ", "{*}[Hardware Error]: event severity: fatal", "{*}[Hardware Error]: event severity: recoverable"}},
	{"hardware-error", warn, "the processor or the firmware reported a hardware error", []string{
		"mce: [Hardware Error]: Machine check events logged", "{*}[Hardware Error]: event severity: corrected"}},
	{"aer-nonfatal", warn, "a PCIe transfer was lost, and the link held", []string{
		"*: PCIe Bus Error: severity=Uncorrect* (Non-Fatal)", "pcieport *: AER: Uncorrect* (Non-Fatal)", "pcieport *: AER: Multiple Uncorrect* (Non-Fatal)"}},
	{"aer-uncorrected", crit, "PCIe transfers failed", []string{
		"*: PCIe Bus Error: severity=Uncorrect", "pcieport *: AER: Uncorrect", "pcieport *: AER: Multiple Uncorrect"}},
	{"aer-corrected", info, "errors of PCIe transfers were corrected", []string{
		"*: PCIe Bus Error: severity=Correct", "pcieport *: AER: Correct", "pcieport *: AER: Multiple Correct", "pcieport *: AER: Corrected", "pcieport *: AER: Multiple Corrected"}},
	{"pci-power-stuck", crit, "a PCI function does not wake up", []string{
		"*: Unable to change power state from * to D0, device inaccessible", "*: can't change power state from * to D0 (config space inaccessible)"}},
	{"pci-bandwidth-limited", info, "a PCI card could do more than its slot", []string{"*Gb/s available PCIe bandwidth, limited by "}},

	// drivers/thermal, arch/x86/…/therm_throt.c: the text changed in Linux 5.7
	{"thermal-critical", crit, "a critical temperature was reached", []string{
		"thermal thermal_zone*: critical temperature reached", "thermal thermal_zone*: *: critical temperature reached", "reboot: HARDWARE PROTECTION * (Temperature too high)"}},
	{"cpu-throttled", warn, "a processor was slowed down by heat", []string{
		"CPU*: * temperature is above threshold, cpu clock is throttled", "mce: CPU*: * temperature above threshold, cpu clock throttled", "CPU*: * temperature above threshold, cpu clock throttled"}},

	// drivers/char/ipmi/ipmi_si_intf.c
	{"bmc-not-found", warn, "the firmware tells of a BMC that does not answer", []string{
		"ipmi_si *: Interface detection failed", "ipmi_si *: There appears to be no BMC at this location"}},
	{"bmc-retry", warn, "the BMC answers with errors", []string{"ipmi_si *: BMC returned 0x*, retry get bmc device id", "ipmi_si *: KCS in invalid state "}},

	// drivers/base/firmware_loader
	{"firmware-missing", warn, "a driver did not get its firmware", []string{"*: Direct firmware load for * failed with error -"}},

	// the kernel itself
	{"hung-task", crit, "a task has been waiting for minutes", []string{"INFO: task * blocked *for more than * seconds."}},
	{"rcu-stall", crit, "a processor did not come to rest for long", []string{"rcu: INFO: rcu_* detected ", "rcu: INFO: rcu_* self-detected stall"}},
	{"soft-lockup", crit, "a processor was stuck in the kernel", []string{"watchdog: BUG: soft lockup - CPU#", "NMI watchdog: Watchdog detected hard LOCKUP on cpu ", "watchdog: Watchdog detected hard LOCKUP on cpu ", "watchdog: CPU*: Watchdog detected hard LOCKUP on cpu "}},

	// net/sched/sch_generic.c and drivers of network adapters
	{"nic-tx-timeout", crit, "a network adapter stopped sending", []string{
		"NETDEV WATCHDOG: * transmit queue * timed out", "*: NETDEV WATCHDOG: CPU: *: transmit queue * timed out", "*: Detected Hardware Unit Hang", "*: tx timeout", "*: TX timeout"}},
	{"nic-link-down", info, "a network link went down", []string{"*: NIC Link is Down", "*: Link is Down", "*: Link is down"}},
}

// patternOf finds the pattern that a text fits, or nil.
func patternOf(text string) *pattern {
	for i := range patterns {
		for _, shape := range patterns[i].shapes {
			if fits(shape, text) {
				return &patterns[i]
			}
		}
	}
	return nil
}

// fits reports whether text begins with shape. Fragments between stars are looked
// for at the first place each, which is enough where nothing is anchored at the end.
func fits(shape, text string) bool {
	head, rest, more := strings.Cut(shape, "*")
	text, ok := strings.CutPrefix(text, head)
	for ok && more {
		head, rest, more = strings.Cut(rest, "*")
		i := strings.Index(text, head)
		if ok = i >= 0; ok {
			text = text[i+len(head):]
		}
	}
	return ok
}
