package closedloop

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestQuantileIsTheSmallestValueThatEnoughDoNotExceed(t *testing.T) {
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i+1)*time.Microsecond)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(sorted, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing: %v", got)
	}
}

func TestRunKeepsTheNumberInFlightAndEndsAtMaxPushes(t *testing.T) {
	var now, most atomic.Int64
	report, err := Run(context.Background(), Options{InFlight: 4, Window: time.Minute, MaxPushes: 50},
		func(context.Context, int) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Millisecond)
			now.Add(-1)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if report.Pushes < 50 || report.Pushes > 54 {
		t.Errorf("%d pushes counted, want about 50", report.Pushes)
	}
	if most.Load() > 4 {
		t.Errorf("%d in flight, want at most 4", most.Load())
	}
	if report.Errors != 0 || report.P50Us < 1000 {
		t.Errorf("unexpected report: %+v", report)
	}
}

func TestRunEndsWhenEverythingFails(t *testing.T) {
	report, err := Run(context.Background(), Options{InFlight: 8, WarmUp: time.Minute, Window: time.Minute, MaxPushes: 1},
		func(context.Context, int) error { return errors.New("refused") })
	if err != nil {
		t.Fatal(err)
	}
	if report.Pushes != 0 || report.Errors < 100 || report.FirstError != "refused" {
		t.Errorf("unexpected report: %+v", report)
	}
}
