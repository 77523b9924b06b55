// Package loadflags reads the flags that the load generators share, runs the load and prints the report.
package loadflags

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/push-sidecar/push-sidecar/bench/go/internal/closedloop"
)

// Beyond these a run is a mistake.
const (
	maxInFlight = 4096
	maxWindow   = 10 * time.Minute
)

// Options are complete once Parse has returned.
var (
	inFlight = flag.Int("in-flight", 32, "pushes kept in flight")
	seconds  = flag.Float64("seconds", 5, "length of the measured window")
	warmUp   = flag.Float64("warm-up", 1, "seconds before the window")
	pushes   = flag.Int("max-pushes", 1_000_000, "ends the window early")
	pids     = flag.String("pids", "", "processes whose CPU is measured, server first, separated by commas")
)

// Parse reads the command line.
func Parse() closedloop.Options {
	flag.Parse()
	options := closedloop.Options{
		InFlight: *inFlight, WarmUp: time.Duration(*warmUp * float64(time.Second)),
		Window: time.Duration(*seconds * float64(time.Second)), MaxPushes: *pushes,
	}
	if options.InFlight < 1 || options.InFlight > maxInFlight || options.Window <= 0 || options.Window > maxWindow ||
		options.WarmUp < 0 || options.WarmUp > maxWindow || options.MaxPushes < 1 {
		log.Fatalf("in flight 1 to %d, window up to %s, at least one push", maxInFlight, maxWindow)
	}
	if *pids != "" {
		for _, text := range strings.Split(*pids, ",") {
			pid, err := strconv.Atoi(text)
			if err != nil {
				log.Fatalf("--pids: %v", err)
			}
			options.PIDs = append(options.PIDs, pid)
		}
	}
	return options
}

// RunAndPrint makes the load and writes the report as one line of JSON.
func RunAndPrint(options closedloop.Options, push func(ctx context.Context, worker int) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := closedloop.Run(ctx, options, push)
	if err != nil {
		log.Fatal(err)
	}
	if ctx.Err() != nil {
		log.Fatal("interrupted")
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		log.Fatal(err)
	}
}
