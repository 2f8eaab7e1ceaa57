package revlog

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/sta/ticket"
)

func TestMain(m *testing.M) {
	if play := os.Getenv("REVLOG_TEST_PLAYS"); play != "" {
		os.Exit(plays[play](os.Getenv("REVLOG_TEST_PATH")))
	}
	goleak.VerifyTestMain(m)
}

var epoch = time.Unix(1_800_000_000, 0).UTC()

// authority is what signs: one key, and the set that names it.
type authority struct {
	root   ed25519.PrivateKey
	signer *ticket.Signer
	keys   *ticket.KeySet
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t testing.TB, key ed25519.PrivateKey) *ticket.Signer {
	t.Helper()
	signer, err := ticket.NewSigner("STA01", key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{root: newKey(t)}
	key := newKey(t)
	a.signer = newSigner(t, key)
	a.keys = a.keySet(t, 1, key)
	return a
}

func (a *authority) keySet(t testing.TB, version uint64, key ed25519.PrivateKey) *ticket.KeySet {
	t.Helper()
	list := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	signed, err := ticket.SignKeySet(a.root, "STA01", version, epoch, list)
	if err != nil {
		t.Fatal(err)
	}
	set, err := ticket.VerifyKeySet(signed, "STA01", ticket.Pin(a.root.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// ofUser is a revocation that may be forgotten some hours after the epoch.
func ofUser(user string, hours int) ticket.Revocation {
	return ticket.Revocation{
		Time: epoch, By: "ops", User: user, Cut: epoch, Forget: epoch.Add(time.Duration(hours) * time.Hour),
	}
}

func open(t testing.TB, path, writer string) *Log {
	t.Helper()
	l, err := Open(path, writer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func reopen(t testing.TB, l *Log) *Log {
	t.Helper()
	path := l.disk.db.Path()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, path, l.writer)
}

func file(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state", "revocations.db")
}

// fill appends entries for "user 1" and so on, each to be forgotten an hour after
// the one before.
func fill(t testing.TB, a *authority, l *Log, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if _, err := l.Append(a.signer, ofUser(fmt.Sprint("user ", i), i)); err != nil {
			t.Fatal(err)
		}
	}
}

func head(l *Log) *ticket.Head {
	return &ticket.Head{Node: "n", Serial: 1, Time: epoch, Keys: 1, Tips: l.Tips()}
}

func (l *Log) ends(user string) bool {
	return l.Find(&ticket.Subject{User: user, Issued: epoch}, epoch) != nil
}

func checkEnds(t testing.TB, l *Log, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if !l.ends(fmt.Sprint("user ", i)) {
			t.Errorf("user %d is not ended", i)
		}
	}
}

// give hands on what one log has and another has not.
func give(t testing.TB, a *authority, from, to *Log) []ticket.Entry {
	t.Helper()
	added, err := to.Take(a.keys, from.After(to.Positions(), 1<<30), head(from))
	if err != nil {
		t.Fatal(err)
	}
	return added
}
