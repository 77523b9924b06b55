// Package pushsidecar dials a push-sidecar and reads its errors.
//
// The services and messages are in the packages below this one, one per vendor: xg/v1 for XG. This package knows no
// vendor; it owns what every caller needs around the generated stubs: [Dial] and [ErrorOf]. The rules of the contract
// are checked by the package validate, which has dependencies of its own.
package pushsidecar

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// DefaultTimeout is the deadline of a unary call whose context has none. Retries happen within it.
const DefaultTimeout = 30 * time.Second

// Only calls of which the sidecar promises that UNAVAILABLE before the response headers means "not sent" may be
// repeated: the unary ones, by their names. An error of the sidecar's own says by a trailer that it is not to be repeated,
// except where the sidecar is stopping.
const serviceConfig = `{
  "methodConfig": [
    {"name": [{}], "waitForReady": true},
    {
      "name": [` + unaryMethods + `],
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  ]
}`

// gRPC's own limit of 120 s between two attempts would outlast the deadlines of calls that wait for a restarted sidecar.
var connectParameters = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// The sidecar closes the connection of a client that pings more often than every 20 s.
var keepaliveParameters = keepalive.ClientParameters{Time: 30 * time.Second, PermitWithoutStream: true}

// Dial returns a connection to the sidecar at target, "127.0.0.1:50051" or "unix:/run/push-sidecar/push.sock". It does not
// wait for the sidecar: the first call connects, and calls wait for a sidecar that is not up yet, at most until their
// deadline. Keep one connection for the life of the process, and Close it at the end.
//
// A unary call that ends in UNAVAILABLE because the sidecar was stopping, or was gone, before it sent response headers is
// repeated, at most three times. That is safe: the sidecar sends them just before the first byte for the vendor leaves,
// and a call that has them is never repeated. What the sidecar has tried itself, it tells the library not to repeat. A
// unary call whose context has no deadline gets [DefaultTimeout].
//
// The connection is not encrypted, as befits loopback and unix sockets, and goes through no proxy: HTTPS_PROXY and its like
// are ignored. The options come after these defaults and win
// over them: grpc.WithTransportCredentials turns TLS on, grpc.WithDisableRetry turns the retries off.
func Dial(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	defaults := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(connectParameters),
		grpc.WithKeepaliveParams(keepaliveParameters),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// A service config found in DNS would replace this one, and its retry policy with it.
		grpc.WithDisableServiceConfig(),
		grpc.WithChainUnaryInterceptor(defaultDeadline),
		// HTTPS_PROXY is for the network, and the sidecar is on this host.
		grpc.WithNoProxy(),
	}
	return grpc.NewClient(target, append(defaults, options...)...)
}

func defaultDeadline(
	ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	return invoke(ctx, method, request, reply, conn, options...)
}
