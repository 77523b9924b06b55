// Package procfs reads what Linux counts about processes: CPU time and memory, of one process and of the machine.
// It decides nothing and formats nothing.
package procfs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Every number of /proc/*/stat is in clock ticks of this length, on every architecture that Go supports (USER_HZ).
const tick = 10 * time.Millisecond

// CPU is the user and system time that a process, all of its threads together, has used so far.
func CPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(raw)
}

func parseStat(raw []byte) (time.Duration, error) {
	// The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	const utime, stime = 11, 12 // fields 14 and 15 of proc(5), counted from the third
	if len(fields) <= stime {
		return 0, fmt.Errorf("not a /proc/PID/stat: %q", raw)
	}
	return ticks(fields[utime], fields[stime])
}

// RSS is the memory of a process that is resident now, in bytes.
func RSS(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm: %q", pid, raw)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// MachineBusy is the CPU time that was not idle on this machine so far, other guests' (steal) included.
func MachineBusy() (time.Duration, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	// cpu user nice system idle iowait irq softirq steal: the two idle ones are left out.
	return ticks(fields[1], fields[2], fields[3], fields[6], fields[7], fields[8])
}

func ticks(fields ...string) (time.Duration, error) {
	var sum time.Duration
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
