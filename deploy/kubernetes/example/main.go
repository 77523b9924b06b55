// Command example is an application beside a push-sidecar: as a service it tells a customer that an order was shipped,
// as a job it does so once.
//
//	example serve              POST /orders/{order}/shipped?token=TOKEN on LISTEN (default :8080), until SIGTERM
//	example push ORDER TOKEN   one push; exit status 1 when it was refused, or may have been lost
//
// PUSH_TARGET is the sidecar's address, 127.0.0.1:50051 by default.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
)

// How long requests in flight may take after SIGTERM: below the 30 s that the pod's terminationGracePeriodSeconds
// leaves to the application. The sidecar is stopped after it, so these requests still push.
const shutdownGrace = 25 * time.Second

const pushTimeout = 20 * time.Second

func main() {
	log.SetFlags(0)
	conn, err := pushsidecar.Dial(cmp.Or(os.Getenv("PUSH_TARGET"), "127.0.0.1:50051"))
	if err != nil {
		log.Fatal(err)
	}
	shop := &shop{xgv1.NewPushServiceClient(conn)}
	switch arguments := os.Args[1:]; {
	case len(arguments) == 1 && arguments[0] == "serve":
		err = shop.serve(cmp.Or(os.Getenv("LISTEN"), ":8080"))
	case len(arguments) == 3 && arguments[0] == "push":
		var pushID string
		if pushID, err = shop.tellShipped(context.Background(), arguments[1], arguments[2]); err == nil {
			log.Println("push_id", pushID)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: example serve | example push ORDER TOKEN")
		os.Exit(2)
	}
	conn.Close()
	if err != nil {
		log.Fatal(err)
	}
}

type shop struct {
	pushes xgv1.PushServiceClient
}

// tellShipped pushes to the device of an order's customer. The request id is made of the order, so that the call may be
// repeated: as long as the sidecar knows the id, the customer is told once.
func (s *shop) tellShipped(ctx context.Context, order, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	response, err := s.pushes.Push(ctx, &xgv1.PushRequest{
		RequestId: "shipped-" + order,
		Audience:  &xgv1.PushRequest_Token{Token: token},
		Message: &xgv1.PushRequest_AndroidNotification{
			AndroidNotification: &xgv1.AndroidNotification{Title: "Hello", Content: "Your order is on its way."},
		},
	})
	if failure := pushsidecar.ErrorOf(err); failure != nil {
		if failure.Sent == pushsidecar.SentNo {
			return "", fmt.Errorf("nothing was pushed: %w", failure)
		}
		return "", fmt.Errorf("it may have gone out: %w", failure)
	}
	return response.GetPushId(), nil
}

// serve answers until SIGTERM, and then what is in flight.
func (s *shop) serve(address string) error {
	stopped, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /orders/{order}/shipped", func(w http.ResponseWriter, r *http.Request) {
		pushID, err := s.tellShipped(r.Context(), r.PathValue("order"), r.URL.Query().Get("token"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, "push_id", pushID)
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	log.Println("serving on", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-stopped.Done():
	}
	ctx, cancelGrace := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancelGrace()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(errors.New("requests were cut off"), err)
	}
	return nil
}
