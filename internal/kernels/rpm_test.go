package kernels

import (
	"archive/tar"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rpmRelease = "5.14.0-611.el9.x86_64"

// rpmMembers is a kernel as Red Hat and its kin lay it out.
func rpmMembers() []packed {
	tree := "./lib/modules/" + rpmRelease
	return []packed{
		{name: tree, kind: tar.TypeDir},
		{name: tree + "/vmlinuz", data: testImage(rpmRelease)},
		{name: tree + "/config", data: "CONFIG_BPF=y\n"},
		{name: tree + "/kernel/net/veth.ko.xz", data: "veth"},
		{name: tree + "/source", kind: tar.TypeSymlink, link: "build"},
		{name: "./usr/share/licenses/kernel-core/COPYING", data: "GPL-2\n"},
	}
}

var rpmTree = map[string]string{
	"lib/modules/" + rpmRelease + "/vmlinuz":               testImage(rpmRelease),
	"lib/modules/" + rpmRelease + "/config":                "CONFIG_BPF=y\n",
	"lib/modules/" + rpmRelease + "/kernel/net/veth.ko.xz": "veth",
}

func TestRPM(t *testing.T) {
	for compressor, suffix := range map[string]string{"xz": ".xz", "zstd": ".zst", "gzip": ".gz"} {
		t.Run(compressor, func(t *testing.T) {
			p := writeTemp(t, "k.rpm", rpmOf("kernel-core", "5.14.0", "611.el9", "x86_64", compressor, compressed(t, suffix, cpioOf(t, rpmMembers()))))
			info, err := readRPM(p)
			if err != nil {
				t.Fatal(err)
			}
			if want := (rpmInfo{"kernel-core", "5.14.0", "611.el9", "x86_64", compressor}); info != want {
				t.Errorf("header = %+v, want %+v", info, want)
			}
			got, err := unpackInto(t, func(u *unpacker) error { return u.rpm(t.Context(), p) })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rpmTree, got); diff != "" {
				t.Errorf("unpacked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRPMCorrupt(t *testing.T) {
	archive := cpioOf(t, rpmMembers())
	packedArchive := compressed(t, ".gz", archive)
	badSum := bytes.Clone(packedArchive)
	badSum[len(badSum)-8] ^= 1
	whole := rpmOf("kernel-core", "5.14.0", "611.el9", "x86_64", "gzip", packedArchive)
	// Where the second member begins: an archive may be cut off right there.
	second := bytes.Index(archive[6:], []byte("070701")) + 6
	huge := slices.Clone(whole)
	copy(huge[rpmLead+8:], "\xff\xff\xff\xff") // entries of the signature
	of := func(payload []byte) []byte {
		return rpmOf("kernel-core", "5.14.0", "611.el9", "x86_64", "gzip", payload)
	}
	for name, c := range map[string]struct {
		data []byte
		say  string
	}{
		"empty":                      {nil, "no RPM package"},
		"no package":                 {make([]byte, 200), "no RPM package"},
		"signature cut":              {whole[:rpmLead+20], "signature"},
		"signature huge":             {huge, "signature"},
		"header cut":                 {whole[:rpmLead+64], "header"},
		"no name":                    {rpmOf("", "1", "1", "x86_64", "gzip", nil), "no name"},
		"payload cut":                {whole[:len(whole)-40], ""},
		"payload not packed":         {of([]byte("hello")), ""},
		"checksum wrong":             {of(badSum), "checksum"},
		"archive ends at a member":   {of(compressed(t, ".gz", archive[:second])), ""},
		"archive ends within header": {of(compressed(t, ".gz", archive[:second+20])), ""},
		"archive is none":            {of(compressed(t, ".gz", []byte(strings.Repeat("x", 500)))), "cpio"},
	} {
		t.Run(name, func(t *testing.T) {
			p := writeTemp(t, "broken.rpm", c.data)
			_, err := unpackInto(t, func(u *unpacker) error { return u.rpm(t.Context(), p) })
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), p) || !strings.Contains(err.Error(), c.say) {
				t.Errorf("error = %v; want ErrCorrupt with the name of the file and %q", err, c.say)
			}
		})
	}
}

func TestRPMNotRead(t *testing.T) {
	for name, c := range map[string]struct{ compressor, payload, say string }{
		"large files": {"gzip", string(compressed(t, ".gz", []byte("07070X00000000"))), "large files"},
		"bzip2":       {"bzip2", "BZh9", "bzip2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := writeTemp(t, "k.rpm", rpmOf("kernel-core", "1", "1", "x86_64", c.compressor, []byte(c.payload)))
			_, err := unpackInto(t, func(u *unpacker) error { return u.rpm(t.Context(), p) })
			if err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.say) {
				t.Errorf("error = %v; want one that is not ErrCorrupt and names %q", err, c.say)
			}
		})
	}
}

func FuzzRPM(f *testing.F) {
	whole := rpmOf("kernel-core", "5.14.0", "611.el9", "x86_64", "gzip", nil)
	f.Add(whole)
	f.Add(whole[:rpmLead+20])
	f.Add(rpmLeadMagic)
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := parseRPM(bytes.NewReader(b))
		if err == nil && (info.Name == "" || info.Version == "") {
			t.Errorf("%+v without an error", info)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}

func FuzzCpio(f *testing.F) {
	archive := cpioOf(f, rpmMembers())
	f.Add(archive)
	f.Add(archive[:150])
	f.Add(cpioOf(f, []packed{{name: "lib/modules/6.1.0/../../../x", data: "x"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := unpackInto(t, func(u *unpacker) error {
			u.left = 1 << 20
			return u.cpioMembers(t.Context(), bytes.NewReader(b))
		})
		if err == nil && !bytes.Contains(b, []byte("TRAILER!!!")) {
			t.Error("an archive without an end was taken for whole")
		}
	})
}
