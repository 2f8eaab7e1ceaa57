package ticket

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// run signs a log of entries that follow one another.
func (w *world) run(t testing.TB, writer string, n int) []Entry {
	t.Helper()
	var entries []Entry
	var previous Hash
	for i := range n {
		r := byUser(w.now)
		r.User = fmt.Sprintf("user %d", i+1)
		e, err := w.signer.SignEntry(writer, uint64(i+1), previous, r)
		if err != nil {
			t.Fatal(err)
		}
		previous = e.Hash()
		entries = append(entries, e)
	}
	return entries
}

func signedOf(entries ...Entry) []string {
	var signed []string
	for i := range entries {
		signed = append(signed, entries[i].Signed)
	}
	return signed
}

// keySet makes a set of this authority with the keys given.
func (w *world) keySet(t testing.TB, version uint64, keys ...ed25519.PrivateKey) *KeySet {
	t.Helper()
	var list []ed25519.PublicKey
	for _, key := range keys {
		list = append(list, public(key))
	}
	signed, err := SignKeySet(w.root, testAuthority, version, w.now, list)
	if err != nil {
		t.Fatal(err)
	}
	set, err := VerifyKeySet(signed, testAuthority, Pin(public(w.root)))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newSigner(t testing.TB, authority string, key ed25519.PrivateKey) *Signer {
	t.Helper()
	s, err := NewSigner(authority, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEntryRoundTrip(t *testing.T) {
	w := newWorld(t)
	r := byUser(w.now)
	r.User, r.Device = "jürgen <ö>&\"\\", "iPhone 14"
	e, err := w.signer.SignEntry("gw-1.k3f9x2ab", 7, NewHandle().Hash(), r)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseEntry(e.Signed)
	if err != nil || read != e {
		t.Fatalf("read %+v, %v\nmade %+v", read, err, e)
	}
	if read.Hash() != e.Hash() || read.Ref().String() != "gw-1.k3f9x2ab:7" {
		t.Errorf("hash %s and place %s", read.Hash(), read.Ref())
	}
	for name, c := range map[string]struct {
		writer   string
		position uint64
		previous Hash
		change   func(*Revocation)
		want     Reason
	}{
		"no writer":             {"", 1, Hash{}, nil, Malformed},
		"position 0":            {"a", 0, Hash{}, nil, Malformed},
		"past the last":         {"a", MaxPosition + 1, e.Hash(), nil, Malformed},
		"a first with a former": {"a", 1, e.Hash(), nil, Malformed},
		"a second without":      {"a", 2, Hash{}, nil, Malformed},
		"no revocation":         {"a", 1, Hash{}, func(r *Revocation) { r.User, r.Device = "", "" }, Invalid},
		"not UTF-8":             {"a", 1, Hash{}, func(r *Revocation) { r.Device = "\xc3" }, Invalid},
		"a stage forgotten too soon": {"a", 1, Hash{}, func(r *Revocation) {
			*r = stagedOver(time.Hour, w.now)
			r.Forget = r.Forget.Add(-time.Second)
		}, Invalid},
	} {
		bad := r
		if c.change != nil {
			c.change(&bad)
		}
		if _, err := w.signer.SignEntry(c.writer, c.position, c.previous, bad); ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// Ending a ticket must always be possible: whatever a ticket can be made out to,
// and more, fits an entry.
func TestTheLargestEntryFits(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	for _, unit := range []string{"x", `"`, `\`, "<", "\u2028", "\x7f", "\x01"} {
		name := strings.Repeat(unit, MaxText/len(unit))
		r := byUser(w.now.Add(999_999_999))
		r.Cut = r.Cut.Truncate(time.Second)
		r.By, r.User, r.Device = name, name, name
		e, err := w.signer.SignEntry(strings.Repeat("w", MaxWriter), MaxPosition, h.Hash(), r)
		if err != nil {
			t.Errorf("%d times %q: %v", len(name)/len(unit), unit, err)
			continue
		}
		if _, err := w.keys.VerifyRun([]string{e.Signed}); err != nil {
			t.Errorf("%d times %q: %v", len(name)/len(unit), unit, err)
		}
	}
	// Two such names still make a statement, where JSON escapes them.
	c := w.claims(h)
	c.User, c.Device = strings.Repeat(`"`, MaxText), strings.Repeat(`\`, MaxText)
	got, err := w.verifier.Verify(w.sign(t, c), h.Hash())
	if err != nil || got.User != c.User || got.Device != c.Device {
		t.Errorf("a statement for them: %v", err)
	}
	if _, err := ParseEntry(strings.Repeat("a", MaxEntry+1)); ReasonOf(err) != TooLarge {
		t.Errorf("an oversized entry: %v", err)
	}
}

func TestVerifyRun(t *testing.T) {
	w := newWorld(t)
	stranger := newSigner(t, testAuthority, newKey(t))
	foreign := newSigner(t, "STA02", w.key)
	run := w.run(t, "gw-1.a", 4)
	good := signedOf(run...)
	again := func(s *Signer, e Entry) string {
		signed, err := s.SignEntry(e.Writer, e.Position, e.Previous, e.Revocation)
		if err != nil {
			t.Fatal(err)
		}
		return signed.Signed
	}
	edited := run[3]
	edited.User = "somebody else"
	otherWriter := signedOf(w.run(t, "gw-2.b", 2)...)
	parts := strings.Split(good[3], ".")

	for name, c := range map[string]struct {
		signed []string
		want   Reason
	}{
		"whole":                        {good, ""},
		"its end":                      {good[2:], ""},
		"its beginning":                {good[:2], ""},
		"nothing":                      {nil, ""},
		"a gap":                        {[]string{good[0], good[2]}, BadSignature},
		"swapped":                      {[]string{good[0], good[2], good[1], good[3]}, BadSignature},
		"backwards":                    {[]string{good[3], good[2]}, BadSignature},
		"twice":                        {[]string{good[0], good[0]}, BadSignature},
		"two writers":                  {[]string{good[0], otherWriter[1]}, BadSignature},
		"the last re-signed":           {[]string{good[2], again(stranger, run[3])}, BadSignature},
		"one in the midst re-signed":   {[]string{good[0], again(stranger, run[1]), good[2]}, BadSignature},
		"the last by another one":      {[]string{good[2], again(foreign, run[3])}, WrongAuthority},
		"in the midst by another one":  {[]string{again(foreign, run[2]), good[3]}, WrongAuthority},
		"another user, old signature":  {[]string{good[2], swapPayload(t, good[3], again(w.signer, edited))}, BadSignature},
		"no signature":                 {[]string{good[2], parts[0] + "." + parts[1] + "."}, BadSignature},
		"a line break in it":           {[]string{good[2], good[3][:len(good[3])-4] + "\n" + good[3][len(good[3])-4:]}, Malformed},
		"a carriage return behind it":  {[]string{good[3] + "\r"}, Malformed},
		"padding":                      {[]string{good[3] + "=="}, Malformed},
		"not signed at all":            {[]string{"a"}, Malformed},
		"a line break in the midst":    {[]string{good[2] + "\n", good[3]}, Malformed},
		"oversized":                    {[]string{good[0], strings.Repeat("a", MaxEntry+1)}, TooLarge},
		"alg none in the midst":        {[]string{b64(`{"alg":"none","kid":"x","typ":"`+typeEntry+`"}`) + "." + parts[1] + ".", good[3]}, BadSignature},
		"a payload that is null":       {[]string{forge(t, w.key, w.header(typeEntry), "null")}, Malformed},
		"one more header parameter":    {[]string{forge(t, w.key, strings.Replace(w.header(typeEntry), "{", `{"jku":"https://e.example",`, 1), "{}")}, BadSignature},
		"a key that is not in the set": {[]string{again(stranger, run[0])}, BadSignature},
	} {
		entries, err := w.keys.VerifyRun(c.signed)
		if ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && entries != nil || err == nil && len(entries) != len(c.signed) {
			t.Errorf("%s: %d entries of %d with %v", name, len(entries), len(c.signed), err)
		}
	}
}

func (w *world) header(typ string) string {
	return `{"alg":"EdDSA","kid":"` + w.signer.KeyID() + `","typ":"` + typ + `"}`
}

// swapPayload gives a signed object with the payload of another.
func swapPayload(t testing.TB, signed, other string) string {
	t.Helper()
	a, b := strings.Split(signed, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2]
}

// Entries stay good when their key is taken out, where a head vouches for them.
func TestHeadVouchesWhenTheKeyIsGone(t *testing.T) {
	w := newWorld(t)
	run := w.run(t, "gw-1.a", 3)
	signed := signedOf(run...)
	after := w.keySet(t, 2, newKey(t))
	head := func(writer string, position uint64, hash Hash) *Head {
		return &Head{Node: "n", Serial: 1, Time: w.now, Keys: 2, Tips: map[string]Tip{writer: {Position: position, Hash: hash}}}
	}
	vouching := head("gw-1.a", 3, run[2].Hash())
	if entries, err := after.VerifyRun(signed, head("gw-2.b", 3, Hash{1}), vouching); err != nil || len(entries) != 3 {
		t.Errorf("vouched for: %d, %v", len(entries), err)
	}
	for name, c := range map[string]struct {
		signed []string
		heads  []*Head
	}{
		"no head":               {signed, nil},
		"another hash":          {signed, []*Head{head("gw-1.a", 3, run[1].Hash())}},
		"the hash elsewhere":    {signed, []*Head{head("gw-1.a", 4, run[2].Hash())}},
		"the hash of another":   {signed, []*Head{head("gw-2.b", 3, run[2].Hash())}},
		"a page short of it":    {signed[:2], []*Head{vouching}},
		"one entry past it":     {signed, []*Head{head("gw-1.a", 2, run[1].Hash())}},
		"a head without writer": {signed, []*Head{{}}},
	} {
		if entries, err := after.VerifyRun(c.signed, c.heads...); ReasonOf(err) != BadSignature || entries != nil {
			t.Errorf("%s: %d, %v", name, len(entries), err)
		}
	}
	// A head makes no entry of another authority one of this.
	foreign := newSigner(t, "STA02", w.key)
	e, err := foreign.SignEntry("gw-1.a", 1, Hash{}, run[0].Revocation)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := after.VerifyRun([]string{e.Signed}, head("gw-1.a", 1, e.Hash())); ReasonOf(err) != WrongAuthority {
		t.Errorf("another authority's: %v", err)
	}
}

func testHead(now time.Time) Head {
	return Head{
		Node: "gw-1.a", Serial: 3, Time: now.UTC(), Keys: 1,
		Tips: map[string]Tip{"gw-1.a": {From: 2, Position: 5, Hash: Hash{1}}, "gw-2.b": {Position: 1, Hash: Hash{2}}},
	}
}

func TestHead(t *testing.T) {
	w := newWorld(t)
	want := testHead(w.now)
	signed, err := w.signer.SignHead(&want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.keys.VerifyHead(signed)
	if err != nil || got.Node != want.Node || got.Serial != 3 || !got.Time.Equal(want.Time) || got.Keys != 1 || !maps.Equal(got.Tips, want.Tips) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
	byStranger, err := newSigner(t, testAuthority, newKey(t)).SignHead(&want)
	if err != nil {
		t.Fatal(err)
	}
	byForeigner, err := newSigner(t, "STA02", w.key).SignHead(&want)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signed string
		want   Reason
	}{
		"by a stranger":        {byStranger, BadSignature},
		"another authority's":  {byForeigner, WrongAuthority},
		"a line break":         {signed + "\n", Malformed},
		"cut short":            {signed[:len(signed)-2], BadSignature},
		"empty":                {"", Malformed},
		"oversized":            {strings.Repeat("a", MaxHead+1), TooLarge},
		"null":                 {forge(t, w.key, w.header(typeHead), "null"), WrongAuthority},
		"a tip before its own": {forge(t, w.key, w.header(typeHead), `{"iss":"STA01","node":"a","ser":1,"ms":1,"tips":{"w":{"from":2,"pos":1,"hash":"`+Hash{}.String()+`"}}}`), Malformed},
	} {
		if h, err := w.keys.VerifyHead(c.signed); ReasonOf(err) != c.want || h != nil {
			t.Errorf("%s: %+v, %v, want %s", name, h, err, c.want)
		}
	}
	for name, change := range map[string]func(*Head){
		"no node":            func(h *Head) { h.Node = "" },
		"no serial":          func(h *Head) { h.Serial = 0 },
		"no time":            func(h *Head) { h.Time = time.Unix(0, 0) },
		"an odd writer":      func(h *Head) { h.Tips["a b"] = Tip{Position: 1} },
		"a tip at 0":         func(h *Head) { h.Tips["c"] = Tip{} },
		"a tip past the end": func(h *Head) { h.Tips["c"] = Tip{Position: MaxPosition + 1} },
		"from past the tip":  func(h *Head) { h.Tips["c"] = Tip{From: 2, Position: 1} },
		"too many writers": func(h *Head) {
			for i := range MaxWriters {
				h.Tips[fmt.Sprint("w", i)] = Tip{Position: 1}
			}
		},
	} {
		h := testHead(w.now)
		change(&h)
		if _, err := w.signer.SignHead(&h); ReasonOf(err) != Malformed {
			t.Errorf("signed a head with %s: %v", name, err)
		}
	}
}

// A head of the most writers with the longest names fits.
func TestTheLargestHeadFits(t *testing.T) {
	w := newWorld(t)
	h := Head{Node: strings.Repeat("n", MaxWriter), Serial: 1 << 62, Time: w.now, Keys: 1 << 62, Tips: make(map[string]Tip)}
	positions := make(Positions)
	for i := range MaxWriters {
		writer := fmt.Sprintf("%0*d", MaxWriter, i)
		h.Tips[writer] = Tip{From: MaxPosition - 1, Position: MaxPosition, Hash: Hash{1}}
		positions[writer] = MaxPosition
	}
	signed, err := w.signer.SignHead(&h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.keys.VerifyHead(signed); err != nil {
		t.Error(err)
	}
	// And so do positions of as many.
	if read, err := ParsePositions(positions.String()); err != nil || !maps.Equal(read, positions) {
		t.Errorf("positions: %d, %v", len(read), err)
	}
}

// No signed object is taken for one of another kind: although its payload would
// do, and its key is good.
func TestEachTypInItsPlaceOnly(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	// One payload that would pass as any of them, signed by a key that would too.
	body := fmt.Sprintf(`{"iss":"STA01","aud":["%s"],"jti":"t","fam":"f","iat":%d,"nbf":%[2]d,"exp":%d,"auth_time":%[2]d,"h":"%[4]s",`+
		`"log":"w","pos":1,"prev":"%[5]s","rev":{"time":"2026-01-01T00:00:00Z","by":"ops","family":"f","forget":"2027-01-01T00:00:00Z"},`+
		`"node":"n","ser":1,"ms":1,"ver":1,"root":"%[6]s","keys":%[7]s}`,
		testGateway, w.now.Unix(), w.now.Unix()+60, h.Hash(), Hash{}, b64(string(public(w.key))), "%s")
	jwks := `[{"kty":"OKP","crv":"Ed25519","kid":"` + w.signer.KeyID() + `","x":"` + b64(string(public(w.key))) + `"}]`
	verifiers := map[string]func(string) error{
		typeTicket: func(s string) error { _, err := w.verifier.Verify(s, h.Hash()); return err },
		typeEntry:  func(s string) error { _, err := w.keys.VerifyRun([]string{s}); return err },
		typeHead:   func(s string) error { _, err := w.keys.VerifyHead(s); return err },
		typeKeySet: func(s string) error { _, err := VerifyKeySet(s, testAuthority, Pin(public(w.key))); return err },
	}
	for wanted, verify := range verifiers {
		keys := "1"
		if wanted == typeKeySet {
			keys = jwks
		}
		body := fmt.Sprintf(body, keys)
		for _, typ := range []string{typeTicket, typeEntry, typeHead, typeKeySet, "JWT", ""} {
			err := verify(forge(t, w.key, w.header(typ), body))
			switch {
			case typ == wanted && err != nil:
				t.Errorf("%s in its own place: %v", typ, err)
			case typ != wanted && ReasonOf(err) != BadSignature:
				t.Errorf("%q in place of %s: %v", typ, wanted, err)
			}
		}
	}
	// In the midst of a run, where only the chain vouches, it is refused as well.
	other := forge(t, w.key, w.header(typeHead), fmt.Sprintf(body, "1"))
	next, err := w.signer.SignEntry("w", 2, (&Entry{Signed: other}).Hash(), byUser(w.now))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.keys.VerifyRun([]string{other, next.Signed}); ReasonOf(err) != BadSignature {
		t.Errorf("a head in the midst of a run: %v", err)
	}
}

func TestRefAndPositions(t *testing.T) {
	for _, bad := range []string{
		"", ":", "a", "a:", ":1", "a:0", "a:01", "a:+1", "a:-1", "a: 1", "a:1 ", "a:1:2", "a b:1", "a:1_0", "ä:1", "a:0x1",
		"a:9007199254740993", "a:99999999999999999999", strings.Repeat("a", MaxWriter+1) + ":1",
	} {
		if r, err := ParseRef(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, r)
		}
	}
	for _, bad := range []string{",", "a:1,", ",a:1", "a:1,a:2", "b:1,a:1", "a:1,,b:1", "a:1;b:1", "a:1, b:1",
		strings.Repeat("a:1,", MaxWriters) + "b:1", strings.Repeat("a", MaxWriters*(MaxWriter+18)+1)} {
		if p, err := ParsePositions(bad); err == nil {
			t.Errorf("%.40q is taken for %v", bad, p)
		}
	}
	p := Positions{"b.x": 12, "a": MaxPosition, "gone": 0}
	if got := p.String(); got != "a:9007199254740992,b.x:12" {
		t.Errorf("text form %q", got)
	}
	if !p.Covers(Ref{"b.x", 12}) || p.Covers(Ref{"b.x", 13}) || p.Covers(Ref{"c", 1}) || Positions(nil).Covers(Ref{"c", 1}) {
		t.Error("covers what has not been read, or not what has")
	}
	report := CutReport{Applied: p, Cuts: map[Ref]int{{"b.x", 12}: 3}}
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"applied":"a:9007199254740992,b.x:12","cuts":{"b.x:12":3}}`; string(data) != want {
		t.Errorf("JSON %s, want %s", data, want)
	}
	var read CutReport
	if err := json.Unmarshal(data, &read); err != nil || !maps.Equal(read.Cuts, report.Cuts) || read.Applied.String() != p.String() {
		t.Errorf("read %+v, %v", read, err)
	}
	if data, err = json.Marshal(CutReport{}); err != nil || string(data) != `{"applied":""}` {
		t.Errorf("an empty report is %s, %v", data, err)
	}
	if err := json.Unmarshal([]byte(`{"applied":"a:1,a:2"}`), &read); ReasonOf(err) != Malformed {
		t.Errorf("positions that are none: %v", err)
	}
}

// The text of a hash has one spelling, although decoders pass over line breaks.
func TestHashWithLineBreaks(t *testing.T) {
	good := NewHandle().Hash().String()
	for _, bad := range []string{
		good[:42] + "\n", "\n" + good[:42], good[:20] + "\r\n" + good[20:41], good + "\n", strings.Repeat("\n", 43),
	} {
		if h, err := ParseHash(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, h)
		}
	}
}
