package redisstore

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func FuzzCursor(f *testing.F) {
	c := cardOf(&sta.Record{ID: "k3", Hash: ticket.NewHandle().Hash(), Expires: time.Unix(1<<31, 0)}, 1<<40)
	for _, text := range []string{"", "!", "AAAA", cursor(c.reference()), cursor(c.reference()[:59]), cursor("+" + c.reference()[1:])} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := parseCursor(text)
		if err != nil {
			if !errors.Is(err, sta.ErrCursor) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if text != "" && cursor(ref) != text {
			t.Errorf("%q and %q are one cursor", text, cursor(ref))
		}
	})
}

func FuzzReference(f *testing.F) {
	c := cardOf(&sta.Record{ID: "k3", Hash: ticket.NewHandle().Hash()}, 1<<40)
	for _, ref := range []string{"", "(", c.reference(), c.reference()[:59], "[" + c.reference()} {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		hash, id, err := parseReference(ref)
		if err == nil && (len(ref) != numberLength+hashLength+len(id) || ref[numberLength:] != hash.String()+id) {
			t.Errorf("%q leads to %s %q", ref, hash, id)
		}
	})
}

func FuzzCard(f *testing.F) {
	r := &sta.Record{ID: "k3", Hash: ticket.NewHandle().Hash(), Family: "f", User: "jürgen", Device: "d", Expires: time.Unix(1<<31, 0)}
	for _, text := range []string{"", "{}", "null", `{"id":"k3","n":-1}`, cardOf(r, 7).text} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCard(text)
		if err != nil {
			return
		}
		if _, id, err := parseReference(c.reference()); err != nil || id != c.ID {
			t.Errorf("the reference of %q leads to %q, %v", text, id, err)
		}
		if s := c.salvage(); s.Statement != "" || s.Hash != (ticket.Hash{}) {
			t.Errorf("%q lets somebody in", text)
		}
	})
}

func FuzzRecord(f *testing.F) {
	for _, data := range []string{"", "{}", "null", `{"id":"k3"}`, `{"id":"k3","hash":"AAAA"}`} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data string) {
		if r, err := parseRecord(data); (r == nil) == (err == nil) || err == nil && r.ID == "" {
			t.Errorf("%q: %v, %v", data, r, err)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add("gw", "a.b.c", 1.0)
	f.Add("gw", "", 0.5)
	f.Fuzz(func(t *testing.T, writer, signed string, score float64) {
		got, position, ok := readable(writer, redis.Z{Score: score, Member: signed})
		if ok && (got != signed || float64(position) != score || position == 0) {
			t.Errorf("%q at %v is at %d", signed, score, position)
		}
	})
}
