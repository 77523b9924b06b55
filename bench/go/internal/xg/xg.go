// Package xg holds the one push of this benchmark in its three forms: the request that callers send, the vendor's body
// that a sidecar makes of it, and the vendor's answer. It sends nothing.
package xg

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Path of the vendor's push call.
const Path = "/v3/push/app"

// Answer is what the vendor's document shows for an accepted push.
const Answer = `{"seq":0,"push_id":"` + PushID + `","ret_code":0,"environment":"product","err_msg":"","result":"[0]"}`

// PushID of Answer.
const PushID = "3895624686"

// Credentials that every client of the benchmark's upstream sends by Basic authentication.
const (
	AppID     = "bench-app"
	SecretKey = "bench-secret"
)

// Request is a push of an Android notification to one device, of ordinary size.
func Request(app string) *xgv1.PushRequest {
	yes := true
	return &xgv1.PushRequest{
		App:      app,
		Audience: &xgv1.PushRequest_Token{Token: "05a8ea6924590dd3a94480fa1c9fc8448b2ec5d4"},
		Message: &xgv1.PushRequest_AndroidNotification{AndroidNotification: &xgv1.AndroidNotification{
			Title:   "Your order is on its way",
			Content: "Parcel 4711 leaves our warehouse today and should reach you on Thursday.",
			Ring:    &yes,
			Vibrate: &yes,
			Action: &xgv1.Action{Kind: &xgv1.Action_Activity{
				Activity: &xgv1.ActivityAction{Activity: "com.example.shop.OrderActivity"},
			}},
			CustomContent: &xgv1.CustomContent{Content: &xgv1.CustomContent_Fields{
				Fields: &xgv1.StringMap{Entries: map[string]string{"order": "4711", "source": "warehouse"}},
			}},
		}},
	}
}

type body struct {
	AudienceType string   `json:"audience_type"`
	TokenList    []string `json:"token_list"`
	Platform     string   `json:"platform"`
	MessageType  string   `json:"message_type"`
	Message      message  `json:"message"`
}

type message struct {
	Title   string  `json:"title"`
	Content string  `json:"content"`
	Android android `json:"android"`
}

type android struct {
	NID           int32             `json:"n_id,omitempty"`
	BuilderID     int32             `json:"builder_id,omitempty"`
	Ring          *int              `json:"ring,omitempty"`
	Vibrate       *int              `json:"vibrate,omitempty"`
	Lights        *int              `json:"lights,omitempty"`
	Clearable     *int              `json:"clearable,omitempty"`
	Action        *action           `json:"action,omitempty"`
	CustomContent map[string]string `json:"custom_content,omitempty"`
}

type action struct {
	ActionType int    `json:"action_type"`
	Activity   string `json:"activity"`
}

// Render makes the vendor's body of a push to one token of an Android notification, and knows no other push.
func Render(request *xgv1.PushRequest) ([]byte, error) {
	token, ok := request.GetAudience().(*xgv1.PushRequest_Token)
	notification := request.GetAndroidNotification()
	if !ok || notification == nil {
		return nil, status.Error(codes.Unimplemented, "only token and android_notification")
	}
	rendered := android{
		NID: notification.GetNId(), BuilderID: notification.GetBuilderId(),
		Ring: flag(notification.Ring), Vibrate: flag(notification.Vibrate),
		Lights: flag(notification.Lights), Clearable: flag(notification.Clearable),
		CustomContent: notification.GetCustomContent().GetFields().GetEntries(),
	}
	if activity := notification.GetAction().GetActivity(); activity != nil {
		rendered.Action = &action{ActionType: 1, Activity: activity.GetActivity()}
	}
	return json.Marshal(body{
		AudienceType: "token", TokenList: []string{token.Token}, Platform: "android", MessageType: "notify",
		Message: message{Title: notification.GetTitle(), Content: notification.GetContent(), Android: rendered},
	})
}

// CheckBody is the upstream's check that a client did the whole work.
func CheckBody(raw []byte) error {
	var read body
	if err := json.Unmarshal(raw, &read); err != nil {
		return err
	}
	sent := Request("").GetAndroidNotification()
	if read.AudienceType != "token" || len(read.TokenList) != 1 || read.Platform != "android" ||
		read.MessageType != "notify" || read.Message.Title != sent.GetTitle() ||
		read.Message.Content != sent.GetContent() || read.Message.Android.Ring == nil ||
		read.Message.Android.Action == nil || len(read.Message.Android.CustomContent) != 2 {
		return fmt.Errorf("not the push of this benchmark: %s", raw)
	}
	return nil
}

// Read makes the response of the vendor's answer; only `ret_code` 0 is not an error.
func Read(raw []byte) (*xgv1.PushResponse, error) {
	var answer struct {
		Seq         int64           `json:"seq"`
		PushID      string          `json:"push_id"`
		RetCode     *int            `json:"ret_code"`
		Environment string          `json:"environment"`
		ErrMsg      string          `json:"err_msg"`
		Result      json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, err
	}
	if answer.RetCode == nil {
		return nil, errors.New("an answer without ret_code")
	}
	if *answer.RetCode != 0 {
		return nil, errors.New("ret_code " + strconv.Itoa(*answer.RetCode))
	}
	environment := xgv1.Environment_ENVIRONMENT_PRODUCT
	if answer.Environment == "dev" {
		environment = xgv1.Environment_ENVIRONMENT_DEV
	}
	return &xgv1.PushResponse{
		PushId: answer.PushID, Seq: answer.Seq, Environment: environment,
		Outcome: xgv1.Outcome_OUTCOME_ACCEPTED, VendorMessage: answer.ErrMsg, ResultJson: string(answer.Result),
		Attempts: 1,
	}, nil
}

func flag(value *bool) *int {
	if value == nil {
		return nil
	}
	number := 0
	if *value {
		number = 1
	}
	return &number
}
