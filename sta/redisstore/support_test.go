package redisstore_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
	"github.com/sallyport/sallyport/sta/ticket"
)

func newRecord() *sta.Record {
	now := time.Now().UTC().Truncate(time.Second)
	return &sta.Record{
		ID: strings.ToLower(rand.Text()), Hash: ticket.NewHandle().Hash(), Family: strings.ToLower(rand.Text()),
		User: "user2", Device: "d1", App: "Secure Mail", Policy: "field",
		Issued: now, Expires: now.Add(168 * time.Hour), Refreshable: true, Client: "enrolment",
		Statement: "e30." + strings.Repeat("e", 900) + ".c2ln",
	}
}

func put(t testing.TB, s sta.Store) *sta.Record {
	t.Helper()
	r := newRecord()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return r
}

func newEntries(t testing.TB, writer string, n int) []ticket.Entry {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ticket.NewSigner("STA01", key)
	if err != nil {
		t.Fatal(err)
	}
	entries := make([]ticket.Entry, n)
	var previous ticket.Hash
	for i := range entries {
		entries[i], err = signer.SignEntry(writer, uint64(i)+1, previous, ticket.Revocation{
			Time: time.Now(), By: "desk", Ticket: "t1", Forget: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		previous = entries[i].Hash()
	}
	return entries
}

func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: error is %v, want %v", what, err, target)
	}
}

// failing wants an error that is no answer: a server that is not there has not
// said that something is not there.
func failing(t testing.TB, what string, err error) {
	t.Helper()
	for _, answer := range []error{nil, sta.ErrNotFound, sta.ErrExists, sta.ErrVersion, sta.ErrFork, sta.ErrNoCopy} {
		if errors.Is(err, answer) {
			t.Errorf("%s: error is %v, want a failure", what, err)
		}
	}
}

// setUser gives the user sallyport these rights and no others.
func setUser(t testing.TB, server *redistest.Server, rules []string) {
	t.Helper()
	args := []any{"acl", "setuser", "sallyport", "reset"}
	for _, rule := range rules {
		args = append(args, rule)
	}
	server.Do(args...)
}

// patience bounds what has to happen some time.
const patience = 20 * time.Second

// eventually tries until something succeeds. What fails does so after a while.
func eventually(t testing.TB, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still: %v", err)
		}
	}
}

func hint(t testing.TB, hints <-chan struct{}) {
	t.Helper()
	select {
	case _, open := <-hints:
		if !open {
			t.Fatal("the watch has ended")
		}
	case <-time.After(patience):
		t.Fatal("no hint")
	}
}

// keysOf lists all keys of an authority without their prefix.
func keysOf(server *redistest.Server, authority string) []string {
	prefix := "sallyport:{" + authority + "}:"
	var names []string
	for _, key := range server.Do("keys", prefix+"*").([]any) {
		names = append(names, strings.TrimPrefix(key.(string), prefix))
	}
	return names
}
