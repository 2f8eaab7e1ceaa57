package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// tickets requests the first ticket by the sallyport command. If there are to be
// many, one a device, it requests the others as an enrolment server would, since
// a process for each would take minutes.
func (b *bench) tickets(ctx context.Context, n *node) ([]string, error) {
	tickets := make([]string, b.plan.Tickets)
	var err error
	if tickets[0], err = n.issue(ctx, "device-0"); err != nil || len(tickets) == 1 {
		return tickets, err
	}
	enrolment, err := newEnrolment(n, b.identity)
	if err != nil {
		return nil, err
	}
	defer enrolment.http.CloseIdleConnections()
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(b.plan.Parallel)
	for i := range tickets[1:] {
		work.Go(func() (err error) {
			tickets[1+i], err = enrolment.issue(ctx, fmt.Sprintf("device-%d", 1+i))
			return err
		})
	}
	return tickets, work.Wait()
}

// enrolment is a client of the authority's JSON door.
type enrolment struct {
	url  string
	key  string
	http *http.Client
}

func newEnrolment(n *node, identity identity) (*enrolment, error) {
	pem, err := os.ReadFile(identity.cert)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(n.dir, "enrolment.key"))
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(n.api)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	var dialer net.Dialer
	return &enrolment{
		url: n.api + "/v1/tickets",
		key: strings.TrimSpace(string(key)),
		http: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
			// The name is in the certificate and in no DNS.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", at.Port()))
			},
			ForceAttemptHTTP2: true,
		}},
	}, nil
}

func (e *enrolment) issue(ctx context.Context, device string) (string, error) {
	body, err := json.Marshal(map[string]string{"user": "hotpath", "device": device, "app": "Secure Mail"})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+e.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := e.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return "", err
	}
	var issued struct{ Ticket string }
	if response.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("requesting the ticket of %s: %s: %s", device, response.Status, answer)
	}
	if err := json.Unmarshal(answer, &issued); err != nil {
		return "", fmt.Errorf("requesting the ticket of %s: %w", device, err)
	}
	return issued.Ticket, nil
}
