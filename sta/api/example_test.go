package api_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
)

// An enrolment server asks for a ticket when a device is enrolled, and ends all
// that a user has when he leaves.
func ExampleClient() {
	server, key := startAuthority()
	defer server.Close()

	// The address and the key file are those that the authority's operator gave.
	authority, err := api.NewClient(api.ClientConfig{URL: server.URL, Key: key, TLS: trust(server)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer authority.Close()

	enrol := func(user, device string) error {
		issued, err := authority.Issue(context.Background(), sta.IssueRequest{User: user, Device: device, App: "Secure Mail"})
		if err != nil {
			return err
		}
		// issued.Handle.Reveal() goes to the device, and nowhere else.
		fmt.Printf("%s has a ticket of %d characters\n", user, len(issued.Handle.Reveal()))
		return nil
	}
	leave := func(user, operator string) error {
		result, err := authority.Revoke(context.Background(), sta.RevokeRequest{User: user, Operator: operator})
		if err != nil {
			return err
		}
		fmt.Printf("ended %d of %s, and %d tunnels\n", result.Matched, user, result.Cut())
		return nil
	}
	for _, err := range []error{
		enrol("user2@example.com", "iphone-7"), enrol("user2@example.com", "ipad-2"), leave("user2@example.com", "help desk"),
		leave("user3@example.com", "help desk"),
	} {
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// user2@example.com has a ticket of 32 characters
	// user2@example.com has a ticket of 32 characters
	// ended 2 of user2@example.com, and 0 tunnels
	// the authority says: no ticket has this user
}

// startAuthority serves an authority on loopback, with one client.
func startAuthority() (*httptest.Server, sta.Key) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "sallyport")
	must(err)
	defer os.RemoveAll(dir)
	authority, _, err := newAuthority(context.Background(), dir, &audit{})
	must(err)
	key, err := randomKey()
	must(err)
	clients, err := sta.NewClients([]sta.ClientConfig{
		{Name: "enrolment", Keys: []sta.Key{key}, May: sta.MayIssue | sta.MayRevoke},
	})
	must(err)
	server := httptest.NewUnstartedServer(nil)
	server.Config = api.NewServer(api.NewHandler(authority, clients, api.Options{}))
	server.TLS = api.AskForCertificates(&tls.Config{})
	server.EnableHTTP2 = true
	server.StartTLS()
	return server, key
}

// trust gives a configuration that trusts the server.
func trust(server *httptest.Server) *tls.Config {
	return server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}
