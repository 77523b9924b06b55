package pushsidecar_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	typev1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/type/v1"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

func info(reason, sent string, more ...string) *errdetails.ErrorInfo {
	metadata := map[string]string{"sent": sent}
	for i := 0; i < len(more); i += 2 {
		metadata[more[i]] = more[i+1]
	}
	return &errdetails.ErrorInfo{Domain: "push-sidecar", Reason: reason, Metadata: metadata}
}

// received returns the error that a stub returns for this status after a real call.
func received(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	st, err := status.New(code, "text").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	client := dialFake(t, func(context.Context, *xgv1.PushRequest) (*xgv1.PushResponse, error) {
		return nil, st.Err()
	}, grpc.WithDisableRetry())
	_, err = client.Push(t.Context(), &xgv1.PushRequest{})
	if err == nil {
		t.Fatal("the call did not fail")
	}
	return err
}

func TestErrorOfNilIsNil(t *testing.T) {
	if got := pushsidecar.ErrorOf(nil); got != nil {
		t.Errorf("got %v", got)
	}
	if _, ok := pushsidecar.DetailOf[*errdetails.ErrorInfo](nil); ok {
		t.Error("nil has a detail")
	}
}

func TestEverythingThatTheSidecarTellsIsRead(t *testing.T) {
	err := received(t, codes.NotFound,
		&errdetails.ErrorInfo{Domain: "example.com", Reason: "OTHER", Metadata: map[string]string{"sent": "maybe"}},
		info("TARGET_UNKNOWN", "no", "vendor_code", "10303", "vendor_message", "no device", "http_status", "200",
			"attempts", "2", "push_id", "8589934592", "seq", "9007199254740993", "environment", "product"),
		&xgv1.PushResponse{PushId: "8589934592"},
	)
	got := pushsidecar.ErrorOf(err)
	if got.Code != codes.NotFound || got.Message != "text" {
		t.Errorf("status is %v %q", got.Code, got.Message)
	}
	if got.Reason != typev1.ErrorReason_ERROR_REASON_TARGET_UNKNOWN || got.ReasonText != "TARGET_UNKNOWN" {
		t.Errorf("reason is %v, %q", got.Reason, got.ReasonText)
	}
	if got.Sent != pushsidecar.SentNo {
		t.Errorf("sent is %v", got.Sent)
	}
	if got.VendorCode == nil || *got.VendorCode != 10303 || got.VendorMessage != "no device" || got.HTTPStatus != 200 {
		t.Errorf("the vendor's answer is %v %q %d", got.VendorCode, got.VendorMessage, got.HTTPStatus)
	}
	if got.Attempts != 2 || got.PushID != "8589934592" || got.Seq != 9007199254740993 || got.Environment != "product" {
		t.Errorf("the rest is %d %q %d %q", got.Attempts, got.PushID, got.Seq, got.Environment)
	}
	response, ok := pushsidecar.DetailOf[*xgv1.PushResponse](err)
	if !ok || response.GetPushId() != "8589934592" {
		t.Errorf("the response is %v, %t", response, ok)
	}
	if _, ok := pushsidecar.DetailOf[*errdetails.QuotaFailure](err); ok {
		t.Error("a detail that is not there was found")
	}
}

func TestEveryReasonOfTheContractIsKnown(t *testing.T) {
	for number, name := range typev1.ErrorReason_name {
		st, err := status.New(codes.Unknown, "").WithDetails(info(strings.TrimPrefix(name, "ERROR_REASON_"), "maybe"))
		if err != nil {
			t.Fatal(err)
		}
		if got := pushsidecar.ErrorOf(st.Err()).Reason; int32(got) != number {
			t.Errorf("%s is read as %v", name, got)
		}
	}
}

func TestSentIsNoOnlyWhenTheSidecarSaysSo(t *testing.T) {
	withInfo := func(details ...protoadapt.MessageV1) error {
		st, err := status.New(codes.Unavailable, "").WithDetails(details...)
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	foreign := info("NOT_SENT", "no")
	foreign.Domain = "example.com"
	tests := map[string]struct {
		err  error
		want pushsidecar.Sent
	}{
		"no":                       {withInfo(info("NOT_SENT", "no")), pushsidecar.SentNo},
		"wrapped no":               {fmt.Errorf("push: %w", withInfo(info("NOT_SENT", "no"))), pushsidecar.SentNo},
		"reason of a newer server": {withInfo(info("NEW_ONE", "no")), pushsidecar.SentNo},
		"maybe":                    {withInfo(info("OUTCOME_UNKNOWN", "maybe")), pushsidecar.SentMaybe},
		"a word not known":         {withInfo(info("NOT_SENT", "No")), pushsidecar.SentMaybe},
		"no word":                  {withInfo(&errdetails.ErrorInfo{Domain: "push-sidecar", Reason: "NOT_SENT"}), pushsidecar.SentMaybe},
		"of another domain":        {withInfo(foreign), pushsidecar.SentMaybe},
		"no details":               {status.Error(codes.Unavailable, "connection reset"), pushsidecar.SentMaybe},
		"context":                  {context.DeadlineExceeded, pushsidecar.SentMaybe},
		"any error":                {errors.New("x"), pushsidecar.SentMaybe},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := pushsidecar.ErrorOf(test.err).Sent; got != test.want {
				t.Errorf("sent is %v, want %v", got, test.want)
			}
		})
	}
}

func TestErrorsThatAreNoStatusHaveACode(t *testing.T) {
	for err, want := range map[error]codes.Code{
		context.DeadlineExceeded: codes.DeadlineExceeded,
		context.Canceled:         codes.Canceled,
		errors.New("x"):          codes.Unknown,
	} {
		if got := pushsidecar.ErrorOf(err).Code; got != want {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}

func TestViolationsAndDelayAreRead(t *testing.T) {
	got := pushsidecar.ErrorOf(received(t, codes.InvalidArgument, info("INVALID_REQUEST", "no"),
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "token_list.tokens[3]", Reason: "string.max_len", Description: "must be at most 64 characters"},
		}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	))
	want := []pushsidecar.Violation{
		{Field: "token_list.tokens[3]", Rule: "string.max_len", Description: "must be at most 64 characters"},
	}
	if !slices.Equal(got.Violations, want) {
		t.Errorf("violations are %v", got.Violations)
	}
	if got.RetryAfter == nil || *got.RetryAfter != 1500*time.Millisecond {
		t.Errorf("delay is %v", got.RetryAfter)
	}
}

func TestVendorCodeZeroIsACode(t *testing.T) {
	zero := pushsidecar.ErrorOf(received(t, codes.Unknown, info("OUTCOME_UNKNOWN", "maybe", "vendor_code", "0"))).VendorCode
	if zero == nil || *zero != 0 {
		t.Errorf("vendor code 0 is read as %v", zero)
	}
	none := pushsidecar.ErrorOf(received(t, codes.Unknown, info("OUTCOME_UNKNOWN", "maybe"))).VendorCode
	if none != nil {
		t.Errorf("no vendor code is read as %d", *none)
	}
}

func TestTextOfAnErrorIsSafeToLog(t *testing.T) {
	const secret = "token-of-someone"
	tests := map[string]struct {
		err  *pushsidecar.Error
		want string
	}{
		"of the vendor": {
			err: &pushsidecar.Error{
				Code: codes.NotFound, Message: secret, ReasonText: "TARGET_UNKNOWN", Sent: pushsidecar.SentNo,
				VendorCode: proto.Int32(10110), VendorMessage: secret,
			},
			want: "push-sidecar: NOT_FOUND TARGET_UNKNOWN sent=no vendor_code=10110",
		},
		"of the request": {
			err: &pushsidecar.Error{
				Code: codes.InvalidArgument, ReasonText: "INVALID_REQUEST", Sent: pushsidecar.SentNo,
				Violations: []pushsidecar.Violation{{"a", "r1", "is bad"}, {"b", "r2", "is bad"}, {"c", "r3", "is bad"}, {"d", "r4", "is bad"}},
			},
			want: "push-sidecar: INVALID_ARGUMENT INVALID_REQUEST sent=no (a: is bad [r1]; b: is bad [r2]; c: is bad [r3]; 1 more)",
		},
		"of a library": {
			err:  pushsidecar.ErrorOf(fmt.Errorf("push to %s: %w", secret, status.Error(codes.Unavailable, "connection refused"))),
			want: "push-sidecar: UNAVAILABLE, not from the sidecar, sent=maybe: connection refused",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, format := range []string{"%s", "%v", "%+v", "%#v"} {
				if got := fmt.Sprintf(format, test.err); got != test.want {
					t.Errorf("%s is %q, want %q", format, got, test.want)
				}
			}
		})
	}
}

func TestAnErrorKeepsItsCause(t *testing.T) {
	cause := status.Error(codes.Unknown, "x")
	var err error = pushsidecar.ErrorOf(cause)
	if !errors.Is(err, cause) || status.Code(err) != codes.Unknown {
		t.Errorf("%v lost its cause", err)
	}
	again := pushsidecar.ErrorOf(err)
	if again.Code != codes.Unknown {
		t.Errorf("read twice, the code is %v", again.Code)
	}
}
