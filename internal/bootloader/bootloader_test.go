package bootloader

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// debianConfig is what grub-mkconfig of Debian 12 makes, shortened; DEFAULT is replaced.
const debianConfig = `if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="DEFAULT"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
  fi
}
if [ x$feature_timeout_style = xy ] ; then set timeout=5 ; fi
menuentry 'Debian GNU/Linux' --class debian --class os --id 'simple' {
	if [ x$grub_platform = xxen ]; then insmod xzio; fi
	search --no-floppy --fs-uuid --set=root 12
	linux	/vmlinuz-6.1.0-31-amd64 root=/dev/mapper/a ro  quiet
	initrd	/initrd.img-6.1.0-31-amd64
}
submenu 'Advanced options' $menuentry_id_option 'advanced' {
	menuentry 'Debian, with Linux 6.1.0-31' --id 'adv-31' {
		linux	/vmlinuz-6.1.0-31-amd64 ro
		initrd	/initrd.img-6.1.0-31-amd64
	}
	menuentry 'Debian, with Linux 6.1.0-30' --id 'adv-30' {
		linux	/vmlinuz-6.1.0-30-amd64 ro
		initrd	/initrd.img-6.1.0-30-amd64
	}
}
if [ "$grub_platform" = "efi" ]; then
	fwsetup --is-supported
	if [ "$?" = 0 ]; then
		menuentry 'UEFI Firmware Settings' --id 'uefi-firmware' { fwsetup }
	fi
fi
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
fi
`

const fedoraConfig = `set pager=1
if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
else
   set default="${saved_entry}"
fi
if [ -n "${boot_counter}" -a "${boot_success}" = "0" ]; then
  if [ "${boot_counter}" = "0" -o "${boot_counter}" = "-1" ]; then
    set default=1
    set boot_counter=-1
  else
    decrement boot_counter
  fi
  save_env boot_counter
fi
insmod blscfg
blscfg
`

func env(lines string) string {
	s := envHead + lines
	return s + strings.Repeat("#", envSize-len(s))
}

func efiText(s string) string {
	b := []byte{7, 0, 0, 0}
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func debian(def string) string { return strings.Replace(debianConfig, "DEFAULT", def, 1) }

func bls(version string) string {
	return "title Fedora (" + version + ")\nversion " + version + "\nlinux /vmlinuz-" + version + "\ninitrd /initramfs-" + version + ".img $tuned_initrd\noptions $kernelopts quiet\n"
}

type bootCase struct {
	name    string
	files   map[string]string
	errs    map[string]error
	loader  string
	next    string // ID, "" for could not tell
	why     string
	missing string
	release string
}

func bootCases() []bootCase {
	grub := func(cfg, lines string) map[string]string {
		return map[string]string{"/boot/grub/grub.cfg": cfg, "/boot/grub/grubenv": env(lines), "/boot/vmlinuz-6.1.0-31-amd64": "x", "/boot/vmlinuz-6.1.0-30-amd64": "x"}
	}
	fedora := func(lines string) map[string]string {
		return map[string]string{"/boot/grub2/grub.cfg": fedoraConfig, "/boot/grub2/grubenv": env(lines),
			"/boot/loader/entries/6a98-6.9.4-200.fc40.x86_64.conf": bls("6.9.4-200.fc40.x86_64"), "/boot/loader/entries/6a98-6.10.1-200.fc40.x86_64.conf": bls("6.10.1-200.fc40.x86_64"),
			"/boot/loader/entries/6a98-0-rescue.conf": "title rescue\nlinux /vmlinuz-0-rescue-6a98\n"}
	}
	sd := func(conf string, vars map[string]string) map[string]string {
		m := map[string]string{"/efi/loader/loader.conf": conf, efivars + "LoaderInfo" + loaderVendor: efiText("systemd-boot 257")}
		for _, v := range []string{"6.9.1", "6.10.2"} {
			m["/boot/loader/entries/arch-"+v+".conf"] = "title Arch\nsort-key arch\nversion " + v + "\nlinux /vmlinuz-" + v + "\n"
		}
		m["/boot/loader/entries/arch-6.11.0+0-3.conf"] = "title Arch\nsort-key arch\nversion 6.11.0\nlinux /vmlinuz-6.11.0\n"
		for k, v := range vars {
			m[efivars+k+loaderVendor] = efiText(v)
		}
		return m
	}
	once := func(loader, id string) map[string]string {
		return sd("", map[string]string{"LoaderInfo": loader, "LoaderEntryDefault": "arch-6.9.1.conf", "LoaderEntryOneShot": id})
	}
	counted := func(loader string) map[string]string {
		m := sd("", map[string]string{"LoaderInfo": loader})
		m["/boot/loader/entries/arch-6.10.2+2-1.conf"] = m["/boot/loader/entries/arch-6.10.2.conf"]
		delete(m, "/boot/loader/entries/arch-6.10.2.conf")
		return m
	}
	return []bootCase{
		{name: "no loader", why: "no boot loader"},
		{name: "debian", files: grub(debian("0"), ""), loader: GRUB, next: "simple", why: "numeric", release: "6.1.0-31-amd64"},
		{name: "debian submenu by number", files: grub(debian("1>1"), ""), loader: GRUB, next: "advanced>adv-30", why: "default", release: "6.1.0-30-amd64"},
		{name: "debian by title", files: grub(debian("Advanced options>Debian, with Linux 6.1.0-30"), ""), loader: GRUB, next: "advanced>adv-30"},
		{name: "debian saved", files: grub(debian("${saved_entry}"), "saved_entry=advanced>adv-30\n"), loader: GRUB, next: "advanced>adv-30", why: "saved"},
		{name: "debian nothing saved", files: grub(debian("${saved_entry}"), ""), loader: GRUB, next: "simple", why: "first entry"},
		{name: "debian one-shot", files: grub(debian("0"), "next_entry=advanced>adv-30\n"), loader: GRUB, next: "advanced>adv-30", why: "one-shot"},
		{name: "debian saved entry gone", files: grub(debian("${saved_entry}"), "saved_entry=advanced>adv-29\n"), loader: GRUB, next: "advanced>adv-31", missing: "advanced>adv-29"},
		{name: "debian number out of range", files: grub(debian("7"), ""), loader: GRUB, next: "simple", missing: "7"},
		{name: "grubenv unreadable", files: grub(debian("0"), ""), errs: map[string]error{"/boot/grub/grubenv": unix.EIO}, loader: GRUB, why: "only GRUB can see"},
		{name: "grub.cfg unreadable", files: grub(debian("0"), ""), errs: map[string]error{"/boot/grub/grub.cfg": unix.EIO}, why: "could not be read"},
		{name: "default by hardware", files: grub("if keystatus --shift; then set default=0; else set default=1; fi\nmenuentry a { linux /vmlinuz-1 }\nmenuentry b { linux /vmlinuz-2 }\n", ""), loader: GRUB, why: "only GRUB can see"},
		{name: "fedora newest", files: fedora(""), loader: GRUB, next: "6a98-6.10.1-200.fc40.x86_64", why: "first entry", release: "6.10.1-200.fc40.x86_64"},
		{name: "fedora saved", files: fedora("saved_entry=6a98-6.9.4-200.fc40.x86_64\n"), loader: GRUB, next: "6a98-6.9.4-200.fc40.x86_64", why: "saved"},
		{name: "fedora counter at its end", files: fedora("boot_counter=0\nboot_success=0\n"), loader: GRUB, next: "6a98-6.9.4-200.fc40.x86_64", why: "numeric"},
		{name: "fedora entries unreadable", files: fedora(""), errs: map[string]error{"/boot/loader/entries/6a98-0-rescue.conf": unix.EIO}, loader: GRUB, why: "not all"},
		{name: "systemd-boot newest", files: sd("timeout 3\n", nil), loader: SystemdBoot, next: "arch-6.10.2.conf", why: "newest", release: "6.10.2"},
		{name: "systemd-boot pattern", files: sd("default arch-6.9*\n", nil), loader: SystemdBoot, next: "arch-6.9.1.conf", why: "loader.conf"},
		{name: "systemd-boot default gone", files: sd("default other\n", nil), loader: SystemdBoot, next: "arch-6.10.2.conf", missing: "other"},
		{name: "systemd-boot variables", files: sd("default arch-6.10.2.conf\n", map[string]string{"LoaderEntryDefault": "arch-6.9.1.conf"}), loader: SystemdBoot, next: "arch-6.9.1.conf", why: "LoaderEntryDefault"},
		{name: "systemd-boot one-shot", files: once("systemd-boot 258~rc1-1", "Arch-6.11.0.conf"), loader: SystemdBoot, next: "arch-6.11.0.conf", why: "one-shot"},
		{name: "systemd-boot one-shot before 258", files: once("systemd-boot 257.9-1", "arch-6.11.0+0-3.conf"), loader: SystemdBoot, next: "arch-6.11.0.conf", why: "one-shot"},
		{name: "systemd-boot one-shot without its counter", files: once("systemd-boot 252.39-1~deb12u2", "arch-6.11.0.conf"), loader: SystemdBoot, next: "arch-6.9.1.conf", missing: "arch-6.11.0.conf", why: "LoaderEntryDefault"},
		{name: "systemd-boot of no version", files: once("systemd-boot", "arch-6.11.0.conf"), loader: SystemdBoot, next: "arch-6.11.0.conf", why: "one-shot"},
		{name: "systemd-boot counts", files: counted("systemd-boot 258"), loader: SystemdBoot, next: "arch-6.10.2.conf", why: "newest"},
		{name: "systemd-boot counts before 258", files: counted("systemd-boot 252"), loader: SystemdBoot, next: "arch-6.10.2.conf", why: "newest"},
		{name: "systemd-boot variable unreadable", files: sd("", nil), errs: map[string]error{efivars + "LoaderEntryOneShot" + loaderVendor: unix.EIO}, loader: SystemdBoot, why: "not all"},
		{name: "systemd-boot not mounted", files: map[string]string{efivars + "LoaderInfo" + loaderVendor: efiText("systemd-boot 257")}, loader: SystemdBoot, why: "mounted?"},
	}
}

func TestRead(t *testing.T) {
	for _, c := range bootCases() {
		t.Run(c.name, func(t *testing.T) {
			st, errs := Read(t.Context(), sysfs.New(&sysfstest.FS{Files: c.files, Errs: c.errs}))
			if (len(errs) > 0) != (len(c.errs) > 0) {
				t.Errorf("errors %v", errs)
			}
			next, release := "", ""
			if e := st.NextEntry(); e != nil {
				next, release = e.ID, e.Release
			}
			if st.Loader != c.loader || next != c.next || st.Missing != c.missing || !strings.Contains(st.Why, c.why) || st.Why == "" {
				t.Errorf("loader %q next %q missing %q why %q, want %+v", st.Loader, next, st.Missing, st.Why, c)
			}
			if c.release != "" && release != c.release {
				t.Errorf("release %q, want %q", release, c.release)
			}
		})
	}
}

func TestPathsAreTheHosts(t *testing.T) {
	st, _ := Read(t.Context(), sysfs.New(&sysfstest.FS{Files: map[string]string{"/boot/grub/grub.cfg": debian("0"), "/boot/vmlinuz-6.1.0-31-amd64": "x", "/etc/default/grub": "GRUB_DEFAULT='saved' # x\nGRUB_SAVEDEFAULT=true\n"}}))
	e := st.NextEntry()
	if e == nil || e.Linux != "/boot/vmlinuz-6.1.0-31-amd64" || !slices.Equal(e.Initrd, []string{"/boot/initrd.img-6.1.0-31-amd64"}) || e.Options != "root=/dev/mapper/a ro quiet" {
		t.Errorf("entry %+v", e)
	}
	if st.Default != "saved" || !st.SaveDefault || !sysfs.Absent(st.EnvErr) {
		t.Errorf("state %+v", st)
	}
}

func TestCompare(t *testing.T) {
	for _, sorted := range [][]string{{"6.1~rc1", "6.1", "6.1-2", "6.1.0-9", "6.1.0-10", "6.10"}, {"", "a", "b", "1"}} {
		for i := range sorted {
			for j := range sorted {
				if have := Compare(sorted[i], sorted[j]); sign(have) != sign(i-j) {
					t.Errorf("Compare(%q, %q) = %d", sorted[i], sorted[j], have)
				}
			}
		}
	}
}

func sign(n int) int { return min(max(n, -1), 1) }

func FuzzGrubScript(f *testing.F) {
	f.Add(debianConfig)
	f.Add(fedoraConfig)
	f.Add("function f { f; f }\nf\nwhile true; do set a=$a$a; done\nif [ ! -e x ]; then submenu \"a$b\" { menuentry 'x' {")
	f.Fuzz(func(t *testing.T, s string) {
		st, _ := Read(t.Context(), sysfs.New(&sysfstest.FS{Files: map[string]string{"/boot/grub/grub.cfg": s}}))
		if st.Why == "" || st.Next >= len(st.Entries) {
			t.Errorf("next %d of %d, why %q", st.Next, len(st.Entries), st.Why)
		}
	})
}

func FuzzGrubenv(f *testing.F) {
	f.Add([]byte(env("saved_entry=a\\\\b\nnext_entry=\n")))
	f.Add([]byte(envHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseGrubenv(b)
		if err == nil && len(b) != envSize || m[""] != "" {
			t.Errorf("%q, %v", m, err)
		}
	})
}

func FuzzBLS(f *testing.F) {
	f.Add(bls("6.1"))
	f.Add("default arch-*\ntimeout 3\n#x y\nGRUB_DEFAULT=\"a b\" # c")
	f.Fuzz(func(t *testing.T, s string) {
		e := parseBLS(s)
		for _, v := range append(e.initrd, e.title, e.linux) {
			if strings.TrimSpace(v) != v {
				t.Errorf("value %q", v)
			}
		}
		for k := range parseLoaderConf(s) {
			if strings.ContainsAny(k, " \t") || k == "" {
				t.Errorf("key %q", k)
			}
		}
		m := map[string]string{}
		parseAssignments(s, m)
		for k := range m {
			if !isName(k) {
				t.Errorf("name %q", k)
			}
		}
	})
}

func FuzzEFIText(f *testing.F) {
	f.Add([]byte(efiText("arch.conf")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseEFIText(b); err == nil && (len(b) < 4 || len([]rune(s)) > len(b)/2) {
			t.Errorf("%d bytes gave %q", len(b), s)
		}
	})
}

func FuzzCompare(f *testing.F) {
	f.Add("6.1.0-9-amd64", "6.1.0-10-amd64")
	f.Add("1~^-.", "1~^-.a")
	f.Fuzz(func(t *testing.T, a, b string) {
		if sign(Compare(a, b)) != -sign(Compare(b, a)) || sign(compareBLS(a, b)) != -sign(compareBLS(b, a)) {
			t.Errorf("%q %q are in two orders", a, b)
		}
	})
}
