package bench

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// usage is what a measurement took.
type usage struct {
	at        time.Time // when it began
	wall, cpu time.Duration
	peak      int64 // bytes resident
}

// meter measures from start on.
type meter struct {
	at  time.Time
	cpu time.Duration
}

// start gives memory back that an earlier case has left, and starts the clocks.
func start() meter {
	debug.FreeOSMemory()
	return goOn()
}

// goOn starts the clocks with the memory that there is: what follows does not have to ask for its memory anew.
func goOn() meter {
	// proc(5): 5 resets the peak of the resident set. Elsewhere than on Linux the
	// peak is that of the whole process.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	cpu, _ := spent()
	return meter{time.Now(), cpu}
}

func (m meter) stop() usage {
	wall := time.Since(m.at)
	cpu, peak := spent()
	if own, ok := status("VmHWM:"); ok {
		peak = own
	}
	return usage{at: m.at, wall: wall, cpu: cpu - m.cpu, peak: peak}
}

// spent is the process's CPU time and the peak of its resident set, in bytes.
func spent() (cpu time.Duration, peak int64) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), r.Maxrss * 1024
}

// status reads a size from /proc/self/status, in bytes.
func status(name string) (int64, bool) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				n, err := strconv.ParseInt(string(f[0]), 10, 64)
				return n * 1024, err == nil
			}
		}
	}
	return 0, false
}
