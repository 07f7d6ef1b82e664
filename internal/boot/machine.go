package boot

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"lastgood/internal/sysfs"
)

// bootID is the random id of this boot.
func bootID(ctx context.Context, root *sysfs.Root) (string, error) {
	return root.Attr(ctx, "/proc/sys/kernel/random/boot_id")
}

// machineID is the id that the system was given when it was installed. It is
// absent in an image that has not had its first boot.
func machineID(ctx context.Context, root *sysfs.Root) (string, error) {
	return firstOf([]string{"/etc/machine-id", "/var/lib/dbus/machine-id"}, func(name string) (string, error) {
		s, err := root.Attr(ctx, name)
		if err != nil || s == "" || s == "uninitialized" { // machine-id(5)
			return "", err
		}
		if b, err := hex.DecodeString(s); err != nil || len(b) != 16 {
			return "", fmt.Errorf("read %s: no machine id", name)
		}
		return s, nil
	})
}

const dmiDir = "/sys/class/dmi/id/"

// product is the maker and the model of the machine, from SMBIOS, or from the
// device tree where there is no SMBIOS.
func product(ctx context.Context, root *sysfs.Root) (string, error) {
	var parts []string
	for _, field := range []string{"sys_vendor", "product_name"} {
		s, err := root.Attr(ctx, dmiDir+field)
		if err != nil && !sysfs.Absent(err) {
			return "", err
		}
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return root.Attr(ctx, "/sys/firmware/devicetree/base/model")
	}
	return strings.Join(parts, " "), nil
}

// productUUID is the machine's own id, in lower case. All zeros and all ones mean
// that the maker set none (SMBIOS 7.2.1), so it is absent then.
func productUUID(ctx context.Context, root *sysfs.Root) (string, error) {
	s, err := root.Attr(ctx, dmiDir+"product_uuid")
	s = strings.ToLower(s)
	if strings.Trim(s, "0-") == "" || strings.Trim(s, "f-") == "" {
		return "", err
	}
	return s, err
}

// boardSerial is the serial number of the board, as its maker gave it or not.
func boardSerial(ctx context.Context, root *sysfs.Root) (string, error) {
	return root.Attr(ctx, dmiDir+"board_serial")
}
