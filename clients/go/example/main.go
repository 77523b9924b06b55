// Command example pushes one Android notification: go run ./example TARGET TOKEN
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: example TARGET TOKEN  (TARGET: 127.0.0.1:50051 or unix:/run/push-sidecar/push.sock)")
		os.Exit(2)
	}
	target, token := os.Args[1], os.Args[2]
	conn, err := pushsidecar.Dial(target)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	response, err := xgv1.NewPushServiceClient(conn).Push(context.Background(), &xgv1.PushRequest{
		Audience: &xgv1.PushRequest_Token{Token: token},
		Message: &xgv1.PushRequest_AndroidNotification{
			AndroidNotification: &xgv1.AndroidNotification{Title: "Hello", Content: "Your order is on its way."},
		},
	})
	if failure := pushsidecar.ErrorOf(err); failure != nil {
		outcome := "it may have gone out"
		if failure.Sent == pushsidecar.SentNo {
			outcome = "nothing was pushed"
		}
		log.Fatalln(failure, "-", outcome)
	}
	fmt.Println("push_id", response.GetPushId())
}
