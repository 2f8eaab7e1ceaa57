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
	f.Fuzz(func(t *testing.T, in string) {
		if h, err := ParseHash(in); err == nil && h.String() != in {
			t.Fatalf("%q has a second spelling %q", in, h)
		}
	})
}
