package bootloader

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// TestSelected: what the loader says that it started is an entry of the list, whatever letters and
// boot counter it is called with.
func TestSelected(t *testing.T) {
	for said, want := range map[string]string{
		"arch-6.9.1.conf": "Arch-6.9.1.conf", "arch-6.9.1+3.conf": "Arch-6.9.1.conf", "arch-6.9.1+2-1.conf": "Arch-6.9.1.conf",
		"Arch-6.9.1.conf": "Arch-6.9.1.conf", "auto-efi-shell": "auto-efi-shell", "": "",
	} {
		files := map[string]string{"/efi/loader/entries/Arch-6.9.1+1-2.conf": "version 6.9.1\nlinux /vmlinuz-6.9.1\n", "/efi/loader/loader.conf": "",
			efivars + "LoaderInfo" + loaderVendor: efiText("systemd-boot 252"), efivars + "LoaderEntrySelected" + loaderVendor: efiText(said)}
		if st, errs := Read(t.Context(), sysfs.New(&sysfstest.FS{Files: files})); st.Selected != want || len(errs) > 0 {
			t.Errorf("%q is %q, want %q; %v", said, st.Selected, want, errs)
		}
	}
}

// TestSetCounted: an entry with a boot counter is still the default when the loader has counted
// down, and when the counter was taken away; one that another entry's name hides is not set.
func TestSetCounted(t *testing.T) {
	for _, host := range []string{"systemd-boot counts", "systemd-boot counts before 258"} {
		files := hostNamed(t, host)
		files["/boot/loader/entries/arch-6.10.20.conf"] = strings.ReplaceAll(files["/boot/loader/entries/arch-6.9.1.conf"], "6.9.1", "6.10.20")
		w, dir := onDisk(t, files)
		if err := w.SetDefault(t.Context(), "6.10.2"); err != nil {
			t.Fatal(err)
		}
		entries := filepath.Join(dir, "boot/loader/entries")
		was := "arch-6.10.2+2-1.conf"
		for _, is := range []string{"arch-6.10.2+1-2.conf", "arch-6.10.2.conf"} {
			if err := os.Rename(filepath.Join(entries, was), filepath.Join(entries, is)); err != nil {
				t.Fatal(err)
			}
			if have := nextRelease(t, w); have != "6.10.2" {
				t.Errorf("%s: %s boots next when the entry is %s", host, have, is)
			}
			was = is
		}
		files["/boot/loader/entries/arch-6.10.2.20.conf"] = strings.ReplaceAll(files["/boot/loader/entries/arch-6.9.1.conf"], "6.9.1", "6.10.20")
		w, _ = onDisk(t, files)
		if err := w.SetDefault(t.Context(), "6.10.2"); err == nil || !strings.Contains(err.Error(), "another entry") {
			t.Errorf("%s: error %v", host, err)
		}
	}
}

// FuzzLoaderName: what is written names its entry to each version of the loader, with the counter
// that it has, one less, and without.
func FuzzLoaderName(f *testing.F) {
	f.Add("arch-6.10.2+3")
	f.Add("5b0e-6.12.117+deb12-cloud-amd64+2-1")
	f.Add("a+1+0")
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || strings.ContainsAny(name, "*?[]\\/\x00") || strings.ToValidUTF8(name, "") != name {
			return // no name of a file on such a partition, but for the brackets
		}
		bare := tries.ReplaceAllString(name, "")
		e := Entry{ID: bare + ".conf", Source: "/efi/loader/entries/" + name + ".conf"}
		files := []string{name}
		if name != bare {
			files = append(files, bare+"+0-9", bare)
		}
		for _, n := range files {
			is := Entry{ID: e.ID, Source: "/efi/loader/entries/" + n + ".conf"}
			for _, v := range []sdVersion{0, 252, 258} {
				if !v.matches(loaderName(&e), &is) {
					t.Errorf("%d does not find %q by %q", v, n, loaderName(&e))
				}
			}
		}
	})
}
