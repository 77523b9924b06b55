// Command direct calls the upstream itself, as a Go program without any sidecar would: the floor of latency. The CPU per
// push that it measures is its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/push-sidecar/push-sidecar/bench/go/internal/loadflags"
	"github.com/push-sidecar/push-sidecar/bench/go/internal/vendor"
	"github.com/push-sidecar/push-sidecar/bench/go/internal/xg"
)

func main() {
	baseURL := flag.String("base-url", "", "of the upstream")
	caFile := flag.String("ca-file", "", "CA of the upstream")
	options := loadflags.Parse()
	options.PIDs = append([]int{os.Getpid()}, options.PIDs...)
	client, err := vendor.New(*baseURL, *caFile, options.InFlight)
	if err != nil {
		log.Fatal(err)
	}
	request := xg.Request("bench")
	loadflags.RunAndPrint(options, func(ctx context.Context, _ int) error {
		body, err := xg.Render(request)
		if err != nil {
			return err
		}
		answer, err := client.Post(ctx, body)
		if err != nil {
			return err
		}
		response, err := xg.Read(answer, request)
		if err == nil && response.GetPushId() != xg.PushID {
			err = fmt.Errorf("not the upstream's answer: %s", answer)
		}
		return err
	})
}
