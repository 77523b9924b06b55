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

func TestRenderedListIsTheVendorsBody(t *testing.T) {
	body, err := Render(ListRequest("bench", 2))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"audience_type":"token_list","token_list":["0000000000000000000000000000000000000000",` +
		`"0000000000000000000000000000000000000001"],"push_id":"0","platform":"android",`
	if !strings.HasPrefix(string(body), want) {
		t.Errorf("got  %s\nwant %s...", body, want)
	}
	if err := CheckBody(body); err != nil || Targets(body) != 2 {
		t.Errorf("%v, %d targets", err, Targets(body))
	}
}

func TestEveryTargetOfAListHasItsResult(t *testing.T) {
	list := ListRequest("bench", 3)
	response, err := Read([]byte(Answer(3)), list)
	if err != nil || len(response.GetResults()) != 3 || response.GetOutcome() != xgv1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("%v, %v", response, err)
	}
	refused := strings.Replace(Answer(3), "[0,0,0]", "[0,48,0]", 1)
	response, err = Read([]byte(refused), list)
	if err != nil || response.GetResults()[1].GetVendorCode() != 48 ||
		response.GetOutcome() != xgv1.Outcome_OUTCOME_PARTIAL {
		t.Errorf("%v, %v", response, err)
	}
	if response, err = Read([]byte(Answer(2)), list); err == nil {
		t.Errorf("two results of three targets were read: %v", response)
	}
}

func TestAnswerIsReadOnlyWithRetCodeZero(t *testing.T) {
	response, err := Read([]byte(Answer(1)), Request("bench"))
	if err != nil || response.GetPushId() != PushID || response.GetOutcome() != xgv1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("%v, %v", response, err)
	}
	for _, answer := range []string{`{"ret_code":10204}`, `{}`, `nonsense`} {
		if _, err := Read([]byte(answer), Request("bench")); err == nil {
			t.Errorf("%s was read as accepted", answer)
		}
	}
}
