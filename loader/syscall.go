package loader

import (
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// progLoadAttr mirrors the BPF_PROG_LOAD part of union bpf_attr
// (include/uapi/linux/bpf.h). A kernel that knows fewer fields accepts the
// longer attribute as long as the unknown tail is zero, so one layout serves all.
type progLoadAttr struct {
	progType           uint32
	insnCnt            uint32
	insns              uint64
	license            uint64
	logLevel           uint32
	logSize            uint32
	logBuf             uint64
	kernVersion        uint32
	progFlags          uint32
	progName           [unix.BPF_OBJ_NAME_LEN]byte
	progIfindex        uint32
	expectedAttachType uint32
	progBTFFD          uint32
	funcInfoRecSize    uint32
	funcInfo           uint64
	funcInfoCnt        uint32
	lineInfoRecSize    uint32
	lineInfo           uint64
	lineInfoCnt        uint32
	attachBTFID        uint32
	attachBTFObjFD     uint32 // or attach_prog_fd
	coreReloCnt        uint32
	fdArray            uint64
	coreRelos          uint64
	coreReloRecSize    uint32
	logTrueSize        uint32 // written by the kernel since 6.4 (47a71c1f9af0)
}

// mapCreateAttr mirrors the BPF_MAP_CREATE part of union bpf_attr.
type mapCreateAttr struct {
	mapType               uint32
	keySize               uint32
	valueSize             uint32
	maxEntries            uint32
	mapFlags              uint32
	innerMapFD            uint32
	numaNode              uint32
	mapName               [unix.BPF_OBJ_NAME_LEN]byte
	mapIfindex            uint32
	btfFD                 uint32
	btfKeyTypeID          uint32
	btfValueTypeID        uint32
	btfVmlinuxValueTypeID uint32
	mapExtra              uint64
}

// bpf is the bare system call. It never repeats a call: a caller that counts
// loads must be able to trust that one call is one load.
func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(r), 0
}

// address pins b for the life of the pinner and returns where it lies; 0 for an
// empty slice. Pinning is what keeps the collector from moving or freeing memory
// that only an integer in an attribute points to.
func address(pin *runtime.Pinner, b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	pin.Pin(&b[0])
	return uint64(uintptr(unsafe.Pointer(&b[0])))
}

// OwnPrefix begins the names of all programs that lastgood loads, in bpftool and in audit
// records, so that a census of what runs can tell them from the agents'.
const OwnPrefix = "lg_"

// objName makes the name the kernel accepts: at most 15 of [A-Za-z0-9_.], other
// characters dropped.
func objName(name string) (out [unix.BPF_OBJ_NAME_LEN]byte) {
	if !strings.HasPrefix(name, OwnPrefix) {
		name = OwnPrefix + name
	}
	n := 0
	for i := 0; i < len(name) && n < len(out)-1; i++ {
		c := name[i]
		if c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			out[n] = c
			n++
		}
	}
	return out
}

// cString appends the terminating NUL.
func cString(s string) []byte { return append([]byte(s), 0) }
