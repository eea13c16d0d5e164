package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Run says where and of what figures were measured. Every object of the JSON files has it.
type Run struct {
	Date        string   `json:"date"` // RFC 3339
	Commit      string   `json:"commit"`
	Go          string   `json:"go"`
	Kernel      string   `json:"kernel"`
	CPU         string   `json:"cpu"`   // its name
	Model       string   `json:"model"` // vendor/family/model, which names it better
	CPUs        int      `json:"cpus"`
	Features    []string `json:"features"` // those that our crypto can use
	Kernels     string   `json:"cryptoKernels"`
	MemoryBytes uint64   `json:"memoryBytes"`
	Rounds      int      `json:"rounds"`
	Generator   string   `json:"generator"` // the generator's CPU: "same" as the shard's, or "other"
	Void        bool     `json:"void"`      // the I/O alone was not what this class of machine is known to need
	Verdict     string   `json:"verdict"`   // in words
}

// usable are the CPU features that matter, as /proc/cpuinfo spells them.
var usable = []string{"aes", "avx2", "avx512f", "bmi2", "pclmulqdq", "sha_ni", "vaes", "vpclmulqdq"}

// newRun looks around.
func newRun() *Run {
	r := &Run{
		Date: time.Now().UTC().Format(time.RFC3339), Commit: commit(), Go: runtime.Version(), CPUs: runtime.NumCPU(),
		Kernels: kernels(),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		r.MemoryBytes = info.Totalram * uint64(info.Unit)
	}
	r.readCPU()
	return r
}

func (r *Run) readCPU() {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return
	}
	fields := map[string]string{}
	first, _, _ := strings.Cut(string(text), "\n\n")
	for line := range strings.Lines(first) {
		k, v, _ := strings.Cut(line, ":")
		fields[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	r.CPU = fields["model name"]
	r.Model = fmt.Sprintf("%s/%s/%s", fields["vendor_id"], fields["cpu family"], fields["model"])
	for _, f := range strings.Fields(fields["flags"]) {
		if slices.Contains(usable, f) {
			r.Features = append(r.Features, f)
		}
	}
	slices.Sort(r.Features)
}

// commit names what was measured; "+" says that files differ from it.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// judge says whether the I/O alone was what it should be.
func (r *Run) judge(rows []Row) {
	ref, known := references[r.Model]
	bad, all := 0, 0
	for _, row := range rows {
		for _, x := range append([]Row{row}, row.Variants...) {
			all++
			if x.Void {
				bad++
			}
		}
	}
	switch {
	case !known:
		r.Verdict = "Unknown CPU: what its I/O alone should need is not known"
	case bad > 0:
		r.Void = true
		r.Verdict = fmt.Sprintf("VOID: in %d of %d rows the I/O alone is more than %.0f %% from what a %s needs", bad, all, 100*tolerance, ref.name)
	default:
		r.Verdict = fmt.Sprintf("The I/O alone is within %.0f %% of what a %s needs", 100*tolerance, ref.name)
	}
}

// String is the run in some lines of text.
func (r *Run) String() string {
	lines := []string{
		fmt.Sprintf("%s, %d CPUs (%s: %s), %.0f GiB, Linux %s, %s, crypto by %s.",
			r.CPU, r.CPUs, r.Model, strings.Join(r.Features, " "), float64(r.MemoryBytes)/(1<<30), r.Kernel, r.Go, r.Kernels),
		fmt.Sprintf("Commit %s, %s, %d rounds, generator on the %s CPU.", r.Commit, r.Date, r.Rounds, r.Generator),
	}
	if r.Verdict != "" {
		lines = append(lines, r.Verdict+".")
	}
	return "\n" + strings.Join(lines, "\n")
}
