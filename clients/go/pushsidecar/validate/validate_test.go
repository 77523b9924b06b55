package validate_test

import (
	"slices"
	"testing"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar"
	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/validate"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
)

func message() *xgv1.PushRequest_AndroidMessage {
	return &xgv1.PushRequest_AndroidMessage{AndroidMessage: &xgv1.AndroidMessage{Title: "t", Content: "c"}}
}

func TestFieldsAreNamedAsTheSidecarNamesThem(t *testing.T) {
	tests := map[string]struct {
		request *xgv1.PushRequest
		want    []pushsidecar.Violation
	}{
		"valid": {
			request: &xgv1.PushRequest{Audience: &xgv1.PushRequest_Token{Token: "a"}, Message: message()},
		},
		"list element": {
			request: &xgv1.PushRequest{
				Audience: &xgv1.PushRequest_TokenList{TokenList: &xgv1.TokenList{Tokens: []string{"a", "b c"}}},
				Message:  message(),
			},
			want: []pushsidecar.Violation{{Field: "token_list.tokens[1]", Rule: "string.pattern"}},
		},
		"oneof": {
			request: &xgv1.PushRequest{Message: message()},
			want:    []pushsidecar.Violation{{Field: "audience", Rule: "required"}},
		},
		"across fields": {
			request: &xgv1.PushRequest{
				Audience: &xgv1.PushRequest_Token{Token: "a"}, Message: message(), Loop: &xgv1.Loop{Times: 1, IntervalDays: 1},
			},
			want: []pushsidecar.Violation{{Field: "loop", Rule: "loop.all_or_tag_only"}},
		},
		"across fields of an inner message": {
			request: &xgv1.PushRequest{
				Audience: &xgv1.PushRequest_Token{Token: "a"},
				Message:  &xgv1.PushRequest_IosNotification{IosNotification: &xgv1.IosNotification{}},
			},
			want: []pushsidecar.Violation{{Field: "ios_notification.alert", Rule: "alert.some_text"}},
		},
		"own rule of one field": {
			request: &xgv1.PushRequest{
				Audience: &xgv1.PushRequest_TokenList{TokenList: &xgv1.TokenList{Tokens: []string{"a"}}},
				Message:  message(), PushId: "x",
			},
			want: []pushsidecar.Violation{{Field: "push_id", Rule: "push_id.decimal"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			found, err := validate.Violations(test.request)
			if err != nil {
				t.Fatal(err)
			}
			for i := range found {
				if found[i].Description == "" {
					t.Errorf("%s has no description", found[i].Rule)
				}
				found[i].Description = ""
			}
			if !slices.Equal(found, test.want) {
				t.Errorf("violations are %v, want %v", found, test.want)
			}
		})
	}
}
