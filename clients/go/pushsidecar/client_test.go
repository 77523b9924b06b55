package pushsidecar_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func accept(context.Context, *xgv1.PushRequest) (*xgv1.PushResponse, error) {
	return &xgv1.PushResponse{PushId: "8589934592"}, nil
}

func TestDialReachesTCPAndUnixSockets(t *testing.T) {
	tcp := listen(t)
	serve(t, tcp, accept)
	unix, path := listenUnix(t)
	serve(t, unix, accept)
	for _, target := range []string{tcp.Addr().String(), "unix:" + path, "unix://" + path} {
		response, err := dial(t, target).Push(t.Context(), &xgv1.PushRequest{})
		if err != nil || response.GetPushId() != "8589934592" {
			t.Errorf("%s: %v, %v", target, response, err)
		}
	}
}

// failFirst makes the first connection fail.
func failFirst() grpc.DialOption {
	var attempts atomic.Int32
	return grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		if attempts.Add(1) == 1 {
			return nil, errors.New("not up yet")
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	})
}

func TestCallWaitsForASidecarThatIsNotUpYet(t *testing.T) {
	for name, test := range map[string]struct {
		options []grpc.CallOption
		want    codes.Code
	}{
		"by default":         {want: codes.OK},
		"not when asked not": {options: []grpc.CallOption{grpc.WaitForReady(false)}, want: codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener := listen(t)
			serve(t, listener, accept)
			client := dial(t, listener.Addr().String(), grpc.WithDisableRetry(), failFirst())
			_, err := client.Push(t.Context(), &xgv1.PushRequest{}, test.options...)
			if status.Code(err) != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestUnavailableIsRepeatedThreeTimesAtMost(t *testing.T) {
	tests := map[string]struct {
		failures  int32
		code      codes.Code
		headers   bool
		wantCalls int32
		wantCode  codes.Code
	}{
		"not sent, then accepted":  {failures: 1, code: codes.Unavailable, wantCalls: 2, wantCode: codes.OK},
		"not sent every time":      {failures: 9, code: codes.Unavailable, wantCalls: 4, wantCode: codes.Unavailable},
		"after headers, as begun":  {failures: 9, code: codes.Unavailable, headers: true, wantCalls: 1, wantCode: codes.Unavailable},
		"another code, as unknown": {failures: 9, code: codes.Unknown, wantCalls: 1, wantCode: codes.Unknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			client := dialFake(t, func(ctx context.Context, _ *xgv1.PushRequest) (*xgv1.PushResponse, error) {
				if test.headers {
					if err := grpc.SendHeader(ctx, metadata.MD{}); err != nil {
						return nil, err
					}
				}
				if calls.Add(1) <= test.failures {
					return nil, status.Error(test.code, "scripted")
				}
				return &xgv1.PushResponse{}, nil
			})
			_, err := client.Push(t.Context(), &xgv1.PushRequest{})
			if status.Code(err) != test.wantCode || calls.Load() != test.wantCalls {
				t.Errorf("%d calls and %v, want %d and %v", calls.Load(), err, test.wantCalls, test.wantCode)
			}
		})
	}
}

// laterMethod stands for one of a newer sidecar, of which no promise about headers is known here.
const laterMethod = "/pushsidecar.xg.v1.PushService/Later"

// serveEveryMethod answers calls of every method the same, and counts them.
func serveEveryMethod(t *testing.T, answer error) (target string, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	listener := listen(t)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		calls.Add(1)
		if answer != nil {
			return answer
		}
		return stream.SendMsg(&xgv1.PushResponse{})
	}))
	serveOn(t, listener, server)
	return listener.Addr().String(), calls
}

func TestOnlyAMethodOfWhichThePromiseIsKnownIsRepeated(t *testing.T) {
	for method, want := range map[string]int32{
		xgv1.PushService_Push_FullMethodName: 4,
		laterMethod:                          1,
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			target, calls := serveEveryMethod(t, status.Error(codes.Unavailable, "scripted"))
			err := dialConn(t, target).Invoke(t.Context(), method, &xgv1.PushRequest{}, &xgv1.PushResponse{})
			if status.Code(err) != codes.Unavailable || calls.Load() != want {
				t.Errorf("%d calls and %v, want %d", calls.Load(), err, want)
			}
		})
	}
}

func TestCallOfAnyMethodWaitsForASidecarThatIsNotUpYet(t *testing.T) {
	target, _ := serveEveryMethod(t, nil)
	conn := dialConn(t, target, grpc.WithDisableRetry(), failFirst())
	if err := conn.Invoke(t.Context(), laterMethod, &xgv1.PushRequest{}, &xgv1.PushResponse{}); err != nil {
		t.Error(err)
	}
}

func TestSidecarThatStaysDownIsAnErrorOfTheLibraryAndMaybe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	client := dial(t, "unix:"+filepath.Join(t.TempDir(), "nobody.sock"))
	_, err := client.Push(ctx, &xgv1.PushRequest{})
	got := pushsidecar.ErrorOf(err)
	if got == nil || got.Code != codes.DeadlineExceeded || got.Sent != pushsidecar.SentMaybe || got.ReasonText != "" {
		t.Errorf("got %v", err)
	}
}

func TestOptionsOfTheCallerWin(t *testing.T) {
	var calls atomic.Int32
	client := dialFake(t, func(context.Context, *xgv1.PushRequest) (*xgv1.PushResponse, error) {
		calls.Add(1)
		return nil, status.Error(codes.Unavailable, "scripted")
	}, grpc.WithDisableRetry())
	if _, err := client.Push(t.Context(), &xgv1.PushRequest{}); err == nil || calls.Load() != 1 {
		t.Errorf("%d calls and %v, want one that fails", calls.Load(), err)
	}
}

func TestDeadlineIsTheCallersOrTheDefault(t *testing.T) {
	tests := map[string]struct {
		timeout time.Duration
		want    time.Duration
	}{
		"none":           {want: pushsidecar.DefaultTimeout},
		"shorter":        {timeout: 10 * time.Second, want: 10 * time.Second},
		"longer is kept": {timeout: time.Minute, want: time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			left := make(chan time.Duration, 1)
			client := dialFake(t, func(ctx context.Context, _ *xgv1.PushRequest) (*xgv1.PushResponse, error) {
				deadline, _ := ctx.Deadline()
				left <- time.Until(deadline)
				return &xgv1.PushResponse{}, nil
			})
			ctx := t.Context()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			if _, err := client.Push(ctx, &xgv1.PushRequest{}); err != nil {
				t.Fatal(err)
			}
			// The slack is the time that the call took to get there.
			if got := <-left; got > test.want || got < test.want-5*time.Second {
				t.Errorf("the server sees %v left, want %v", got, test.want)
			}
		})
	}
}
