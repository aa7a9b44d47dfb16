package vm

// Job is what the guest's first process does; it finds it in /job.json.
type Job struct {
	// Modules are files to load, in that order.
	Modules []string `json:"modules"`
	// Disk mounts the disk at /disk.
	Disk bool `json:"disk"`
	// Env is the environment of the steps.
	Env []string `json:"env"`
	// Steps run one after the other, each even if one before it failed.
	Steps []Step `json:"steps"`
	// Again makes the guest reboot after the steps, the first time. It counts
	// on the disk.
	Again bool `json:"again"`
}

// Step is one program to run.
type Step struct {
	Name string   `json:"name"`
	Dir  string   `json:"dir"`
	Argv []string `json:"argv"`
	// Seconds after which it is killed, and failed.
	Seconds int `json:"seconds"`
}

// What the guest says at the begin of a line.
const (
	// MarkStep is followed by a step's name, "pass" or "fail" and why.
	MarkStep = "==vm== step "
	// MarkDone is followed by "pass" or "fail" when all is over.
	MarkDone = "==vm== done "
	// MarkReboot says that the guest goes to boot again.
	MarkReboot = "==vm== reboot"
	// JobFile is where the job is.
	JobFile = "/job.json"
	// DiskDir is where the disk is mounted.
	DiskDir = "/disk"

	markDone = MarkDone
)
