package contract

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const containerKind = "container.count"

var _ = catalogue.Add(source.Source{
	Name: "containers",
	Doc: `how many containers and guests run, by the names of their cgroups

Reads names in /sys/fs/cgroup, and on disk whether a boot starts one by itself. No runtime's socket is asked: one that hangs is what a kernel regression looks like.`,
	Kinds: []snapshot.Kind{containerDeclared},
	Tier:  source.Native,
	Read:  readContainers,
})

var containerDeclared = snapshot.Kind{
	Name: containerKind,
	Doc:  "the containers or guests of one runtime.",
	Attrs: []snapshot.Attr{
		{Name: "running", Noise: snapshot.Evidence, Unit: snapshot.Count, Doc: "how many run"},
		{Name: "any", Doc: "yes where at least one runs"},
		{Name: "autostart", Doc: "yes where a boot starts at least one by itself, by what the runtime has on disk; missing where that could not be told"},
	},
	Rules: []snapshot.Rule{
		{Code: "containers-none", On: snapshot.OnBecomes, Attr: "any", From: []string{"yes"}, To: []string{"no"}, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "no container or guest of {name} runs; {was:running} ran at the last good boot", Hint: "is one to be started by the boot? docker update --restart, virsh autostart, lxc.start.auto"},
		{Code: "containers-none", On: snapshot.OnBecomes, Attr: "any", From: []string{"yes"}, To: []string{"no"}, Where: map[string]string{"autostart": "yes"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "no container or guest of {name} runs; {was:running} ran at the last good boot", Hint: "did the runtime start? systemctl status kubelet containerd docker libvirtd; are the workloads held?"},
	},
}

// settling is how long after a boot containers that do not run yet are not missed: kubelet starts them one by one. It ends before
// an assessment does, which begins some seconds after the kernel and takes three minutes at most where nobody says otherwise.
const settling = 150 * time.Second

// runtimes are what is counted, always all of them, so that none is missing.
var runtimes = []string{"kubernetes", "docker", "podman", "lxc", "machine"}

// containerNames are cgroups of a single container: scopes of systemd's driver, plain folders of cgroupfs's.
var containerNames = []struct {
	runtime string
	name    *regexp.Regexp
}{
	{"kubernetes", regexp.MustCompile(`^(cri-containerd|crio|cri-o)-[0-9a-f]{64}\.scope$`)},
	{"docker", regexp.MustCompile(`^docker-[0-9a-f]{64}\.scope$`)},
	{"podman", regexp.MustCompile(`^libpod-[0-9a-f]{64}(\.scope)?$`)},
	{"lxc", regexp.MustCompile(`^lxc(\.payload)?\.[^/]+$`)},
	{"machine", regexp.MustCompile(`^machine-[^/]+\.scope$`)},
}

// containerRuntime tells whose container a cgroup of that name is: "" is none.
func containerRuntime(name string) string {
	for _, c := range containerNames {
		if c.name.MatchString(name) {
			return c.runtime
		}
	}
	return ""
}

// plainID is a container's folder under docker/ or a pod's folder, with the cgroupfs driver.
var plainID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Where containers are looked for, and how deep: kubepods.slice/kubepods-burstable.slice/kubepods-…-podUID.slice/cri-….scope.
var cgroupFolders = []struct {
	dir   string
	depth int
	plain string // whose a folder with a bare identifier is
}{
	{"kubepods.slice", 3, "kubernetes"}, {"kubepods", 3, "kubernetes"}, {"system.slice", 1, ""}, {"docker", 1, "docker"},
	{"machine.slice", 1, ""}, {"libpod_parent", 1, "podman"}, {"", 1, ""}, {"lxc", 1, "lxc"},
}

// cgroupRoots: the one tree of cgroup v2, or systemd's own where there are several (v1, hybrid).
var cgroupRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"}

func readContainers(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	counts, err := countContainers(ctx, h.Root)
	if err != nil {
		if sysfs.Absent(err) {
			return nil, errNoTable(h, cgroupRoots[0])
		}
		return nil, err
	}
	early := upSince(ctx, h, settling)
	var out []snapshot.Subject
	for _, r := range runtimes {
		s := snapshot.Subject{Kind: containerKind, ID: r, Outcome: snapshot.Measured}
		s.Set("running", snapshot.Int(counts[r]))
		s.Set("any", yesNo(counts[r] > 0))
		if starts := startsByItself(ctx, h, r); starts != "" {
			s.Set("autostart", snapshot.Text(starts))
		}
		if counts[r] == 0 && early != "" {
			s.Outcome, s.Reason = snapshot.Inconclusive, "none runs; "+early
		}
		out = append(out, s)
	}
	return out, nil
}

// upSince says how long the host is up where that is less than what is waited for, else "".
func upSince(ctx context.Context, h source.Host, least time.Duration) string {
	up, err := uptime(ctx, h.Root)
	if err != nil || up >= least || !h.Root.Live() { // a recording is of whatever moment it is of
		return ""
	}
	return fmt.Sprintf("the host is up for %v only", up.Round(time.Second))
}

// StillToCome names the runtimes of which something ran at the last good boot and nothing runs yet, while that may still come.
func StillToCome(base, now *snapshot.Snapshot) []string {
	var out []string
	for _, r := range runtimes {
		key := snapshot.Key{Kind: containerKind, ID: r}
		then, s := base.Subject(key), now.Subject(key)
		if then != nil && s != nil && then.Text("any") == "yes" && s.Text("autostart") == "yes" && s.Outcome == snapshot.Inconclusive && s.Text("any") == "no" {
			out = append(out, r)
		}
	}
	return out
}

func countContainers(ctx context.Context, root *sysfs.Root) (map[string]int, error) {
	seen := map[string]bool{} // a container stands in the trees of v1 and v2
	counts := map[string]int{}
	var errs []error
	found := false
	for _, top := range cgroupRoots {
		if _, err := root.List(ctx, top); err != nil {
			errs = append(errs, err)
			continue
		}
		found = true
		for _, f := range cgroupFolders {
			if err := walkCgroup(ctx, root, path.Join(top, f.dir), f.depth, func(name string) {
				r := containerRuntime(name)
				if r == "" && plainID.MatchString(name) {
					r = f.plain
				}
				if r != "" && !seen[name] {
					seen[name] = true
					counts[r]++
				}
			}); err != nil {
				return nil, err
			}
		}
	}
	if !found {
		return nil, errors.Join(errs...)
	}
	return counts, nil
}

// maxCgroups bounds how many folders are looked into.
const maxCgroups = 4096

func walkCgroup(ctx context.Context, root *sysfs.Root, dir string, depth int, tell func(string)) error {
	type place struct {
		dir   string
		depth int
	}
	queue := []place{{dir, depth}}
	for n := 0; len(queue) > 0 && n < maxCgroups; n++ {
		p := queue[0]
		queue = queue[1:]
		names, err := listDir(ctx, root, p.dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			tell(name)
			if p.depth > 1 && podSlice.MatchString(name) {
				queue = append(queue, place{path.Join(p.dir, name), p.depth - 1})
			}
		}
	}
	return nil
}

// podSlice are the folders between kubepods and a container.
var podSlice = regexp.MustCompile(`^(kubepods-[^/]+\.slice|besteffort|burstable|pod[0-9a-f-]+)$`)
