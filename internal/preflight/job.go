package preflight

import (
	"time"

	"lastgood/loader"
)

// JobFile is the name of the job among a guest's files.
const JobFile = "job.json"

// Job is what a guest is asked to do.
type Job struct {
	// Families of the built-in catalogue; none means all.
	Families []string `json:"families,omitempty"`
	// Objects are ELF objects; their paths are names among the guest's files.
	Objects []loader.ObjectFile `json:"objects,omitempty"`
	// ObjectsOnly leaves the built-in catalogue out.
	ObjectsOnly bool `json:"objects_only,omitempty"`
	// Quick leaves out what takes seconds in an emulated machine, Thorough adds the
	// breaking points.
	Quick    bool `json:"quick,omitempty"`
	Thorough bool `json:"thorough,omitempty"`
	// Modules says that those that programs are attached through are at hand.
	Modules bool          `json:"modules,omitempty"`
	Budget  time.Duration `json:"budget"`
	Jobs    int           `json:"jobs"`
	// NeedMiB is how much free memory a guest must have, for what is refused for
	// want of memory says nothing about a kernel.
	NeedMiB int `json:"need_mib"`
	// MachineID makes all guests one machine, so that they can be compared.
	MachineID string `json:"machine_id"`
}
