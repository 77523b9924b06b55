// Command gosidecar is the least that a sidecar in Go has to do for a push: decode, validate by the contract's own rules,
// render, post over kept connections, read, answer. It has no telemetry, no admission, no retry, no error details and
// knows only tokens and one message, so it is a floor to compare with and not a product.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"buf.build/go/protovalidate"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/push-sidecar/push-sidecar/bench/go/internal/vendor"
	"github.com/push-sidecar/push-sidecar/bench/go/internal/xg"
)

type service struct {
	xgv1.UnimplementedPushServiceServer
	validator protovalidate.Validator
	client    *vendor.Client
}

func (s *service) Push(ctx context.Context, request *xgv1.PushRequest) (*xgv1.PushResponse, error) {
	if err := s.validator.Validate(request); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	body, err := xg.Render(request)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Post(ctx, body)
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	response, err := xg.Read(answer, request)
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	return response, nil
}

func main() {
	baseURL := flag.String("base-url", "", "of the upstream")
	caFile := flag.String("ca-file", "", "CA of the upstream")
	maxConns := flag.Int("max-conns", 256, "connections to the upstream")
	flag.Parse()

	validator, err := protovalidate.New(protovalidate.WithMessages(&xgv1.PushRequest{}))
	if err != nil {
		log.Fatal(err)
	}
	client, err := vendor.New(*baseURL, *caFile, *maxConns)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	xgv1.RegisterPushServiceServer(server, &service{validator: validator, client: client})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	fmt.Printf("{\"grpc\": %q}\n", listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
