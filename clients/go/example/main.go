// Command example pushes one Android notification: go run ./example [-address unix:/run/push-sidecar.sock] TOKEN
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
)

func main() {
	address := flag.String("address", cmp.Or(os.Getenv("PUSH_SIDECAR_ADDRESS"), "127.0.0.1:50051"), "the sidecar")
	flag.Parse()
	conn, err := pushsidecar.Dial(*address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer conn.Close()

	response, err := xgv1.NewPushServiceClient(conn).Push(context.Background(), &xgv1.PushRequest{
		Audience: &xgv1.PushRequest_Token{Token: flag.Arg(0)},
		Message: &xgv1.PushRequest_AndroidNotification{
			AndroidNotification: &xgv1.AndroidNotification{Title: "Hello", Content: "Your order is on its way."},
		},
	})
	if failure := pushsidecar.ErrorOf(err); failure != nil {
		fmt.Fprintln(os.Stderr, failure)
		fmt.Fprintf(os.Stderr, "reason %s, may be sent again: %t\n", failure.Reason, failure.Sent == pushsidecar.SentNo)
		os.Exit(1)
	}
	fmt.Println("push_id", response.GetPushId())
}
