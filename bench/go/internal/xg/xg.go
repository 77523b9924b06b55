// Package xg holds the push of this benchmark, to one device or to a list, in its three forms: the request that callers
// send, the vendor's body that a sidecar makes of it, and the vendor's answer. It sends nothing.
package xg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	typev1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/type/v1"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Path of the vendor's push call.
const Path = "/v3/push/app"

// PushID of every answer.
const PushID = "3895624686"

// Answer is what the vendor's document shows for an accepted push to this many targets: a code for each, in a string.
func Answer(targets int) string {
	return `{"seq":0,"push_id":"` + PushID + `","ret_code":0,"environment":"product","err_msg":"","result":"[0` +
		strings.Repeat(",0", targets-1) + `]"}`
}

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

// ListRequest is the same push to a list of devices.
func ListRequest(app string, tokens int) *xgv1.PushRequest {
	list := &xgv1.TokenList{}
	for i := range tokens {
		list.Tokens = append(list.Tokens, fmt.Sprintf("%040x", i))
	}
	request := Request(app)
	request.Audience = &xgv1.PushRequest_TokenList{TokenList: list}
	return request
}

type body struct {
	AudienceType string   `json:"audience_type"`
	TokenList    []string `json:"token_list"`
	PushID       string   `json:"push_id,omitempty"`
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

// Render makes the vendor's body of an Android notification to one token or a list of them, and knows no other push.
func Render(request *xgv1.PushRequest) ([]byte, error) {
	rendered := body{Platform: "android", MessageType: "notify"}
	switch audience := request.GetAudience().(type) {
	case *xgv1.PushRequest_Token:
		rendered.AudienceType, rendered.TokenList = "token", []string{audience.Token}
	case *xgv1.PushRequest_TokenList:
		rendered.AudienceType, rendered.TokenList, rendered.PushID = "token_list", audience.TokenList.GetTokens(), "0"
	}
	notification := request.GetAndroidNotification()
	if rendered.AudienceType == "" || notification == nil {
		return nil, status.Error(codes.Unimplemented, "only token, token_list and android_notification")
	}
	message := message{Title: notification.GetTitle(), Content: notification.GetContent(), Android: android{
		NID: notification.GetNId(), BuilderID: notification.GetBuilderId(),
		Ring: flag(notification.Ring), Vibrate: flag(notification.Vibrate),
		Lights: flag(notification.Lights), Clearable: flag(notification.Clearable),
		CustomContent: notification.GetCustomContent().GetFields().GetEntries(),
	}}
	if activity := notification.GetAction().GetActivity(); activity != nil {
		message.Android.Action = &action{ActionType: 1, Activity: activity.GetActivity()}
	}
	rendered.Message = message
	return json.Marshal(rendered)
}

// Targets counts the targets of a body without reading it: no text of this benchmark holds what stands between two.
func Targets(raw []byte) int {
	_, list, _ := bytes.Cut(raw, []byte(`"token_list":[`))
	list, _, _ = bytes.Cut(list, []byte(`]`))
	return bytes.Count(list, []byte(`,`)) + 1
}

// CheckBody is the upstream's check that a client did the whole work.
func CheckBody(raw []byte) error {
	var read body
	if err := json.Unmarshal(raw, &read); err != nil {
		return err
	}
	sent := Request("").GetAndroidNotification()
	isOne := read.AudienceType == "token" && len(read.TokenList) == 1
	isList := read.AudienceType == "token_list" && len(read.TokenList) > 1 && read.PushID == "0"
	if !(isOne || isList) || len(read.TokenList) != Targets(raw) || read.Platform != "android" ||
		read.MessageType != "notify" || read.Message.Title != sent.GetTitle() ||
		read.Message.Content != sent.GetContent() || read.Message.Android.Ring == nil ||
		read.Message.Android.Action == nil || len(read.Message.Android.CustomContent) != 2 {
		return fmt.Errorf("not the push of this benchmark: %s", raw)
	}
	return nil
}

// Read makes the response of the vendor's answer, for a list with what became of each target; only
// `ret_code` 0 is not an error.
func Read(raw []byte, request *xgv1.PushRequest) (*xgv1.PushResponse, error) {
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
	response := &xgv1.PushResponse{
		PushId: answer.PushID, Seq: answer.Seq, Environment: environment,
		Outcome: xgv1.Outcome_OUTCOME_ACCEPTED, VendorMessage: answer.ErrMsg, ResultJson: string(answer.Result),
		Attempts: 1,
	}
	targets := len(request.GetTokenList().GetTokens())
	if targets == 0 {
		return response, nil
	}
	var text string
	var results []int32
	if err := json.Unmarshal(answer.Result, &text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &results); err != nil || len(results) != targets {
		return nil, errors.New("not a result for each target")
	}
	response.Results = make([]*xgv1.TargetResult, targets)
	for i, code := range results {
		state := typev1.TargetState_TARGET_STATE_ACCEPTED
		if code != 0 {
			state, response.Outcome = typev1.TargetState_TARGET_STATE_REFUSED, xgv1.Outcome_OUTCOME_PARTIAL
		}
		response.Results[i] = &xgv1.TargetResult{Index: int32(i), State: state, VendorCode: code}
	}
	return response, nil
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
