package pushsidecar

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	typev1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/type/v1"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	errorDomain  = "push-sidecar"
	reasonPrefix = "ERROR_REASON_"
	// More would not be read in a log line.
	violationsInText = 3
)

// Sent says whether a push that failed may have gone out nevertheless.
type Sent int

const (
	// SentMaybe: the vendor may have acted. To send again may push twice; that is the caller's decision.
	SentMaybe Sent = iota
	// SentNo: proven that nothing was pushed. To send again cannot push twice, but may fail for the same reason.
	SentNo
)

// String returns "no" or "maybe".
func (s Sent) String() string {
	if s == SentNo {
		return "no"
	}
	return "maybe"
}

// Violation is one broken rule of the contract.
type Violation struct {
	// Field is the path of the field: token_list.tokens[3].
	Field string
	// Rule is the id of the rule: string.max_len.
	Rule string
	// Description says it in words, without the value.
	Description string
}

// Error is what the sidecar tells about a call that failed. Fields that it did not tell are zero.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Message is the text of the gRPC status.
	Message string
	// Reason is unspecified when the error was made by a gRPC library, or when the sidecar is newer than this package
	// and has a reason that it does not know; ReasonText tells the two apart.
	Reason typev1.ErrorReason
	// ReasonText is the reason as sent: TARGET_UNKNOWN. Empty when the error was not made by the sidecar.
	ReasonText string
	// Sent says whether the push may have gone out.
	Sent Sent
	// VendorCode is the vendor's return code, or nil.
	VendorCode *int32
	// VendorMessage is the vendor's text.
	VendorMessage string
	// HTTPStatus is the status of the vendor's answer.
	HTTPStatus int
	// Attempts is the number of calls made to the vendor.
	Attempts int
	// PushID is the id that the vendor gave the push.
	PushID string
	// Seq is the seq of the request, as the vendor echoed it.
	Seq int64
	// Environment is the environment as the vendor echoed it.
	Environment string
	// RetryAfter says how long to wait before the push is sent again, or is nil.
	RetryAfter *time.Duration
	// Violations are the broken rules, at most 20.
	Violations []Violation

	cause error
}

// ErrorOf reads an error that a stub returned, wrapped or not. It returns nil for nil. An error that was not made by the
// sidecar, such as a lost connection, says nothing about the push: its Sent is SentMaybe.
//
// Do not return the result as an error without a check: a nil *Error in an error is not nil.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	st := statusOf(err)
	result := &Error{Code: st.Code(), Message: st.Message(), cause: err}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain {
				result.readInfo(detail)
			}
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				result.Violations = append(result.Violations, Violation{v.GetField(), v.GetReason(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			if detail.GetRetryDelay() != nil {
				delay := detail.GetRetryDelay().AsDuration()
				result.RetryAfter = &delay
			}
		}
	}
	return result
}

// DetailOf returns the first detail of type T of an error that a stub returned: *errdetails.QuotaFailure,
// *errdetails.ResourceInfo, or, for a list of which every target failed, the vendor's response (*xgv1.PushResponse).
func DetailOf[T proto.Message](err error) (detail T, ok bool) {
	if err == nil {
		return detail, false
	}
	for _, each := range statusOf(err).Details() {
		if detail, ok = each.(T); ok {
			return detail, true
		}
	}
	return detail, false
}

// Error returns one line for a log. It has no target, title or content of the push.
func (e *Error) Error() string {
	text := "push-sidecar: " + codeName(e.Code)
	if e.ReasonText == "" {
		return fmt.Sprintf("%s, not from the sidecar, sent=%s: %s", text, e.Sent, e.Message)
	}
	text += fmt.Sprintf(" %s sent=%s", e.ReasonText, e.Sent)
	if e.VendorCode != nil {
		text += fmt.Sprintf(" vendor_code=%d", *e.VendorCode)
	}
	if len(e.Violations) > 0 {
		shown := e.Violations[:min(len(e.Violations), violationsInText)]
		parts := make([]string, 0, len(shown)+1)
		for _, v := range shown {
			parts = append(parts, fmt.Sprintf("%s: %s [%s]", v.Field, v.Description, v.Rule))
		}
		if more := len(e.Violations) - len(shown); more > 0 {
			parts = append(parts, fmt.Sprintf("%d more", more))
		}
		text += " (" + strings.Join(parts, "; ") + ")"
	}
	return text
}

// GoString keeps what the vendor answered out of %#v.
func (e *Error) GoString() string { return e.Error() }

// Unwrap returns the error that ErrorOf was given.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) readInfo(info *errdetails.ErrorInfo) {
	metadata := info.GetMetadata()
	e.ReasonText = info.GetReason()
	e.Reason = typev1.ErrorReason(typev1.ErrorReason_value[reasonPrefix+e.ReasonText])
	if metadata["sent"] == "no" {
		e.Sent = SentNo
	}
	// Numbers that do not parse stay zero: they are for people, and must not hide the rest.
	if vendorCode, err := strconv.ParseInt(metadata["vendor_code"], 10, 32); err == nil {
		e.VendorCode = proto.Int32(int32(vendorCode))
	}
	e.VendorMessage = metadata["vendor_message"]
	e.HTTPStatus, _ = strconv.Atoi(metadata["http_status"])
	e.Attempts, _ = strconv.Atoi(metadata["attempts"])
	e.PushID = metadata["push_id"]
	e.Seq, _ = strconv.ParseInt(metadata["seq"], 10, 64)
	e.Environment = metadata["environment"]
}

// statusOf is status.FromError without the texts of wrapping errors, which may name a target.
func statusOf(err error) *status.Status {
	var carrier interface{ GRPCStatus() *status.Status }
	if errors.As(err, &carrier) {
		if st := carrier.GRPCStatus(); st.Code() != codes.OK {
			return st
		}
	}
	return status.FromContextError(err)
}

func codeName(c codes.Code) string { return code.Code(c).String() }
