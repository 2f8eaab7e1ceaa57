package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta/ticket"
)

func TestDecodeIsStrict(t *testing.T) {
	for _, test := range []struct{ body, detail string }{
		{`{"user":"u"}`, ""},
		{" \r\n\t{ } \n", ""},
		{`{"data":[{"name":"n","value":"v"}],"services":["a:1"],"lifetime":5,"refreshable":false}`, ""},
		{``, "not a JSON object"},
		{`[]`, "not a JSON object"},
		{`"x"`, "not a JSON object"},
		{`{`, "not valid JSON"},
		{`{"user"}`, "not valid JSON"},
		{`{"user":"u",}`, "not valid JSON"},
		{`{"user":"u"}{}`, "behind the JSON object"},
		{`{"user":"u"} x`, "behind the JSON object"},
		{`{"user":"u"}]`, "behind the JSON object"},
		{`{"user":"u","user":"v"}`, `member "user" stands twice`},
		{`{"data":[{"name":"n","name":"m"}]}`, `member "name" stands twice`},
		{`{"user":"u","us\u0065r":"v"}`, `member "user" stands twice`},
		{`{"User":"u"}`, `member "User" is not known`},
		{`{"u\u017fer":"u"}`, `is not known`}, // ſ, which folds to s
		{`{"unknown":1}`, "not known here"},
		{`{"data":[{"unknown":1}]}`, "not known here"},
		{`{"user":null}`, `member "user" is null`},
		{`{"services":[null]}`, `member "services" is null`},
		{`{"user":1}`, `member "user" has the wrong type`},
		{`{"services":"a:1"}`, `member "services" has the wrong type`},
		{`{"lifetime":"5"}`, `member "lifetime" has the wrong type`},
		{`{"lifetime":1.5}`, `member "lifetime" has the wrong type`},
		{`{"lifetime":99999999999999999999}`, `member "lifetime" has the wrong type`},
		{`{"user":{"a":{"a":{"a":{"a":{}}}}}}`, "nested too deeply"},
		{`{"user":[[[[[[` + strings.Repeat("[", 10000), "nested too deeply"},
		{"{\"user\":\"\xff\"}", "not UTF-8"},
		{`{"` + strings.Repeat("Xx", 250) + `":1}`, "…"},
		{`{"` + strings.Repeat("X", 500) + `":1}`, `member "[secret]" is not known`},
	} {
		err := decode([]byte(test.body), new(issueRequest))
		if (err == nil) != (test.detail == "") {
			t.Errorf("%.60s: %v", test.body, err)
			continue
		}
		if err != nil && (!strings.Contains(err.Error(), test.detail) || len(err.Error()) > 200 || ticket.ReasonOf(err) != ticket.Invalid) {
			t.Errorf("%.60s: %v; want %q", test.body, err, test.detail)
		}
	}
}

// What decode takes, any reader must read in the same way.
func FuzzDecodeIssue(f *testing.F) {
	for _, seed := range []string{
		`{"user":"u","device":"d"}`, `{"data":[{"name":"n","value":"v"}],"services":[],"lifetime":5,"refreshable":false}`,
		`{"user":"u","user":"v"}`, `{"User":"u"}`, `{"user":null}`, `{} {}`, `{"groups":[[]]}`, `[`, "", `{"a":1e999}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got issueRequest
		if err := decode(data, &got); err != nil {
			if ticket.ReasonOf(err) != ticket.Invalid || len(err.Error()) > 512 {
				t.Errorf("refused with %q: %v", ticket.ReasonOf(err), err)
			}
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		// Members that are empty may go missing on the way; nothing may be added.
		var once, twice issueRequest
		if json.Unmarshal(data, &once) != nil || !reflect.DeepEqual(once, got) {
			t.Errorf("%s is read in two ways", data)
		}
		if err := json.Unmarshal(again, &twice); err != nil || twice.User != got.User || twice.Device != got.Device {
			t.Errorf("%s came back as %s (%v)", data, again, err)
		}
	})
}

func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{"", "user=a&limit=5", "user=a&user=b", "%zz", "a;b", "limit=-1", "status=%00", "after=&x="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		filter, err := parseFilter(query)
		if err != nil && ticket.ReasonOf(err) != ticket.Invalid {
			t.Errorf("refused with %v", err)
		}
		if err == nil && filter.Limit < 0 {
			t.Errorf("limit %d", filter.Limit)
		}
	})
}
