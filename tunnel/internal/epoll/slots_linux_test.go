package epoll

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

type nobody struct{}

func (*nobody) Ready(int, Events, bool) {}

// The table against one that never uses a slot again.
func TestSlotsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type tenant struct {
			owner Owner
			fds   [2]int
		}
		var s slots
		live, gone := make(map[Token]tenant), make(map[Token]bool)
		pick := func(t *rapid.T) (Token, bool) {
			if len(live) == 0 {
				return 0, false
			}
			tokens := make([]Token, 0, len(live))
			for token := range live {
				tokens = append(tokens, token)
			}
			return rapid.SampledFrom(tokens).Draw(t, "token"), true
		}
		most := 0
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				in := tenant{&nobodies[len(live)], [2]int{rapid.IntRange(0, math.MaxInt32).Draw(t, "fd"), 3}}
				token := s.put(in.owner, in.fds)
				if _, again := live[token]; again || gone[token] || token == 0 || token.side() != 0 {
					t.Fatalf("token %#x is not new", token)
				}
				live[token] = in
				most = max(most, len(live))
			},
			"take": func(t *rapid.T) {
				token, ok := pick(t)
				if !ok {
					return
				}
				if fds, ok := s.take(token); !ok || fds != live[token].fds {
					t.Fatalf("took %v, %v; want %v", fds, ok, live[token].fds)
				}
				delete(live, token)
				gone[token] = true
			},
			"": func(t *rapid.T) {
				for token, in := range live {
					if s.owner(token) != in.owner || s.owner(token|1) != in.owner {
						t.Fatalf("token %#x does not lead to its owner", token)
					}
				}
				for token := range gone {
					if _, ok := s.take(token); ok || s.owner(token) != nil {
						t.Fatalf("token %#x, which has gone, leads to somebody", token)
					}
				}
				if s.held != len(live) || len(s.table) != most {
					t.Fatalf("%d held in %d slots, want %d in %d", s.held, len(s.table), len(live), most)
				}
			},
		})
	})
}

var nobodies [1000]struct {
	nobody
	_ byte // so that each has an address of its own
}

func TestGenerationsGoRound(t *testing.T) {
	var s slots
	s.take(s.put(&nobody{}, [2]int{3, 4}))
	s.table[0].generation = math.MaxUint32
	last := s.put(&nobody{}, [2]int{3, 4})
	s.take(last)
	first := s.put(&nobody{}, [2]int{3, 4})
	if first == 0 || first == last || s.owner(first) == nil || s.owner(last) != nil || s.owner(0) != nil {
		t.Errorf("after %#x comes %#x", last, first)
	}
}

func TestTokensThatNameNothing(t *testing.T) {
	var s slots
	s.put(&nobody{}, [2]int{3, 4})
	for _, stranger := range []Token{0, 1, 2, math.MaxUint32, math.MaxUint64, token(1, 1), token(0, 2)} {
		if s.owner(stranger) != nil {
			t.Errorf("token %#x leads to somebody", stranger)
		}
		if _, ok := s.take(stranger); ok {
			t.Errorf("token %#x was taken", stranger)
		}
	}
}
