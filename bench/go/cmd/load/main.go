// Command load makes pushes through a sidecar by gRPC, and checks every answer.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/push-sidecar/push-sidecar/bench/go/internal/loadflags"
	"github.com/push-sidecar/push-sidecar/bench/go/internal/xg"
)

// As the clients' helpers do it. A push that takes longer is an error of the run.
const deadline = 30 * time.Second

// The vendor's own limit of a list.
const maxTokens = 1000

func main() {
	target := flag.String("target", "", "address of the sidecar")
	connections := flag.Int("connections", 1, "connections to it")
	app := flag.String("app", "bench", "app of the pushes")
	tokens := flag.Int("tokens", 1, "devices of a push; more than one are a list")
	options := loadflags.Parse()
	if *connections < 1 || *connections > options.InFlight {
		log.Fatal("--connections: 1 to --in-flight")
	}
	if *tokens < 1 || *tokens > maxTokens {
		log.Fatalf("--tokens: 1 to %d", maxTokens)
	}

	clients := make([]xgv1.PushServiceClient, *connections)
	for i := range clients {
		connection, err := grpc.NewClient(*target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			log.Fatal(err)
		}
		defer connection.Close()
		clients[i] = xgv1.NewPushServiceClient(connection)
	}
	request := xg.Request(*app)
	if *tokens > 1 {
		request = xg.ListRequest(*app, *tokens)
	}
	loadflags.RunAndPrint(options, func(ctx context.Context, worker int) error {
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		response, err := clients[worker%len(clients)].Push(ctx, request)
		if err != nil {
			return err
		}
		if response.GetPushId() != xg.PushID || response.GetOutcome() != xgv1.Outcome_OUTCOME_ACCEPTED ||
			*tokens > 1 && len(response.GetResults()) != *tokens {
			return fmt.Errorf("not the upstream's answer: %v", response)
		}
		return nil
	})
}
