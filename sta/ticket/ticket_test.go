package ticket

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// world is one authority with a root and a signing key, and a gateway's
// verifier whose clock the test sets.
type world struct {
	root     ed25519.PrivateKey
	key      ed25519.PrivateKey
	signer   *Signer
	keys     *KeySet
	verifier *Verifier
	now      time.Time
}

const (
	testAuthority = "STA01"
	testGateway   = "gateway3.example.com"
)

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{root: newKey(t), key: newKey(t), now: time.Unix(1_800_000_000, 0)}
	var err error
	if w.signer, err = NewSigner(testAuthority, w.key); err != nil {
		t.Fatal(err)
	}
	signed, err := SignKeySet(w.root, testAuthority, 1, w.now, []ed25519.PublicKey{public(w.key)})
	if err != nil {
		t.Fatal(err)
	}
	if w.keys, err = VerifyKeySet(signed, testAuthority, Pin(public(w.root))); err != nil {
		t.Fatal(err)
	}
	if w.verifier, err = NewVerifier(w.keys, testGateway, func() time.Time { return w.now }); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) claims(h Handle) Claims {
	bound := h.Hash()
	return Claims{
		ID: "t-1", Audience: []string{testGateway, "gateway4.example.com"},
		User: "jürgen@example.com", Device: "iPhone <14>&", App: "Secure Mail", Platform: "ios",
		Groups: []string{"staff"}, Policy: "mail",
		Data:     []Value{{"ICAAddress", "mail.example.com:443"}},
		Services: []string{"mail.example.com:443"},
		Issued:   w.now, NotBefore: w.now, Expires: w.now.Add(168 * time.Hour),
		Family: "f-1", AuthTime: w.now, Refreshable: true,
		Confirmation: &Confirmation{SPKI: &bound},
		Handle:       h.Hash(),
	}
}

func (w *world) sign(t testing.TB, c Claims) string {
	t.Helper()
	statement, err := w.signer.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

func TestStatementRoundTrip(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	want := w.claims(h)
	got, err := w.verifier.Verify(w.sign(t, want), h.Hash())
	if err != nil {
		t.Fatal(err)
	}
	want.Authority = testAuthority
	g, _ := json.Marshal(toWire(got))
	x, _ := json.Marshal(toWire(&want))
	if string(g) != string(x) {
		t.Errorf("got  %s\nwant %s", g, x)
	}
}

// The names and order of members are the format. Changing one breaks every
// ticket that devices hold.
func TestFormatIsFixed(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	parts := strings.Split(w.sign(t, w.claims(h)), ".")
	head, _ := base64.RawURLEncoding.DecodeString(parts[0])
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	wantHead := `{"alg":"EdDSA","kid":"` + KeyID(public(w.key)) + `","typ":"sallyport-ticket+jwt"}`
	wantBody := `{"iss":"STA01","aud":["gateway3.example.com","gateway4.example.com"],"sub":"jürgen@example.com",` +
		`"jti":"t-1","iat":1800000000,"nbf":1800000000,"exp":1800604800,"dev":"iPhone <14>&","app":"Secure Mail",` +
		`"plt":"ios","grp":["staff"],"pol":"mail","data":[{"name":"ICAAddress","value":"mail.example.com:443"}],` +
		`"svc":["mail.example.com:443"],"fam":"f-1","auth_time":1800000000,"ref":true,` +
		`"cnf":{"spki#S256":"` + h.Hash().String() + `"},"h":"` + h.Hash().String() + `"}`
	if string(head) != wantHead {
		t.Errorf("header\n got %s\nwant %s", head, wantHead)
	}
	if string(body) != wantBody {
		t.Errorf("payload\n got %s\nwant %s", body, wantBody)
	}
}

// RFC 8037 appendix A.3 gives this key's thumbprint.
func TestKeyIDIsTheThumbprint(t *testing.T) {
	x, _ := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if got := KeyID(x); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("KeyID = %s", got)
	}
}

func TestTimes(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	issued := w.now
	statement := w.sign(t, w.claims(h))
	for _, c := range []struct {
		at   time.Duration
		want Reason
	}{
		{-Skew - time.Second, NotYetValid},
		{-Skew, ""},
		{0, ""},
		{168*time.Hour - time.Second, ""},
		{168 * time.Hour, Expired}, // no grace
		{168*time.Hour + Skew, Expired},
		{1000 * time.Hour, Expired},
	} {
		w.now = issued.Add(c.at)
		if _, err := w.verifier.Verify(statement, h.Hash()); ReasonOf(err) != c.want {
			t.Errorf("at %v: %v, want %q", c.at, err, c.want)
		}
	}
}

// forge signs any header and payload, the way an attacker with some key could.
func forge(t testing.TB, key ed25519.PrivateKey, head, body string) string {
	t.Helper()
	b64 := base64.RawURLEncoding
	signing := b64.EncodeToString([]byte(head)) + "." + b64.EncodeToString([]byte(body))
	return signing + "." + b64.EncodeToString(ed25519.Sign(key, []byte(signing)))
}

func TestForgedStatements(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	good := w.sign(t, w.claims(h))
	parts := strings.Split(good, ".")
	rawHead, _ := base64.RawURLEncoding.DecodeString(parts[0])
	rawBody, _ := base64.RawURLEncoding.DecodeString(parts[1])
	head, body := string(rawHead), string(rawBody)
	kid := w.signer.KeyID()
	other := newKey(t)

	if _, err := w.verifier.Verify(forge(t, w.key, head, body), h.Hash()); err != nil {
		t.Fatalf("the forge itself must be able to make a good one: %v", err)
	}
	edit := func(s, from, to string) string {
		t.Helper()
		if !strings.Contains(s, from) {
			t.Fatalf("%q has no %q", s, from)
		}
		return strings.Replace(s, from, to, 1)
	}
	cases := map[string]struct {
		statement string
		want      Reason
	}{
		"signed by another key":         {forge(t, other, head, body), BadSignature},
		"another key's kid":             {forge(t, other, edit(head, kid, KeyID(public(other))), body), BadSignature},
		"the root is no signing key":    {forge(t, w.root, edit(head, kid, KeyID(public(w.root))), body), BadSignature},
		"alg none":                      {strings.Join([]string{b64(edit(head, "EdDSA", "none")), parts[1], ""}, "."), BadSignature},
		"alg none with the signature":   {strings.Join([]string{b64(edit(head, "EdDSA", "none")), parts[1], parts[2]}, "."), BadSignature},
		"alg HS256 over the public key": {forge(t, w.key, edit(head, "EdDSA", "HS256"), body), BadSignature},
		"typ JWT":                       {forge(t, w.key, edit(head, typeTicket, "JWT"), body), BadSignature},
		"typ of a key set":              {forge(t, w.key, edit(head, typeTicket, typeKeySet), body), BadSignature},
		"no kid":                        {forge(t, w.key, edit(head, `"kid":"`+kid+`",`, ""), body), BadSignature},
		"kid is a number":               {forge(t, w.key, edit(head, `"`+kid+`"`, "1"), body), BadSignature},
		"jwk in the header":             {forge(t, w.key, edit(head, `{`, `{"jwk":{"kty":"OKP"},`), body), BadSignature},
		"jku in the header":             {forge(t, w.key, edit(head, `{`, `{"jku":"https://e.example",`), body), BadSignature},
		"x5c in the header":             {forge(t, w.key, edit(head, `{`, `{"x5c":[],`), body), BadSignature},
		"x5u in the header":             {forge(t, w.key, edit(head, `{`, `{"x5u":"https://e.example",`), body), BadSignature},
		"crit in the header":            {forge(t, w.key, edit(head, `{`, `{"crit":["exp"],`), body), BadSignature},
		"another authority":             {forge(t, w.key, head, edit(body, "STA01", "STA02")), WrongAuthority},
		"another gateway":               {forge(t, w.key, head, edit(body, `["gateway3.example.com",`, `["gateway9.example.com",`)), WrongAudience},
		"no audience":                   {forge(t, w.key, head, edit(body, `"aud":["gateway3.example.com","gateway4.example.com"],`, "")), Malformed},
		"no exp":                        {forge(t, w.key, head, edit(body, `"exp":1800604800,`, "")), Malformed},
		"no nbf":                        {forge(t, w.key, head, edit(body, `"nbf":1800000000,`, "")), Malformed},
		"no iat":                        {forge(t, w.key, head, edit(body, `"iat":1800000000,`, "")), Malformed},
		"no jti":                        {forge(t, w.key, head, edit(body, `"jti":"t-1",`, "")), Malformed},
		"no fam":                        {forge(t, w.key, head, edit(body, `"fam":"f-1",`, "")), Malformed},
		"no h":                          {forge(t, w.key, head, edit(body, `,"h":"`+h.Hash().String()+`"`, "")), Malformed},
		"h of another handle":           {forge(t, w.key, head, edit(body, `"h":"`+h.Hash().String(), `"h":"`+NewHandle().Hash().String())), Mismatch},
		"an unknown binding":            {forge(t, w.key, head, edit(body, "spki#S256", "jkt")), Malformed},
		"exp is a string":               {forge(t, w.key, head, edit(body, "1800604800", `"1800604800"`)), Malformed},
		"expired":                       {forge(t, w.key, head, edit(body, "1800604800", "1799999999")), Expired},
		"from the future":               {forge(t, w.key, head, strings.ReplaceAll(body, "1800000000", "1800000100")), NotYetValid},
		"oversized text":                {forge(t, w.key, head, edit(body, "Secure Mail", strings.Repeat("a", MaxText+1))), TooLarge},
		"padded base64":                 {good + "=", Malformed},
		"two parts":                     {parts[0] + "." + parts[1], Malformed},
		"four parts":                    {good + ".e30", Malformed},
		"no payload":                    {parts[0] + ".." + parts[2], Malformed},
		"empty":                         {"", Malformed},
		"oversized":                     {strings.Repeat("a", MaxToken+1), TooLarge},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := w.verifier.Verify(c.statement, h.Hash())
			var refusal *Error
			if !errors.As(err, &refusal) || refusal.Reason != c.want {
				t.Fatalf("got %v (%s), want %s", err, ReasonOf(err), c.want)
			}
			if len(c.statement) > 0 && len(c.statement) < MaxToken && strings.Contains(err.Error(), c.statement) {
				t.Error("the error quotes the statement")
			}
		})
	}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// Every bit of a statement counts.
func TestFlippedBits(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	good := w.sign(t, w.claims(h))
	for i := range len(good) {
		bad := []byte(good)
		bad[i] ^= 1
		if _, err := w.verifier.Verify(string(bad), h.Hash()); err == nil {
			t.Fatalf("accepted with byte %d changed", i)
		}
	}
}

// What stores, caches, lists and logs hold must open nothing, and a record that
// was swapped for another one neither.
func TestStoredValuesOpenNothing(t *testing.T) {
	w, mine, yours := newWorld(t), NewHandle(), NewHandle()
	c := w.claims(mine)
	statement := w.sign(t, c)
	stored := []string{
		statement, c.Handle.String(), c.ID, c.Family, w.signer.KeyID(),
		Pin(public(w.root)), string(c.Handle[:]), fmt.Sprintf("%x", c.Handle[:]),
		fmt.Sprintf("%X", c.Handle[:]), fmt.Sprintf("%X", c.Handle[:16]),
	}
	opens := func(s string) error {
		p, err := ParsePresentation(s)
		if err != nil {
			return err
		}
		if p.Statement == "" {
			// The look-up at the authority, by hash, as a store does it.
			if p.Handle.Hash() != mine.Hash() {
				return refuse(Unknown, "unknown")
			}
			p.Statement = statement
		}
		_, err = w.verifier.Verify(p.Statement, p.Handle.Hash())
		return err
	}
	if err := opens(mine.Reveal()); err != nil {
		t.Fatalf("the handle itself must open: %v", err)
	}
	if err := opens(Token(statement, mine)); err != nil {
		t.Fatalf("the token must open: %v", err)
	}
	for _, value := range stored {
		for _, form := range []string{"%s", "%s~", "~%s", ";40;STA01;%s", ";40;STA01;%s;mail.example.com", statement + "~%s"} {
			if s := fmt.Sprintf(form, value); opens(s) == nil {
				t.Errorf("stored value opens as %s", form)
			}
		}
	}
	// A store that answers with another ticket's statement.
	if _, err := w.verifier.Verify(statement, yours.Hash()); ReasonOf(err) != Mismatch {
		t.Errorf("swapped record: %v", err)
	}
	if err := opens(Token(statement, yours)); ReasonOf(err) != Mismatch {
		t.Errorf("statement with another handle: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	w, h := newWorld(t), NewHandle()
	for name, c := range map[string]struct {
		change func(*Claims)
		want   Reason
	}{
		"no audience":        {func(c *Claims) { c.Audience = nil }, Invalid},
		"empty services":     {func(c *Claims) { c.Services = []string{} }, Invalid},
		"ends at its start":  {func(c *Claims) { c.Expires = c.NotBefore }, Invalid},
		"too much data":      {func(c *Claims) { c.Data = []Value{{"a", strings.Repeat("x", MaxDataBytes)}} }, TooLarge},
		"too many values":    {func(c *Claims) { c.Data = make([]Value, MaxData+1) }, TooLarge},
		"long user":          {func(c *Claims) { c.User = strings.Repeat("ö", MaxText) }, TooLarge},
		"token over 4096":    {func(c *Claims) { c.Groups = manyGroups() }, TooLarge},
		"two bindings":       {func(c *Claims) { c.Confirmation.X5T = c.Confirmation.SPKI }, Malformed},
		"binding to nothing": {func(c *Claims) { c.Confirmation = &Confirmation{} }, Malformed},
		"no id":              {func(c *Claims) { c.ID = "" }, Malformed},
	} {
		claims := w.claims(h)
		c.change(&claims)
		if _, err := w.signer.Sign(claims); ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := NewSigner("sta01", w.key); err == nil {
		t.Error("lower-case authority ID accepted")
	}
	if _, err := NewVerifier(w.keys, "", nil); err == nil {
		t.Error("verifier without audience accepted")
	}
}

func manyGroups() []string {
	groups := make([]string, 10)
	for i := range groups {
		groups[i] = strings.Repeat("g", MaxText-1)
	}
	return groups
}

func TestHandlesDoNotPrint(t *testing.T) {
	h := NewHandle()
	p := Presentation{Form: FormHandle, Handle: h}
	encoded, _ := json.Marshal(p)
	for _, out := range []string{
		fmt.Sprint(h), fmt.Sprintf("%v %+v %#v %s %q %x %d", h, h, h, h, h, h, h),
		fmt.Sprintf("%v %+v %#v", p, p, &p), string(encoded), fmt.Sprintf("%x", []Handle{h}),
	} {
		if strings.Contains(out, h.Reveal()) || strings.Contains(out, fmt.Sprintf("%x", h.Reveal())) {
			t.Errorf("printed: %s", out)
		}
	}
}

func TestHandlesAreEven(t *testing.T) {
	const draws = 3000
	var count [256]int
	seen := make(map[string]bool, draws)
	for range draws {
		h := NewHandle()
		if _, err := ParseHandle(h.Reveal()); err != nil {
			t.Fatal(err)
		}
		if seen[h.Reveal()] {
			t.Fatal("drawn twice")
		}
		seen[h.Reveal()] = true
		for _, c := range []byte(h.Reveal()) {
			count[c]++
		}
	}
	// 96,000 characters over 36: 2,667 each, standard deviation 51. Eight of
	// those either way would come by chance once in 10^14 runs.
	for _, c := range []byte(handleAlphabet) {
		if count[c] < 2667-408 || count[c] > 2667+408 {
			t.Errorf("%c drawn %d times of 96000", c, count[c])
		}
	}
}

func TestKeySet(t *testing.T) {
	w := newWorld(t)
	next := newKey(t)
	keys := []ed25519.PublicKey{public(w.key), public(next)}
	signed, err := SignKeySet(w.root, testAuthority, 2, w.now, keys)
	if err != nil {
		t.Fatal(err)
	}
	pin := Pin(public(w.root))
	set, err := VerifyKeySet(signed, testAuthority, pin)
	if err != nil {
		t.Fatal(err)
	}
	if set.Version != 2 || !set.Names(KeyID(public(next))) || len(set.KeyIDs()) != 2 || !set.Signed.Equal(w.now) {
		t.Errorf("set %+v", set)
	}
	other := newKey(t)
	byOther, _ := SignKeySet(other, testAuthority, 2, w.now, keys)
	h := NewHandle()
	for name, c := range map[string]struct {
		signed, authority, pin string
		want                   Reason
	}{
		"another root":      {byOther, testAuthority, pin, BadSignature},
		"another pin":       {signed, testAuthority, Pin(public(other)), BadSignature},
		"another authority": {signed, "STA02", pin, WrongAuthority},
		"no pin":            {signed, testAuthority, "", Malformed},
		"a statement":       {w.sign(t, w.claims(h)), testAuthority, pin, BadSignature},
		"cut short":         {signed[:len(signed)-2], testAuthority, pin, BadSignature},
		"oversized":         {strings.Repeat("a", MaxKeySet+1), testAuthority, pin, TooLarge},
	} {
		if _, err := VerifyKeySet(c.signed, c.authority, c.pin); ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	// A root that signs nonsense is refused as well.
	body := `{"iss":"STA01","iat":1,"ver":1,"root":"` + base64.RawURLEncoding.EncodeToString(public(w.root)) +
		`","keys":[{"kty":"OKP","crv":"Ed25519","kid":"x","x":"` + base64.RawURLEncoding.EncodeToString(public(next)) + `"}]}`
	odd := forge(t, w.root, `{"alg":"EdDSA","kid":"`+KeyID(public(w.root))+`","typ":"`+typeKeySet+`"}`, body)
	if _, err := VerifyKeySet(odd, testAuthority, pin); ReasonOf(err) != Malformed {
		t.Errorf("key under a wrong kid: %v", err)
	}
	for _, bad := range []struct {
		version uint64
		keys    []ed25519.PublicKey
	}{{0, keys}, {1, nil}, {1, make([]ed25519.PublicKey, MaxKeys+1)}} {
		if _, err := SignKeySet(w.root, testAuthority, bad.version, w.now, bad.keys); err == nil {
			t.Errorf("signed version %d with %d keys", bad.version, len(bad.keys))
		}
	}
}

func TestParsePresentation(t *testing.T) {
	const a, b = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", "543210ZYXWVUTSRQPONMLKJIHGFEDCBA"
	statement := "aaa.bbb.ccc"
	for in, want := range map[string]Form{
		a:                                FormHandle,
		";40;STA01;" + a:                 FormSTA,
		";10;STA475DE9C8ABDA;" + a:       FormSTA,
		";22;STA01;" + a + ";mail.a.b":   FormHost,
		";40;STA01;" + a + ";STA02;" + b: FormPair,
		statement + "~" + a:              FormToken,
	} {
		p, err := ParsePresentation(in)
		if err != nil || p.Form != want || p.Handle.Reveal() != a {
			t.Errorf("%q: %v %v", in, p, err)
		}
	}
	p, _ := ParsePresentation(";40;STA01;" + a + ";STA02;" + b)
	if p.Authority != "STA01" || p.Second == nil || p.Second.Authority != "STA02" || p.Second.Handle.Reveal() != b {
		t.Errorf("pair: %+v", p)
	}
	if p, _ := ParsePresentation(";40;STA01;" + a + ";Mail.Example.com"); p.Host != "Mail.Example.com" {
		t.Errorf("host: %+v", p)
	}
	for _, in := range []string{
		"", ";", ";;", ";;;", a[:31], a + "A", strings.ToLower(a), a[:31] + "ö", a[:31] + " ", " " + a,
		";40;STA01;" + a[:31], ";41;STA01;" + a, ";;STA01;" + a, "40;STA01;" + a, ";40;" + a,
		";40;STA01;" + a + ";", ";40;STA01;" + a + ";STA02;", ";40;STA01;" + a + ";x;" + b,
		";40;STA01;" + a + ";STA02;" + b + ";", ";40;;" + a, ";40;sta01;" + a, ";40;STA;" + a,
		";40;STA0123456789ABCD;" + a, statement + "~", "~" + a, statement + "~~" + a, "aaa.bbb~" + a,
		statement + "~" + a + "~" + a, statement + "~" + strings.ToLower(a), "\x00" + a[1:],
		strings.Repeat("A", MaxToken+1),
	} {
		if p, err := ParsePresentation(in); err == nil {
			t.Errorf("%.60q accepted as %v", in, p.Form)
		} else if len(in) > 12 && strings.Contains(err.Error(), in) {
			t.Errorf("the error quotes %q", in)
		}
	}
}

func TestReasonOf(t *testing.T) {
	if ReasonOf(nil) != "" || ReasonOf(errors.New("x")) != Unavailable {
		t.Error("no error has no reason; an error without one is a failure")
	}
	if ReasonOf(fmt.Errorf("wrapped: %w", refuse(Revoked, "gone"))) != Revoked {
		t.Error("a wrapped refusal keeps its reason")
	}
}
