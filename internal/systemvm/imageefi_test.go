package systemvm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The disk of a machine with EFI: the system partition with systemd-boot and the kernels in it, and the root.
const (
	espMiB    = 160
	espStart  = startLBA
	rootStart = espStart + espMiB<<11
	efiMiB    = sizeMiB + espMiB + 1 // the copy of the table of partitions is at the end
	espSerial = "5B0E0001"
	espUUID   = "5B0E-0001"
	// hostID is fixed, for kernel-install has it in the names of entries.
	hostID = "5b0ea1d017f94c6b8a7c6b5e2f3f3c12"
	// efiCmdline is what testdata/root/etc/default/grub gives the kernels of the other disk.
	efiCmdline = "root=UUID=" + rootUUID + " ro console=ttyS0,115200 loglevel=5 panic=3 no_timer_check tsc=reliable nowatchdog random.trust_cpu=on mitigations=off cryptomgr.notests=1 nokaslr apparmor=0 selinux=0 audit=0 fsck.mode=skip systemd.show_status=0"
)

// bootID is how kernel-install names a kernel's entry.
func bootID(release string) string { return hostID + "-" + release + ".conf" }

// toSystemdBoot puts systemd-boot in the place of GRUB, as bootctl install does, which wants a
// system partition that is mounted; nothing is here. The entries are kernel-install's, with a
// counter of boots in the name of the newer kernel's, and paths as where it is mounted.
func toSystemdBoot(root, older, newer string) error {
	files := map[string]string{
		"etc/machine-id": hostID + "\n", "etc/kernel/cmdline": efiCmdline + "\n",
		"etc/fstab": "UUID=" + rootUUID + " / ext4 errors=remount-ro 0 1\nUUID=" + espUUID + " /boot/efi vfat umask=0077 0 0\n",
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "etc/kernel"), 0o755), os.MkdirAll(filepath.Join(root, "boot/efi"), 0o755)); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	script := `set -e
export DEBIAN_FRONTEND=noninteractive BOOT_ROOT=/boot/efi TMPDIR=/tmp
dpkg --purge grub-pc grub-pc-bin grub2-common grub-common
rm -rf /boot/grub
cd /boot/efi
mkdir -p EFI/BOOT EFI/systemd loader/entries ` + hostID + `
cp /usr/lib/systemd/boot/efi/systemd-bootx64.efi EFI/systemd/
cp /usr/lib/systemd/boot/efi/systemd-bootx64.efi EFI/BOOT/BOOTX64.EFI
kernel-install add ` + older + ` /boot/vmlinuz-` + older + ` /boot/initrd.img-` + older + `
echo 3 > /etc/kernel/tries
kernel-install add ` + newer + ` /boot/vmlinuz-` + newer + ` /boot/initrd.img-` + newer + `
sed -i 's,/boot/efi/,/,' loader/entries/*.conf
printf 'timeout 0\ndefault ` + bootID(older) + `\n' > loader/loader.conf`
	_, err := command("", "chroot", root, "bash", "-c", script)
	return err
}

// formatEFI writes the disk; the folder's boot/efi goes into a partition of its own.
func formatEFI(root, raw string) error {
	esp := filepath.Join(filepath.Dir(raw), "esp")
	if err := errors.Join(os.Rename(filepath.Join(root, "boot/efi"), esp), os.Mkdir(filepath.Join(root, "boot/efi"), 0o700)); err != nil {
		return err
	}
	table := fmt.Sprintf("label: gpt\nstart=%d, size=%d, type=uefi\nstart=%d, size=%d, type=linux\n", espStart, espMiB<<11, rootStart, (sizeMiB-1)<<11)
	if err := divide(raw, efiMiB, table); err != nil {
		return err
	}
	if err := fill(root, raw, rootStart, (sizeMiB-1)<<20); err != nil {
		return err
	}
	if _, err := command("", "mkfs.vfat", "-F", "32", "-s", "4", "-i", espSerial, "--offset", fmt.Sprint(espStart), raw, fmt.Sprint(espMiB<<10)); err != nil {
		return err
	}
	top, err := filepath.Glob(filepath.Join(esp, "*"))
	if err != nil || len(top) == 0 {
		return fmt.Errorf("nothing in the system partition: %w", errors.Join(err))
	}
	args := append([]string{"-s", "-Q", "-i", fmt.Sprintf("%s@@%d", raw, espStart*512)}, top...)
	_, err = command("", "mcopy", append(args, "::/")...)
	return err
}

// variables is the file with the EFI variables of the machine on a disk.
func variables(disk string) string { return disk + ".vars" }

// newFirmware are QEMU's options of a machine with EFI where no variable was ever set.
func newFirmware(vars string) ([]string, error) {
	code, empty, err := ovmf()
	if err != nil {
		return nil, err
	}
	// A machine is saved with all that it writes to, which the format must be able to.
	if _, err := command("", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", empty, vars); err != nil {
		return nil, err
	}
	return firmware(code, vars), nil
}

func firmware(code, vars string) []string {
	return []string{"-drive", "if=pflash,format=raw,readonly=on,file=" + code, "-drive", "if=pflash,format=qcow2,cache=unsafe,file=" + vars}
}

// ovmf is EFI for virtual machines: its code, and variables as they are where nothing was set.
func ovmf() (code, vars string, err error) {
	for _, size := range []string{"_4M", ""} { // newer packages have the larger one alone
		code, vars = "/usr/share/OVMF/OVMF_CODE"+size+".fd", "/usr/share/OVMF/OVMF_VARS"+size+".fd"
		if exists(code) && exists(vars) {
			return code, vars, nil
		}
	}
	return "", "", errors.New("no OVMF firmware in /usr/share/OVMF (package ovmf)")
}
