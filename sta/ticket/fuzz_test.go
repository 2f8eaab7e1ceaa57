package ticket

import (
	"strings"
	"testing"
)

// What is accepted must be what its parts spell out again, and nothing that is
// printed may hold the secret.
func FuzzPresentation(f *testing.F) {
	const a, b = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", "543210ZYXWVUTSRQPONMLKJIHGFEDCBA"
	for _, seed := range []string{
		"", a, a + "A", ";40;STA01;" + a, ";40;STA01;" + a + ";mail.example.com",
		";40;STA01;" + a + ";STA02;" + b, "x.y.z~" + a, ";;;;;", "~", "..~" + a, ";40;STA01;" + a + ";;",
		"\xff" + a, strings.Repeat(";", 300),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := ParsePresentation(in)
		if err != nil {
			if ReasonOf(err) == Unavailable {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		if _, err := ParseHandle(p.Handle.Reveal()); err != nil {
			t.Fatalf("accepted a handle that is none: %q", in)
		}
		var again string
		switch p.Form {
		case FormHandle:
			again = p.Handle.Reveal()
		case FormToken:
			again = Token(p.Statement, p.Handle)
		default:
			again = in[:4] + p.Authority + ";" + p.Handle.Reveal()
			if p.Form == FormHost {
				again += ";" + p.Host
			}
			if p.Form == FormPair {
				again += ";" + p.Second.Authority + ";" + p.Second.Handle.Reveal()
			}
		}
		if again != in {
			t.Fatalf("%q is spelt again as %q", in, again)
		}
	})
}

// No bytes that the authority did not sign are ever accepted.
func FuzzVerify(f *testing.F) {
	w, h := newWorld(f), NewHandle()
	good := w.sign(f, w.claims(h))
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, "", "..", "a.b.c", good + "=", parts[0] + "." + parts[1] + ".",
		good + "\n", good[:len(good)-9] + "\r" + good[len(good)-9:],
		b64(`{"alg":"none"}`) + "." + parts[1] + ".", parts[1] + "." + parts[1] + "." + parts[2],
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if _, err := w.verifier.Verify(in, h.Hash()); (err == nil) != (in == good) {
			t.Fatalf("%q: %v", in, err)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	w := newWorld(f)
	pin := Pin(public(w.root))
	good, err := SignKeySet(w.root, testAuthority, 7, w.now, nil)
	if err == nil {
		f.Fatal("signed a set without keys")
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Add(b64(`{"alg":"EdDSA","kid":"x","typ":"sallyport-keys+jwt"}`) + "." + b64(`{"iss":"STA01","ver":1,"keys":[]}`) + ".")
	f.Fuzz(func(t *testing.T, in string) {
		if _, err := VerifyKeySet(in, testAuthority, pin); err == nil {
			t.Fatalf("accepted %q", in)
		}
	})
}

func FuzzHash(f *testing.F) {
	f.Add(NewHandle().Hash().String())
	f.Add("")
	f.Add(strings.Repeat("_", 43))
	f.Add(strings.Repeat("A", 42) + "\n")
	f.Fuzz(func(t *testing.T, in string) {
		if h, err := ParseHash(in); err == nil && h.String() != in {
			t.Fatalf("%q has a second spelling %q", in, h)
		}
	})
}

func FuzzRef(f *testing.F) {
	for _, seed := range []string{"", "a:1", "a:01", "gw-1.k3f9x2ab:9007199254740992", ":1", "a:", "a:1,b:2", "b:1,a:1", ",", "a:1,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if r, err := ParseRef(in); err == nil && r.String() != in {
			t.Fatalf("%q has a second spelling %q", in, r)
		} else if err != nil && ReasonOf(err) != Malformed {
			t.Fatalf("%q: %v", in, err)
		}
		if p, err := ParsePositions(in); err == nil && p.String() != in {
			t.Fatalf("%q has a second spelling %q", in, p)
		}
	})
}

// No entry that the authority did not sign passes, and what can be read at all
// is a revocation that can be signed again.
func FuzzEntry(f *testing.F) {
	w := newWorld(f)
	good := w.run(f, "gw-1.a", 1)[0].Signed
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, good + "\n", "", "..", "a.b.c", parts[0] + "." + parts[1] + ".",
		b64(w.header(typeEntry)) + "." + b64("null") + ".",
		b64(w.header(typeEntry)) + "." + b64(`{"log":"a","pos":1,"rev":{"all":true,"stage":-1}}`) + ".",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if _, err := w.keys.VerifyRun([]string{in}); (err == nil) != (in == good) {
			t.Fatalf("%q: %v", in, err)
		}
		e, err := ParseEntry(in)
		if err != nil {
			if ReasonOf(err) == Unavailable {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		if _, err := w.signer.SignEntry(e.Writer, e.Position, e.Previous, e.Revocation); err != nil && ReasonOf(err) != TooLarge {
			t.Fatalf("%q was read, and cannot be signed: %v", in, err)
		}
	})
}

func FuzzHead(f *testing.F) {
	w := newWorld(f)
	h := testHead(w.now)
	good, err := w.signer.SignHead(&h)
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for _, seed := range []string{good, good + "\r", "", "..", "a.b.c", parts[0] + "." + parts[1] + ".", b64(w.header(typeHead)) + "." + b64("null") + "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if _, err := w.keys.VerifyHead(in); (err == nil) != (in == good) {
			t.Fatalf("%q: %v", in, err)
		}
	})
}
