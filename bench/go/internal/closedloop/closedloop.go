// Package closedloop keeps a fixed number of pushes in flight and measures them: rate, latency, and the CPU of the
// processes that do the work, all over the same window. What a push is belongs to the commands.
package closedloop

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/push-sidecar/push-sidecar/bench/go/internal/procfs"
)

// Options of a run. Each has a bound, so that no run goes on for ever.
type Options struct {
	InFlight  int
	WarmUp    time.Duration // not measured
	Window    time.Duration
	MaxPushes int   // ends the window early
	PIDs      []int // whose CPU is measured; the first is the server, whose memory is measured too
}

// Report is what a run measured. A push counts when its answer came within the window, whenever it began: under a
// steady load as many reach into the window as reach out of it.
type Report struct {
	InFlight    int       `json:"in_flight"`
	Pushes      int       `json:"pushes"`
	Seconds     float64   `json:"seconds"`
	PushesPerS  float64   `json:"pushes_per_s"`
	P50Us       float64   `json:"p50_us"`
	P99Us       float64   `json:"p99_us"`
	MaxUs       float64   `json:"max_us"`
	CPUSeconds  []float64 `json:"cpu_s"`          // of each of Options.PIDs
	LoadCPU     float64   `json:"load_cpu_s"`     // of this process
	MachineCPU  float64   `json:"machine_busy_s"` // of everything on the machine
	RSSBytes    int64     `json:"rss_bytes"`      // of the first of Options.PIDs, at the end of the window
	Errors      int64     `json:"errors"`         // warm-up and end included
	FirstError  string    `json:"first_error,omitempty"`
	TotalPushes int64     `json:"total_pushes"` // warm-up and end included
	ServerCPUUs float64   `json:"server_cpu_us_per_push"`
}

type reading struct {
	at      time.Time
	pids    []time.Duration
	own     time.Duration
	machine time.Duration
}

// Run calls push from InFlight goroutines; push gets the goroutine's number.
func Run(ctx context.Context, o Options, push func(ctx context.Context, worker int) error) (Report, error) {
	var (
		measuring, stopped     atomic.Bool
		inWindow, total, fails atomic.Int64
		firstError             atomic.Pointer[string]
		workers                sync.WaitGroup
		full                   = make(chan struct{})
		closeFull              = sync.OnceFunc(func() { close(full) })
		latencies              = make([][]time.Duration, o.InFlight)
	)
	for worker := range o.InFlight {
		workers.Go(func() {
			for !stopped.Load() && ctx.Err() == nil {
				began := time.Now()
				err := push(ctx, worker)
				took := time.Since(began)
				total.Add(1)
				if err != nil {
					text := err.Error()
					firstError.CompareAndSwap(nil, &text)
					if fails.Add(1) >= 100 { // a server that only fails is no measurement
						closeFull()
						return
					}
					continue
				}
				if measuring.Load() {
					latencies[worker] = append(latencies[worker], took)
					if inWindow.Add(1) >= int64(o.MaxPushes) {
						closeFull()
					}
				}
			}
		})
	}
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-full:
		case <-ctx.Done():
		}
	}
	wait(o.WarmUp)
	before, err := read(o.PIDs)
	if err != nil {
		return Report{}, err
	}
	measuring.Store(true)
	wait(o.Window)
	measuring.Store(false)
	after, err := read(o.PIDs)
	stopped.Store(true)
	var rss int64
	if err == nil && len(o.PIDs) > 0 {
		rss, err = procfs.RSS(o.PIDs[0])
	}
	workers.Wait()
	if err != nil {
		return Report{}, err
	}

	all := slices.Concat(latencies...)
	slices.Sort(all)
	report := Report{
		InFlight: o.InFlight, Pushes: len(all), Seconds: after.at.Sub(before.at).Seconds(),
		P50Us: quantile(all, 0.50), P99Us: quantile(all, 0.99), MaxUs: quantile(all, 1),
		LoadCPU: (after.own - before.own).Seconds(), MachineCPU: (after.machine - before.machine).Seconds(),
		RSSBytes: rss, Errors: fails.Load(), TotalPushes: total.Load(),
	}
	report.PushesPerS = float64(report.Pushes) / report.Seconds
	for i := range o.PIDs {
		report.CPUSeconds = append(report.CPUSeconds, (after.pids[i] - before.pids[i]).Seconds())
	}
	if len(report.CPUSeconds) > 0 && report.Pushes > 0 {
		report.ServerCPUUs = report.CPUSeconds[0] * 1e6 / float64(report.Pushes)
	}
	if text := firstError.Load(); text != nil {
		report.FirstError = *text
	}
	return report, nil
}

func read(pids []int) (reading, error) {
	now := reading{at: time.Now()}
	for _, pid := range pids {
		cpu, err := procfs.CPU(pid)
		if err != nil {
			return now, fmt.Errorf("the measured process is gone: %w", err)
		}
		now.pids = append(now.pids, cpu)
	}
	var err error
	if now.own, err = procfs.CPU(os.Getpid()); err != nil {
		return now, err
	}
	now.machine, err = procfs.MachineBusy()
	return now, err
}

// quantile of sorted latencies, in microseconds: the smallest value that at least the share q does not exceed.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := min(max(int(q*float64(len(sorted))+0.999999)-1, 0), len(sorted)-1)
	return float64(sorted[rank]) / float64(time.Microsecond)
}
