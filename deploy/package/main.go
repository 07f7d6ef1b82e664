// Command package makes the .deb and the .rpm of lastgood out of files.list. It is a module of
// its own, so that what makes packages is nothing that the tool itself depends on.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// options are those of the command line.
type options struct {
	binary, top, out, arch, version string
	at                              time.Time
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "the static binary")
	flag.StringVar(&o.top, "top", filepath.Join("..", ".."), "top of the sources")
	flag.StringVar(&o.out, "out", ".", "folder for the packages")
	flag.StringVar(&o.arch, "arch", "amd64", "architecture, as Go names it")
	flag.StringVar(&o.version, "version", "", "what git describe says")
	flag.Parse()
	made, err := o.run(os.Getenv("SOURCE_DATE_EPOCH"))
	for _, path := range made {
		fmt.Println(path)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "package: %v\n", err)
		os.Exit(1)
	}
}

// run makes both packages and gives their paths. epoch is SOURCE_DATE_EPOCH: the time of every
// file, so that the same sources give the same packages.
func (o options) run(epoch string) ([]string, error) {
	if o.binary == "" || flag.NArg() > 0 {
		return nil, errors.New("usage: package -binary FILE -out DIR [-version DESCRIBED] [-arch ARCH]")
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH %q: seconds since 1970 are needed", epoch)
	}
	o.at = time.Unix(seconds, 0).UTC()
	text, err := os.ReadFile(filepath.Join(o.top, "deploy/package/files.list"))
	if err != nil {
		return nil, err
	}
	list, err := parseList(string(text))
	if err != nil {
		return nil, fmt.Errorf("read files.list: %w", err)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return nil, err
	}
	var made []string
	for _, format := range []string{"deb", "rpm"} {
		path, err := o.make(format, list)
		if err != nil {
			return made, fmt.Errorf("make %s: %w", format, err)
		}
		made = append(made, path)
	}
	return made, nil
}

// make writes one package; a half one is not left.
func (o options) make(format string, list []line) (path string, err error) {
	scratch, err := os.MkdirTemp("", "lastgood-package-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	info := o.info(format)
	if info.Contents, err = contents(list, format, o.top, o.binary, scratch, o.at); err != nil {
		return "", err
	}
	var packager nfpm.Packager = deb.Default
	if format == "rpm" {
		packager = rpm.DefaultRPM
	}
	path = filepath.Join(o.out, packager.ConventionalFileName(info))
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(path)
		}
	}()
	return path, packager.Package(nfpm.WithDefaults(info), f)
}

const about = `did this box come back the same way it went down?
lastgood measures what the running kernel does to BPF programs, takes stock of
the hardware and of what this host does, and compares all of it with the last
boot that was known to be good: after a reboot, and before one.`

// maintainer is who stands in a package. A deb wants a mailbox beside the name (Debian policy 5.6.2), and there is none:
// names below .invalid are nobody's for ever (RFC 2606). rpm takes the name alone.
const maintainer = "lastgood developers"

// info is what is not a file.
func (o options) info(format string) *nfpm.Info {
	version, release := packageVersion(o.version, o.at), ""
	if format == "rpm" {
		release = "1"
	}
	summary, more, _ := strings.Cut(about, "\n")
	i := &nfpm.Info{
		Name: "lastgood", Arch: o.arch, Platform: "linux", Version: version, VersionSchema: "none", Release: release,
		Section: "admin", Priority: "optional", Maintainer: maintainer + " <developers@lastgood.invalid>",
		Description: about, License: "Apache-2.0 AND (BSD-2-Clause OR GPL-2.0-only)",
		MTime: o.at, DisableGlobbing: true,
	}
	if o.arch == "amd64" { // preflight runs a kernel with it, and says so where it is missing
		i.Suggests = []string{map[string]string{"deb": "qemu-system-x86", "rpm": "qemu-system-x86-core"}[format]}
	}
	script := func(name string) string { return filepath.Join(o.top, "deploy/package/scripts", name) }
	if format == "deb" {
		i.Scripts = nfpm.Scripts{PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm")}
		return i
	}
	i.Scripts = nfpm.Scripts{PostInstall: script("post.rpm"), PreRemove: script("preun.rpm"), PostRemove: script("postun.rpm")}
	i.RPM.Summary, i.Description = summary, more // dpkg takes the first line for the summary, rpm has a field
	i.RPM.BuildHost = "localhost"                // else that of the machine at hand: the same sources would give another file
	i.RPM.Packager = maintainer
	return i
}

// described is what `git describe --tags --always --dirty` says: TAG[-COMMITS-gHASH][-dirty], or a hash alone.
var described = regexp.MustCompile(`^v?([0-9][0-9.]*)((?:-(?:rc|beta|alpha)[.0-9]*)?)(?:-([0-9]+)-g([0-9a-f]+))?(-dirty)?$`)

var commit = regexp.MustCompile(`^[0-9a-f]{7,40}$`)

// packageVersion makes of it a version that dpkg and rpm sort as people would: what comes before a
// release has ~, what comes after it +. Where no tag is known it is older than any release, and the
// commit's time gives the order.
func packageVersion(text string, at time.Time) string {
	m := described.FindStringSubmatch(text)
	if m == nil || !strings.Contains(m[1], ".") {
		if hash, dirty := strings.CutSuffix(text, "-dirty"); commit.MatchString(hash) {
			v := "0.0.0~git" + at.Format("200601021504") + "." + hash
			if dirty {
				v += "+dirty"
			}
			return v
		}
		return "0.0.0~git"
	}
	v := m[1] + strings.Replace(m[2], "-", "~", 1)
	if m[3] != "" {
		v += "+" + m[3] + ".g" + m[4]
	}
	if m[5] != "" {
		v += "+dirty"
	}
	return v
}
