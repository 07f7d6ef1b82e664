package contract

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Words of a declared contract, for ever.
const (
	APIVersion   = "lastgood.dev/v1"
	ContractKind = "HostContract"
)

// Severities of a check: required fails the boot, wanted is reported, info is only shown.
const (
	Required = "required"
	Wanted   = "wanted"
	Info     = "info"
)

// Contract is what hosts of one class must have: one document of a file in /etc/lastgood/contract.d.
type Contract struct {
	APIVersion string   `yaml:"apiVersion" doc:"version of the format" enum:"lastgood.dev/v1" required:"yes"`
	Kind       string   `yaml:"kind" doc:"what the document is" enum:"HostContract" required:"yes"`
	Metadata   Metadata `yaml:"metadata" doc:"its name" required:"yes"`
	Match      *Match   `yaml:"match" doc:"the hosts it is for; without it, every host. All that is given must hold"`
	Defaults   Defaults `yaml:"defaults" doc:"for checks that do not say otherwise"`
	Checks     []Check  `yaml:"checks" doc:"what must hold" required:"yes"`

	file string
	line int
}

// Metadata names a contract.
type Metadata struct {
	Name        string `yaml:"name" doc:"name of the class: letters, digits, - and _" required:"yes"`
	Description string `yaml:"description" doc:"for people"`
}

// Match says which hosts a contract is for.
type Match struct {
	Hostname   []string `yaml:"hostname" doc:"shell patterns on the host's name, short or full; one must match"`
	Tags       []string `yaml:"tags" doc:"words that stand in /etc/lastgood/tags; one must"`
	Product    []string `yaml:"product" doc:"shell patterns on the DMI product name; one must match"`
	OS         []string `yaml:"os" doc:"ID or ID_LIKE of /etc/os-release; one must be it"`
	Package    []string `yaml:"package" doc:"packages of dpkg, rpm or apk; one must be installed"`
	FileExists []string `yaml:"file_exists" doc:"paths or shell patterns of paths; one must be there"`
}

// Defaults are for checks that do not say otherwise.
type Defaults struct {
	Within       *Duration `yaml:"within" doc:"time since the kernel began, by which a check must hold; without it, once the host has come up"`
	StableFor    *Duration `yaml:"stable_for" doc:"how long it must go on to hold"`
	Every        *Duration `yaml:"every" doc:"time between two tries"`
	Timeout      *Duration `yaml:"timeout" doc:"hard deadline of one try"`
	Severity     string    `yaml:"severity" doc:"required fails the boot, wanted is reported, info is shown" enum:"required,wanted,info"`
	OnRegression string    `yaml:"on_regression" doc:"the most that may be done where it held at the last good boot and does not now; notify unless said otherwise" enum:"rollback,hold,notify"`
}

// Check is one thing that must hold. It sets one of the kinds of checks or more, all of which must hold.
type Check struct {
	ID           string    `yaml:"id" doc:"unique in all contracts of the host: letters, digits, . - and _" required:"yes"`
	Within       *Duration `yaml:"within" doc:"time since the kernel began, by which it must hold; without it, once the host has come up"`
	StableFor    *Duration `yaml:"stable_for" doc:"how long it must go on to hold"`
	Every        *Duration `yaml:"every" doc:"time between two tries"`
	Timeout      *Duration `yaml:"timeout" doc:"hard deadline of one try"`
	Severity     string    `yaml:"severity" doc:"required fails the boot, wanted is reported, info is shown" enum:"required,wanted,info"`
	OnRegression string    `yaml:"on_regression" doc:"the most that may be done where it held at the last good boot and does not now; notify unless said otherwise" enum:"rollback,hold,notify"`
	FailFast     bool      `yaml:"fail_fast" doc:"the first failure is the last word: there is no second try"`
	SameAs       bool      `yaml:"same_as_baseline" doc:"all that the check found at the last good boot must be there (units, mounts, devices, volumes, ports, files, domains, OSDs)"`

	Unit        *UnitCheck     `yaml:"unit" doc:"systemd units"`
	Mount       *MountCheck    `yaml:"mount" doc:"a mount"`
	BlockDevice *BlockCheck    `yaml:"block_device" doc:"block device nodes"`
	LVM         *LVMCheck      `yaml:"lvm" doc:"logical volumes"`
	Route       *RouteCheck    `yaml:"route" doc:"a default route"`
	Link        *LinkCheck     `yaml:"link" doc:"a network interface"`
	DNS         *DNSCheck      `yaml:"dns" doc:"an answer of a name server"`
	Hostname    *HostnameCheck `yaml:"hostname" doc:"the host's own name"`
	Fstab       *FstabCheck    `yaml:"fstab" doc:"/etc/fstab"`
	TCP         *TCPCheck      `yaml:"tcp" doc:"something that takes TCP connections"`
	HTTP        *HTTPCheck     `yaml:"http" doc:"an answer of a web server"`
	Process     *ProcessCheck  `yaml:"process" doc:"processes by name"`
	File        *FileCheck     `yaml:"file" doc:"a file"`
	Count       *CountCheck    `yaml:"count" doc:"how many files there are"`
	Exec        *ExecCheck     `yaml:"exec" doc:"a command"`
	BPF         *BPFCheck      `yaml:"bpf" doc:"BPF objects that the kernel must accept"`
	CephOSD     *CephCheck     `yaml:"ceph_osd" doc:"Ceph OSDs"`
	Libvirt     *LibvirtCheck  `yaml:"libvirt" doc:"libvirt and its domains"`

	line, column int
}

// UnitCheck asks systemd.
type UnitCheck struct {
	Name        string   `yaml:"name" doc:"a unit"`
	Pattern     string   `yaml:"pattern" doc:"shell pattern on units; at least one must be loaded, and all of them are looked at"`
	State       string   `yaml:"state" doc:"state that each must be in; active unless said otherwise" enum:"active,inactive,not-failed"`
	MaxRestarts *int     `yaml:"max_restarts" doc:"most restarts since the unit was started"`
	FailFastOn  []string `yaml:"fail_fast_on" doc:"results of the unit after which waiting is no use, as start-limit-hit"`
}

// MountCheck looks at one mount.
type MountCheck struct {
	Path   string `yaml:"path" doc:"mount point" required:"yes"`
	FSType string `yaml:"fstype" doc:"type of the file system; fuse is also fuse.something"`
	Mode   string `yaml:"mode" doc:"rw or ro" enum:"rw,ro"`
	UUID   string `yaml:"uuid" doc:"UUID of the file system"`
	Source string `yaml:"source" doc:"device or server, as the kernel names it"`
}

// BlockCheck opens device nodes.
type BlockCheck struct {
	Path     string `yaml:"path" doc:"device node or link to one, or a shell pattern; at least one must match"`
	OSDs     bool   `yaml:"local_osds" doc:"in the place of path: the blocks of the Ceph OSDs whose data is on this host"`
	Openable *bool  `yaml:"openable" doc:"each can be opened for reading; yes unless said otherwise"`
	Label    string `yaml:"label" doc:"SELinux label that each must have"`
	AtLeast  int    `yaml:"at_least" doc:"how many must match"`
}

// LVMCheck looks at the device mapper.
type LVMCheck struct {
	Volumes []string `yaml:"volumes" doc:"group/volume, each of which must be active and not suspended; without it every active one is looked at"`
}

// RouteCheck looks at a default route.
type RouteCheck struct {
	Family           string `yaml:"family" doc:"inet (default) or inet6" enum:"inet,inet6"`
	Dev              string `yaml:"dev" doc:"interface that the best default route leaves by"`
	Gateway          string `yaml:"gateway" doc:"address of its gateway"`
	GatewayReachable bool   `yaml:"gateway_reachable" doc:"the gateway must answer on its link"`
}

// LinkCheck looks at a network interface.
type LinkCheck struct {
	Name      string   `yaml:"name" doc:"the interface" required:"yes"`
	Kind      string   `yaml:"kind" doc:"bridge, bond or vlan" enum:"bridge,bond,vlan"`
	Carrier   *bool    `yaml:"carrier" doc:"it has a link"`
	Ports     []string `yaml:"ports" doc:"ports that it must have"`
	Addresses []string `yaml:"addresses" doc:"addresses that it must have"`
	MTU       int      `yaml:"mtu" doc:"largest packet"`
}

// DNSCheck asks a name server.
type DNSCheck struct {
	Server    string   `yaml:"server" doc:"address, with a port where it is not 53" required:"yes"`
	Name      string   `yaml:"name" doc:"the name that is asked for" required:"yes"`
	Type      string   `yaml:"type" doc:"type of the record; A unless said otherwise" enum:"A,AAAA,CNAME,NS,PTR,MX,TXT"`
	Equals    []string `yaml:"equals" doc:"all records, in any order"`
	RCode     string   `yaml:"rcode" doc:"response code; NOERROR unless said otherwise"`
	Transport []string `yaml:"transport" doc:"udp (default), tcp, or both" enum:"udp,tcp"`
}

// HostnameCheck looks at the host's own name.
type HostnameCheck struct {
	Equals     string `yaml:"equals" doc:"the name"`
	ResolvesTo string `yaml:"resolves_to" doc:"local_interface: an address of this host; anything: any address" enum:"local_interface,anything"`
	NoLoopback bool   `yaml:"forbid_loopback" doc:"none of its addresses may be loopback's, 127.0.1.1 included"`
}

// FstabCheck looks at /etc/fstab.
type FstabCheck struct {
	StableOnly bool `yaml:"stable_specs_only" doc:"no line names a device by the order in which it was found, as /dev/sda1"`
	Resolvable bool `yaml:"resolvable" doc:"every device is there"`
	Mounted    bool `yaml:"mounted" doc:"everything that a boot mounts is mounted"`
}

// TCPCheck connects.
type TCPCheck struct {
	Address string `yaml:"address" doc:"host:port" required:"yes"`
}

// HTTPCheck asks a web server.
type HTTPCheck struct {
	URL      string `yaml:"url" doc:"http or https" required:"yes"`
	Status   int    `yaml:"status" doc:"status of the answer; 200 unless said otherwise"`
	Body     string `yaml:"body" doc:"regular expression that the first 64 KiB of the answer must match"`
	Insecure bool   `yaml:"insecure" doc:"take any certificate"`
}

// ProcessCheck looks for processes.
type ProcessCheck struct {
	Name    string `yaml:"name" doc:"name of the process, as in /proc/PID/comm: 15 characters at most" required:"yes"`
	AtLeast int    `yaml:"at_least" doc:"how many; 1 unless said otherwise"`
}

// FileCheck looks at a file.
type FileCheck struct {
	Path   string `yaml:"path" doc:"the file" required:"yes"`
	Exists *bool  `yaml:"exists" doc:"it is there; yes unless said otherwise"`
	Regexp string `yaml:"regexp" doc:"regular expression that its first 64 KiB must match"`
}

// CountCheck counts files.
type CountCheck struct {
	Glob    string `yaml:"glob" doc:"shell pattern of paths; same_as_baseline holds it to as many as at the last good boot" required:"yes"`
	AtLeast *int   `yaml:"at_least" doc:"least number"`
	AtMost  *int   `yaml:"at_most" doc:"greatest number"`
}

// ExecCheck runs a command, without a shell, in a process group of its own that is killed at the deadline.
type ExecCheck struct {
	Command []string   `yaml:"command" doc:"the command, by absolute path or name, and its arguments" required:"yes"`
	Exit    int        `yaml:"exit" doc:"exit status; 0 unless said otherwise"`
	Regexp  string     `yaml:"regexp" doc:"regular expression that its output must match"`
	JSON    *JSONCheck `yaml:"json" doc:"a value in its output, which is JSON"`
}

// JSONCheck is a value in a JSON document.
type JSONCheck struct {
	Path    string `yaml:"path" doc:"names and numbers with dots between: items.0.state" required:"yes"`
	Equals  string `yaml:"equals" doc:"the value as text"`
	Regexp  string `yaml:"regexp" doc:"regular expression that the value must match"`
	AtLeast *int   `yaml:"at_least" doc:"least number, or least number of members"`
}

// BPFCheck has `lastgood probe` measure objects, in its child process with its crash guard.
type BPFCheck struct {
	Objects  []string `yaml:"objects" doc:"ELF objects: paths or shell patterns; at least one must match" required:"yes"`
	MaxInsns int      `yaml:"max_insns" doc:"most instructions that the verifier may process for one program"`
}

// CephCheck asks the cluster for OSDs.
type CephCheck struct {
	IDs []int `yaml:"ids" doc:"numbers of the OSDs; without it, those whose data is on this host"`
	Up  *bool `yaml:"up" doc:"up; yes unless said otherwise"`
	In  *bool `yaml:"in" doc:"in; yes unless said otherwise"`
}

// LibvirtCheck asks libvirt.
type LibvirtCheck struct {
	Connect   string   `yaml:"connect" doc:"URI; qemu:///system unless said otherwise"`
	Domains   []string `yaml:"domains" doc:"domains that must run"`
	Autostart bool     `yaml:"autostart_running" doc:"all domains that are marked for autostart must run"`
}

// Duration is a time as people write it: 20s, 1m30s.
type Duration time.Duration

// UnmarshalYAML reads a duration with its unit.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	var s string
	if err := yaml.NodeToValue(node, &s); err == nil {
		if v, err := time.ParseDuration(s); err == nil && v >= 0 && v <= 24*time.Hour {
			*d = Duration(v)
			return nil
		}
	}
	return at(node, "%s is no duration: write it with its unit, as 20s, one day at most", clip(node.String()))
}

// MarshalYAML writes it as it is read.
func (d Duration) MarshalYAML() (any, error) { return time.Duration(d).String(), nil }

// MarshalJSON does the same.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalYAML keeps where the check stands.
func (c *Check) UnmarshalYAML(node ast.Node) error {
	type plain Check // without this method
	var p plain
	if err := yaml.NodeToValue(node, &p, yaml.Strict()); err != nil {
		return err
	}
	*c = Check(p)
	// A mapping's token is its first colon; its first key is where it begins.
	c.line, c.column = position(node)
	return nil
}

// position is the line and column, from 1, at which a node begins.
func position(node ast.Node) (line, column int) {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return position(n.Values[0])
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	}
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 0, 0
}

// at is an error with the place in the file.
func at(node ast.Node, format string, args ...any) error {
	line, column := position(node)
	return &placedError{line, column, fmt.Sprintf(format, args...)}
}

type placedError struct {
	line, column int
	text         string
}

func (e *placedError) Error() string { return fmt.Sprintf("[%d:%d] %s", e.line, e.column, e.text) }

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
