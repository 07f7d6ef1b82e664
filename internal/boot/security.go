package boot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lastgood/internal/sysfs"
)

// lockdown is the kernel's lockdown level. It is absent where the lockdown module
// is not built in or securityfs is not mounted.
func lockdown(ctx context.Context, root *sysfs.Root) (string, error) {
	const name = "/sys/kernel/security/lockdown"
	s, err := root.Attr(ctx, name)
	if err != nil {
		return "", err
	}
	level, err := parseLockdown(s)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return level, nil
}

// parseLockdown finds the level in brackets: "none [integrity] confidentiality".
func parseLockdown(s string) (string, error) {
	for word := range strings.FieldsSeq(s) {
		inner, ok := strings.CutPrefix(word, "[")
		if inner, end := strings.CutSuffix(inner, "]"); ok && end && inner != "" {
			return inner, nil
		}
	}
	return "", errors.New("no level in brackets")
}

// lsm lists the active security modules, in the order in which they are asked.
func lsm(ctx context.Context, root *sysfs.Root) ([]string, error) {
	s, err := root.Attr(ctx, "/sys/kernel/security/lsm")
	if err != nil || s == "" {
		return nil, err
	}
	return strings.Split(s, ","), nil
}

// secureBootVar is the UEFI variable SecureBoot of EFI_GLOBAL_VARIABLE.
const secureBootVar = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// secureBoot says whether the firmware enforces Secure Boot. It is absent on
// machines that did not boot by UEFI.
func secureBoot(ctx context.Context, root *sysfs.Root) (*bool, error) {
	b, err := root.Bytes(ctx, sysfs.PageSize, secureBootVar)
	if err != nil {
		return nil, err
	}
	on, err := parseSecureBoot(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", secureBootVar, err)
	}
	return &on, nil
}

// parseSecureBoot reads an efivarfs file: four bytes of attributes, then the
// variable, here one byte of 0 or 1 (UEFI 2.10, 3.3).
func parseSecureBoot(b []byte) (bool, error) {
	if len(b) != 5 || b[4] > 1 {
		return false, fmt.Errorf("%d bytes that are no Secure Boot state", len(b))
	}
	return b[4] == 1, nil
}
