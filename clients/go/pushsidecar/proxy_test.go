package pushsidecar_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
)

const behindProxy = "PUSH_SIDECAR_TEST_BEHIND_PROXY"

// The proxy's variables are read once for a process, so the call is made in a process of its own.
func TestDialIgnoresTheProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv(behindProxy) != "" {
		pushBesideTheProxy(t)
		return
	}
	proxy := listen(t)
	asked := make(chan bool, 1)
	go func() {
		conn, err := proxy.Accept()
		asked <- err == nil
		if err == nil {
			_ = conn.Close()
		}
	}()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	child.Env = []string{behindProxy + "=1", "HTTPS_PROXY=http://" + proxy.Addr().String()}
	output, err := child.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if err := proxy.Close(); err != nil {
		t.Error(err)
	}
	if <-asked {
		t.Error("the proxy was asked")
	}
}

func pushBesideTheProxy(t *testing.T) {
	listener := listen(t)
	serve(t, listener, accept)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// This address leads to this host too, and unlike 127.0.0.1 is none that proxies are never asked for.
	client := dial(t, net.JoinHostPort("0.0.0.0", port))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := client.Push(ctx, &xgv1.PushRequest{}); err != nil {
		t.Error(err)
	}
}
