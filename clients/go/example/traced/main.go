// Command traced pushes one Android notification as a step of an order, in a trace of its own OpenTelemetry SDK:
//
//	go run . TARGET TOKEN [EVERY]
//
// With EVERY ("500ms") it goes on until it is stopped, as a service would, one order after the other. The standard
// OTEL_* variables say where the trace goes (over gRPC), and what the service is called.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
)

const usage = "usage: traced TARGET TOKEN [EVERY]  (TARGET: 127.0.0.1:50051 or unix:/run/push-sidecar/push.sock)"

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	var every time.Duration
	if len(os.Args) == 4 {
		var err error
		if every, err = time.ParseDuration(os.Args[3]); err != nil || every <= 0 {
			fmt.Fprintln(os.Stderr, usage)
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], every); err != nil {
		stop()
		log.Fatal(err)
	}
}

func run(ctx context.Context, target, token string, every time.Duration) (err error) {
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	defer func() {
		// What has not been sent yet is sent now, also when the run was stopped.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if problem := provider.Shutdown(ending); err == nil {
			err = problem
		}
	}()
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{}) // the sidecar goes on from `traceparent`

	conn, err := pushsidecar.Dial(target, grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := xgv1.NewPushServiceClient(conn)
	for {
		err := shipOrder(ctx, client, token)
		if every == 0 {
			return err
		}
		if err != nil && ctx.Err() == nil {
			log.Println(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// shipOrder stands for what the application does; the push is one step of it.
func shipOrder(ctx context.Context, client xgv1.PushServiceClient, token string) error {
	ctx, span := otel.Tracer("traced").Start(ctx, "ship order")
	defer span.End()
	fmt.Println("trace_id", span.SpanContext().TraceID())
	response, err := client.Push(ctx, &xgv1.PushRequest{
		Audience: &xgv1.PushRequest_Token{Token: token},
		Message: &xgv1.PushRequest_AndroidNotification{
			AndroidNotification: &xgv1.AndroidNotification{Title: "Hello", Content: "Your order is on its way."},
		},
	})
	if failure := pushsidecar.ErrorOf(err); failure != nil {
		span.SetStatus(codes.Error, failure.ReasonText)
		return failure
	}
	fmt.Println("push_id", response.GetPushId())
	return nil
}
