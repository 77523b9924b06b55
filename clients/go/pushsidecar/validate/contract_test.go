package validate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/validate"
	xgv1 "github.com/push-sidecar/push-sidecar/clients/go/pushsidecar/xg/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// The cases are shared by all languages; tests/contract/README.md has their form.
const casesGlob = "../../../../tests/contract/cases/*.json"

// Rules that need a parser, and so do not stand in the proto. A case that breaks one says checked_by: sidecar.
var sidecarRules = []string{"json.object", "extra.reserved_key"}

type contractCase struct {
	Name    string          `json:"name"`
	Request json.RawMessage `json:"request"`
	Expect  struct {
		Violations []struct {
			Field string `json:"field"`
			Rule  string `json:"rule"`
		} `json:"violations"`
		CheckedBy string `json:"checked_by"`
	} `json:"expect"`
}

func TestGoFindsTheViolationsOfTheContractCases(t *testing.T) {
	files, err := filepath.Glob(casesGlob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", casesGlob, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct {
			Cases []contractCase `json:"cases"`
		}
		if err := json.Unmarshal(data, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(content.Cases) == 0 {
			t.Errorf("%s has no cases", file)
		}
		area := strings.TrimSuffix(filepath.Base(file), ".json")
		for _, each := range content.Cases {
			t.Run(area+"/"+each.Name, func(t *testing.T) { checkCase(t, each) })
		}
	}
}

func checkCase(t *testing.T, given contractCase) {
	request := &xgv1.PushRequest{}
	if err := protojson.Unmarshal(expanded(t, given.Request), request); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, v := range given.Expect.Violations {
		if given.Expect.CheckedBy == "sidecar" && slices.Contains(sidecarRules, v.Rule) {
			continue
		}
		want = append(want, v.Field+" "+v.Rule)
	}
	found, err := validate.Violations(request)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range found {
		got = append(got, v.Field+" "+v.Rule)
		if v.Description == "" {
			t.Errorf("%s %s has no description", v.Field, v.Rule)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("violations are %q, want %q", got, want)
	}
}

// expanded writes out the short forms of the cases: "${x*3}" is "xxx", and an element {"${repeat}": {"count": 2, "item":
// "t${i}"}} of a list is "t0", "t1".
func expanded(t *testing.T, raw json.RawMessage) []byte {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(expand(value, ""))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("${")) {
		t.Fatalf("a short form that this test does not know: %s", text)
	}
	return text
}

var run = regexp.MustCompile(`\$\{(.+?)\*(\d+)\}`)

func expand(value any, index string) any {
	switch value := value.(type) {
	case string:
		text := strings.ReplaceAll(value, "${i}", index)
		return run.ReplaceAllStringFunc(text, func(match string) string {
			parts := run.FindStringSubmatch(match)
			return strings.Repeat(parts[1], number(parts[2]))
		})
	case []any:
		list := make([]any, 0, len(value))
		for _, item := range value {
			if repeat, ok := repeatOf(item); ok {
				for i := range number(fmt.Sprint(repeat["count"])) {
					list = append(list, expand(repeat["item"], strconv.Itoa(i)))
				}
				continue
			}
			list = append(list, expand(item, index))
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(value))
		for key, item := range value {
			object[expand(key, index).(string)] = expand(item, index)
		}
		return object
	}
	return value
}

func repeatOf(item any) (map[string]any, bool) {
	object, _ := item.(map[string]any)
	repeat, ok := object["${repeat}"].(map[string]any)
	return repeat, ok
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}
