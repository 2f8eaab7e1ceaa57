package gateway_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// plant puts a record into the store behind the authority's back, as somebody
// who owns the store could, and gives the handle. The authority's own checks
// are satisfied; what is wrong with the statement is for the gateway to see.
func (w *world) plant(t *testing.T, change func(*ticket.Claims), signer *ticket.Signer) string {
	t.Helper()
	handle := ticket.NewHandle()
	now := w.clock.now().Truncate(time.Second)
	c := ticket.Claims{
		ID: "planted-" + rand.Text(), Audience: []string{fqdn}, User: "u", Device: "d",
		Issued: now, NotBefore: now, Expires: now.Add(2 * time.Hour),
		Family: "f-" + rand.Text(), AuthTime: now, Refreshable: true, Handle: handle.Hash(),
	}
	if change != nil {
		change(&c)
	}
	if signer == nil {
		signer = w.signer
	}
	statement, err := signer.Sign(c)
	must(t, err)
	must(t, w.store.Put(t.Context(), &sta.Record{
		ID: c.ID, Hash: c.Handle, Family: c.Family, User: c.User, Device: c.Device,
		Issued: c.Issued, Expires: now.Add(2 * time.Hour), Refreshable: true, Client: "thief", Statement: statement,
	}))
	return handle.Reveal()
}

// strangeSigner signs in the authority's name with a key of its own.
func strangeSigner(t *testing.T) *ticket.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ticket.NewSigner(authority, key)
	must(t, err)
	return signer
}

func ticketHash(handle string) string {
	h, err := ticket.ParseHandle(handle)
	if err != nil {
		panic(err)
	}
	return h.Hash().String()
}

// flip changes the lowest bit that leaves a handle a handle.
func flip(handle string) string {
	b := []byte(handle)
	if b[0]++; b[0] == '9'+1 || b[0] == 'Z'+1 {
		b[0] -= 2
	}
	return string(b)
}

// presentRaw offers user and password and gives all that is answered.
func presentRaw(t *testing.T, conn *tls.Conn, user, password string) []byte {
	t.Helper()
	message := append([]byte{5, 1, 2, 1, byte(len(user))}, user...)
	message = append(append(message, byte(len(password))), password...)
	_, err := conn.Write(message)
	must(t, err)
	answer, err := io.ReadAll(conn)
	must(t, err)
	return answer
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}
