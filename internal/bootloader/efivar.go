package bootloader

import (
	"context"
	"encoding/binary"
	"errors"
	"unicode/utf16"

	"lastgood/internal/sysfs"
)

// loaderVendor is the vendor id of systemd-boot's EFI variables
// (systemd's "Boot Loader Interface").
const loaderVendor = "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

const efivars = "/sys/firmware/efi/efivars/"

// loaderVars are the variables that are read. LoaderInfo says which loader started this boot.
var loaderVars = []string{"LoaderInfo", "LoaderEntryOneShot", "LoaderEntryDefault", "LoaderEntryLastBooted", "LoaderEntrySelected"}

// readLoaderVars reads the loader's variables; those that are not set are not in the map.
func readLoaderVars(ctx context.Context, root *sysfs.Root) (map[string]string, []error) {
	out := map[string]string{}
	var errs []error
	for _, name := range loaderVars {
		b, err := root.Bytes(ctx, sysfs.PageSize, efivars+name+loaderVendor)
		if sysfs.Absent(err) {
			continue
		}
		if err == nil {
			out[name], err = parseEFIText(b)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return out, errs
}

// parseEFIText reads an efivarfs file that holds a text: four bytes of attributes
// (Documentation/filesystems/efivarfs.rst), then UTF-16 in little-endian order up to a zero.
func parseEFIText(b []byte) (string, error) {
	if len(b) < 4 || len(b)%2 != 0 {
		return "", errors.New("an EFI variable that is no text")
	}
	var units []uint16
	for b = b[4:]; len(b) > 0; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units)), nil
}
