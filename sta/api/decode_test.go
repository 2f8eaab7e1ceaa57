package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/sallyport/sallyport/sta"
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

// Every parser of what is not an issue request, over the same bytes: none may
// panic, and each refuses with words of ours.
func FuzzDecodeOthers(f *testing.F) {
	for _, seed := range []string{
		`{"user":"u","before":"2026-03-01T09:00:00Z","operator":"o"}`, `{"all":true,"stage":60}`, `{"family":"","all":true}`,
		`{"ticket":"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"}`, `{"stage":-1}`, `{"before":"2026-13-01"}`, `{"all_matching":true}`,
		`{"applied":"a:1,b:2","cuts":{"a:1":3},"logs":{"a":["x.y.z"]}}`, `{"applied":"b:1,a:1"}`, `{"cuts":{"a:01":1}}`,
		`{"cuts":{"a:1":1,"a:1":2}}`, `{"cuts":{"a:1":null}}`, `{"logs":{"A B":[]}}`, `{"cuts":{"a":{"b":{"c":{"d":1}}}}}`, `{"hash":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		refused := func(err error, also ticket.Reason) bool {
			if reason := ticket.ReasonOf(err); err != nil && (reason != ticket.Invalid && reason != also || len(err.Error()) > 512) {
				t.Errorf("refused with %q: %v", reason, err)
			}
			return err != nil
		}
		var revocation revocationRequest
		if !refused(decode(data, &revocation), "") {
			r, err := revocation.request()
			if !refused(err, ticket.NotFound) && (r.Ticket != "" && !isID(r.Ticket) || r.Family != "" && !isID(r.Family) || r.Stage < 0) {
				t.Errorf("%s is %+v", data, r)
			}
		}
		var report cutReport
		if !refused(decode(data, &report, "cuts", "logs"), "") && report.Applied != nil {
			again, err := json.Marshal(report)
			var twice cutReport
			if err != nil || decode(again, &twice, "cuts", "logs") != nil || twice.Applied.String() != report.Applied.String() ||
				len(twice.Cuts) != len(report.Cuts) {
				t.Errorf("%s came back as %s (%v)", data, again, err)
			}
		}
		var redeem redeemRequest
		refused(decode(data, &redeem), "")
	})
}

func FuzzQueries(f *testing.F) {
	for _, seed := range []string{
		"", "user=a&limit=5", "user=a&user=b", "%zz", "a;b", "limit=-1", "status=%00", "after=&x=", "after=a:1,b:2&wait=2.5",
		"wait=5.01", "wait=NaN", "wait=0x1p1", "wait=1e1", "wait=-0", "after=a:0", "gateway=a%2Fb", "after=a%3A1", "operator=%ff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, route := range routes {
			for _, method := range route.methods {
				p, err := parseQuery(query, method.takes...)
				if err != nil {
					if ticket.ReasonOf(err) != ticket.Invalid || len(err.Error()) > 512 {
						t.Errorf("refused with %v", err)
					}
					continue
				}
				filter, err := parseFilter(p)
				if err != nil && ticket.ReasonOf(err) != ticket.Invalid || filter.Limit < 0 {
					t.Errorf("%v, %v", filter, err)
				}
				asked, err := parsePoll(p)
				if err != nil && ticket.ReasonOf(err) != ticket.Invalid || asked.wait < 0 || asked.wait > MaxWait {
					t.Errorf("%v, %v", asked, err)
				}
				name, err := followerName("c", p["gateway"])
				if err == nil && name != "c" && !strings.HasPrefix(name, "c/") || len(name) > 66 {
					t.Errorf("the gateway is called %q, %v", name, err)
				}
			}
		}
	})
}

// What answers a Client is refused in words of ours, bounded and harmless.
func FuzzProblem(f *testing.F) {
	for _, seed := range []string{
		`{"reason":"ambiguous","names":["a","\u202eb","c"]}`, `{"reason":"not_found","detail":"\u001b[2J","names":[""]}`, `{`, `{"reason":"?"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := refusalIn(&http.Response{StatusCode: 409, Header: http.Header{"Content-Type": {typeProblem}}}, data)
		if err == nil || strings.ContainsFunc(err.Error(), unicode.IsControl) || len(err.Error()) > 4096 {
			t.Errorf("%q", err)
		}
		if unmatched, ok := errors.AsType[*sta.MatchError](err); ok {
			if len(unmatched.Names) > 20 || strings.ContainsFunc(strings.Join(unmatched.Names, ""), unicode.IsControl) {
				t.Errorf("%q", unmatched.Names)
			}
		}
	})
}

// However entries are cut into pages, together they are all, in order.
func TestSplit(t *testing.T) {
	logs := map[string][]string{"a": {"aaaa", "bb", "c"}, "b": {strings.Repeat("d", 100)}, "c": {"e", "f"}}
	for most := 1; most < 200; most += 7 {
		got, pages := make(map[string][]string), 0
		for rest := logs; len(rest) > 0; pages++ {
			var page map[string][]string
			page, rest = split(rest, most)
			size, entries := 0, 0
			for writer, signed := range page {
				got[writer] = append(got[writer], signed...)
				entries += len(signed)
				for _, s := range signed {
					size += len(s)
				}
			}
			if entries == 0 || entries > 1 && size > most {
				t.Fatalf("a page of %d bytes has %d entries of %d", most, entries, size)
			}
		}
		if !reflect.DeepEqual(got, logs) {
			t.Errorf("pages of %d bytes: %v", most, got)
		}
	}
	if page, rest := split(nil, 1); len(page) > 0 || len(rest) > 0 {
		t.Error("there is something in nothing")
	}
}

func TestWriteUpdates(t *testing.T) {
	for _, want := range []ticket.Updates{
		{}, {Head: "h.h.h"}, {Logs: map[string][]string{"a": {"x.y.z"}}},
		{Logs: map[string][]string{"b": {"x", "y"}, "a": {"<\u2028\""}}, Head: "h"},
	} {
		var b bytes.Buffer
		if err := writeUpdates(&b, &want); err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(want)
		if err != nil || b.String() != string(plain)+"\n" {
			t.Errorf("written as %s, want %s (%v)", b.String(), plain, err)
		}
	}
}
