package xg

import (
	"strings"
	"testing"

	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
)

func TestRenderedPushIsTheVendorsBody(t *testing.T) {
	body, err := Render(Request("bench"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"audience_type":"token","token_list":["05a8ea6924590dd3a94480fa1c9fc8448b2ec5d4"],` +
		`"platform":"android","message_type":"notify","message":{"title":"Your order is on its way",` +
		`"content":"Parcel 4711 leaves our warehouse today and should reach you on Thursday.",` +
		`"android":{"ring":1,"vibrate":1,"action":{"action_type":1,"activity":"com.example.shop.OrderActivity"},` +
		`"custom_content":{"order":"4711","source":"warehouse"}}}}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	if err := CheckBody(body); err != nil {
		t.Error(err)
	}
	if err := CheckBody([]byte(strings.Replace(want, "notify", "message", 1))); err == nil {
		t.Error("another body passed the check")
	}
}

func TestAnswerIsReadOnlyWithRetCodeZero(t *testing.T) {
	response, err := Read([]byte(Answer))
	if err != nil || response.GetPushId() != PushID || response.GetOutcome() != xgv1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("%v, %v", response, err)
	}
	for _, answer := range []string{`{"ret_code":10204}`, `{}`, `nonsense`} {
		if _, err := Read([]byte(answer)); err == nil {
			t.Errorf("%s was read as accepted", answer)
		}
	}
}
