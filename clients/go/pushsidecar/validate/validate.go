// Package validate checks requests against the rules of the contract before they are sent.
//
// The sidecar makes the same checks; to make them here saves a round trip and finds the mistake where it is made. Those
// that need a parser or the sidecar's configuration (JSON texts, the app, the rendered size) are the sidecar's alone.
package validate

import (
	"errors"
	"fmt"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	"google.golang.org/protobuf/proto"
)

// Violations returns every broken rule of a request, with the fields and rule ids that the sidecar would report; none
// when the request is valid. An error means that the check itself could not be made.
func Violations(request proto.Message) ([]pushsidecar.Violation, error) {
	err := protovalidate.Validate(request)
	if err == nil {
		return nil, nil
	}
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) {
		return nil, fmt.Errorf("check of %s: %w", request.ProtoReflect().Descriptor().FullName(), err)
	}
	found := make([]pushsidecar.Violation, 0, len(broken.Violations))
	for _, v := range broken.Violations {
		found = append(found, pushsidecar.Violation{
			Field: path(v.Proto), Rule: v.Proto.GetRuleId(), Description: v.Proto.GetMessage(),
		})
	}
	return found, nil
}

func path(v *validate.Violation) string {
	parent := protovalidate.FieldPathString(v.GetField())
	leaf, _, named := strings.Cut(v.GetRuleId(), ".")
	// A rule across fields has the path of its message; the contract names the field in the id.
	if acrossFields := v.GetRule() == nil && named; !acrossFields {
		return parent
	}
	if parent == "" {
		return leaf
	}
	return parent + "." + leaf
}
