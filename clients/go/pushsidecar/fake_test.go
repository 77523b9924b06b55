package pushsidecar_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/grpc"
)

// fakeSidecar answers every push with one function.
type fakeSidecar struct {
	xgv1.UnimplementedPushServiceServer
	push func(context.Context, *xgv1.PushRequest) (*xgv1.PushResponse, error)
}

func (f *fakeSidecar) Push(ctx context.Context, request *xgv1.PushRequest) (*xgv1.PushResponse, error) {
	return f.push(ctx, request)
}

type pushFunc func(context.Context, *xgv1.PushRequest) (*xgv1.PushResponse, error)

func serve(t *testing.T, listener net.Listener, push pushFunc) {
	t.Helper()
	server := grpc.NewServer()
	xgv1.RegisterPushServiceServer(server, &fakeSidecar{push: push})
	serveOn(t, listener, server)
}

func serveOn(t *testing.T, listener net.Listener, server *grpc.Server) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func listenUnix(t *testing.T) (net.Listener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return listener, path
}

func dial(t *testing.T, target string, options ...grpc.DialOption) xgv1.PushServiceClient {
	t.Helper()
	return xgv1.NewPushServiceClient(dialConn(t, target, options...))
}

func dialConn(t *testing.T, target string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := pushsidecar.Dial(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func dialFake(t *testing.T, push pushFunc, options ...grpc.DialOption) xgv1.PushServiceClient {
	t.Helper()
	listener := listen(t)
	serve(t, listener, push)
	return dial(t, listener.Addr().String(), options...)
}
