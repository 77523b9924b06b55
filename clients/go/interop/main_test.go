package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

type fakeSidecar struct {
	xgv1.UnimplementedPushServiceServer
	ended chan struct{}
}

func (f fakeSidecar) Push(_ context.Context, request *xgv1.PushRequest) (*xgv1.PushResponse, error) {
	switch request.GetToken() {
	case "good":
		return &xgv1.PushResponse{PushId: "8589934592", Seq: request.GetSeq(), Outcome: xgv1.Outcome_OUTCOME_ACCEPTED}, nil
	case "slow":
		<-f.ended
	}
	st, err := status.New(codes.ResourceExhausted, "quota").WithDetails(
		&errdetails.ErrorInfo{
			Domain: "push-sidecar", Reason: "QUOTA_EXCEEDED", Metadata: map[string]string{
				"sent": "no", "vendor_code": "429", "http_status": "200", "attempts": "2", "push_id": "8589934592",
			},
		},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "token", Reason: "string.max_len", Description: "is too long"},
		}},
	)
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

func serve(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	sidecar := fakeSidecar{ended: make(chan struct{})}
	xgv1.RegisterPushServiceServer(server, sidecar)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		close(sidecar.ended)
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func TestEveryLineIsAnsweredInTurn(t *testing.T) {
	in := `{"name": "a", "request": {"token": "good", "seq": "9007199254740993"}, "timeout_s": null}
{"name": "b", "request": {"token": "bad"}, "timeout_s": 5}
{"name": "c", "request": {"token": "slow"}, "timeout_s": 0.05}
`
	want := []string{
		`{"name": "a", "code": "OK", "message": "", "error": null, "details": [], "trailers": [],
		  "response": {"pushId": "8589934592", "seq": "9007199254740993", "outcome": "OUTCOME_ACCEPTED"}}`,
		`{"name": "b", "code": "RESOURCE_EXHAUSTED", "message": "quota", "response": null,
		  "error": {"reason": "QUOTA_EXCEEDED", "sent": "no", "vendor_code": 429, "retry_after_s": 1.5,
		            "http_status": 200, "attempts": 2, "push_id": "8589934592",
		            "violations": [{"field": "token", "rule": "string.max_len", "description": "is too long"}]},
		  "details": ["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "google.rpc.BadRequest"],
		  "trailers": ["grpc-status-details-bin"]}`,
		`{"name": "c", "code": "DEADLINE_EXCEEDED", "response": null,
		  "error": {"reason": "", "sent": "maybe", "vendor_code": null, "retry_after_s": null, "violations": [],
		            "http_status": null, "attempts": null, "push_id": ""},
		  "details": [], "trailers": []}`,
	}
	var out bytes.Buffer
	if err := run(serve(t), 1, strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %q", len(lines), len(want), lines)
	}
	for i, line := range lines {
		got, want := parsed(t, line), parsed(t, want[i])
		if _, told := want["message"]; !told {
			delete(got, "message") // the text of a gRPC library
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("line %d is %s", i, line)
		}
	}
}

func TestALineThatIsNoPushEndsTheRun(t *testing.T) {
	for _, in := range []string{"{", `{"name": "a", "request": {"no_such_field": 1}}`} {
		if err := run("127.0.0.1:1", 1, strings.NewReader(in), &bytes.Buffer{}); err == nil {
			t.Errorf("%s was taken", in)
		}
	}
}

func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}
