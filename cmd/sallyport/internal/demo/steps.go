package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/bench/standin"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/connect"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/tunnel/socks"
)

const (
	user = "user2@example.com"
	app  = "Secure Mail"
)

// show takes the steps. Each returns an error if what it shows did not hold.
func (s *stage) show(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	s.showing.Store(true)
	defer s.showing.Store(false)
	for _, step := range []func(context.Context) error{
		s.getTicket, s.fetchEWS, s.askActiveSync, s.registerForPush, s.waitForMail, s.beRefused, s.beRevoked,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// issue requests a ticket, as the enrolment server does.
func (s *stage) issue(ctx context.Context, device string) (sta.Issued, error) {
	return s.enrolment.Issue(ctx, sta.IssueRequest{User: user, Device: device, App: app, Platform: "ios"})
}

func (s *stage) getTicket(ctx context.Context) error {
	s.quote("hub", "Getting STA Ticket.")
	issued, err := s.issue(ctx, "WorxHome/10.0 (iPhone)")
	if err != nil {
		return fmt.Errorf("requesting a ticket: %w", err)
	}
	s.quote("hub", "Got STA Ticket response.")
	s.quote("hub", "STA Ticket – Success obtaining STA ticket for App – "+app+".")
	line, err := s.lastAudit()
	if err != nil {
		return err
	}
	s.quote("audit", line)
	s.step("ticket %s is good until %s", issued.ID, issued.Expires.UTC().Format(time.RFC3339))
	return os.WriteFile(s.path(fileTicket), []byte(issued.Handle.Reveal()+"\n"), 0o600)
}

// lastAudit gives the newest line of the audit file, which was on disk before
// the ticket left.
func (s *stage) lastAudit() (string, error) {
	f, err := os.Open(s.config.STA.Audit)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var last struct {
		Time string `json:"time"`
		Text string `json:"text"`
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return "", fmt.Errorf("the audit file: %w", err)
		}
	}
	if last.Text == "" {
		return "", errors.New("the audit file has no line for the ticket")
	}
	return last.Time + " " + last.Text, lines.Err()
}

// throughTunnel is the mail app: HTTP over TLS to the mail server, over the
// device's local SOCKS5, over a tunnel.
func (s *stage) throughTunnel() *http.Client {
	proxy := &url.URL{
		Scheme: "socks5h", User: url.UserPassword(connect.LocalUser, s.device.Password()), Host: s.local.Addr().String(),
	}
	return &http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyURL(proxy),
		TLSClientConfig: &tls.Config{RootCAs: s.mailRoots, MinVersion: tls.VersionTLS12},
		// Short tunnels, as a device woken by push opens them.
		DisableKeepAlives: true,
	}}
}

func (s *stage) at(host string) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(s.mailPort))
}

// ask makes one request and gives the answer's header and body.
func (s *stage) ask(ctx context.Context, method, url, contentType string, body []byte) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := s.throughTunnel().Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	return response, answer, err
}

func (s *stage) fetchEWS(ctx context.Context) error {
	_, body, err := s.ask(ctx, http.MethodGet, s.at(ewsHost)+"/ews/exchange.asmx", "", nil)
	if err != nil {
		return fmt.Errorf("EWS through the tunnel: %w", err)
	}
	s.step("EWS answers through the tunnel: %s", strings.TrimSpace(string(body)))
	return nil
}

func (s *stage) askActiveSync(ctx context.Context) error {
	response, _, err := s.ask(ctx, http.MethodOptions, s.at(mailHost)+"/Microsoft-Server-ActiveSync", "", nil)
	if err != nil {
		return fmt.Errorf("ActiveSync through the tunnel: %w", err)
	}
	versions := response.Header.Get("MS-ASProtocolVersions")
	if versions == "" {
		return errors.New("ActiveSync through the tunnel: no MS-ASProtocolVersions in the answer")
	}
	s.step("ActiveSync answers through the tunnel: versions %s", versions)
	return nil
}

func (s *stage) registerForPush(ctx context.Context) error {
	body := []byte(`{"device":"demo-device","token":"demo-push-token"}`)
	if _, _, err := s.ask(ctx, http.MethodPost, s.at(pushHost)+"/register", "application/json", body); err != nil {
		return fmt.Errorf("push registration through the tunnel: %w", err)
	}
	s.step("the device is registered for push at %s", pushHost)
	return nil
}

// ping is an ActiveSync Ping (MS-ASCMD) for the inbox, with a heartbeat of 480 s:
// WBXML 1.3, code page 13 of MS-ASWBXML.
var ping = []byte{
	0x03, 0x01, 0x6A, 0x00, // version, public identifier, UTF-8, no string table
	0x00, 0x0D, 0x45, // page 13, Ping
	0x48, 0x03, '4', '8', '0', 0, 0x01, // HeartbeatInterval
	0x49, 0x4A, // Folders, Folder
	0x4B, 0x03, '1', 0, 0x01, // Id
	0x4C, 0x03, 'E', 'm', 'a', 'i', 'l', 0, 0x01, // Class
	0x01, 0x01, 0x01,
}

const (
	pingPath = "/Microsoft-Server-ActiveSync?Cmd=Ping&User=user2&DeviceId=demo&DeviceType=iPhone"
	wbxml    = "application/vnd.ms-sync.wbxml"
)

// waitForMail holds a Ping, as Direct Push does for minutes, and lets mail come.
func (s *stage) waitForMail(ctx context.Context) error {
	type answer struct {
		body []byte
		err  error
	}
	answered := make(chan answer, 1)
	asked := time.Now()
	go func() {
		_, body, err := s.ask(ctx, http.MethodPost, s.at(mailHost)+pingPath, wbxml, ping)
		answered <- answer{body, err}
	}()
	select {
	case <-s.held:
	case a := <-answered:
		return fmt.Errorf("the Ping was answered at once: %w", errors.Join(a.err, errors.New("it should have been held")))
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mail.Notify(standin.Inbox)
	a := <-answered
	if a.err != nil {
		return fmt.Errorf("a Ping through the tunnel: %w", a.err)
	}
	if len(a.body) == 0 {
		return errors.New("the Ping's answer is empty")
	}
	s.step("a Ping was held over the tunnel, mail came, and it was answered after %.3f s", time.Since(asked).Seconds())
	return nil
}

// beRefused asks for a host that is not on the list.
func (s *stage) beRefused(ctx context.Context) error {
	conn, err := s.tunnels.Dial(ctx, "tcp", net.JoinHostPort(unlisted, "443"))
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s is not on the list and could be reached", unlisted)
	}
	var reply *socks.ReplyError
	if !errors.As(err, &reply) || reply.Reply != socks.NotAllowed {
		return fmt.Errorf("%s should have been refused with reply 0x02, not: %w", unlisted, err)
	}
	s.step("%s is not on the list: refused, reply 0x02, %s", unlisted, reply.Reply)
	return nil
}

// beRevoked gives a second device a ticket and a live tunnel, and takes both
// away.
func (s *stage) beRevoked(ctx context.Context) error {
	issued, err := s.issue(ctx, "WorxHome/10.0 (lost phone)")
	if err != nil {
		return fmt.Errorf("requesting a second ticket: %w", err)
	}
	lost := s.deviceConfig(func() (string, error) { return issued.Handle.Reveal(), nil })
	phone, err := connect.NewClient(lost)
	if err != nil {
		return err
	}
	conn, err := phone.Dial(ctx, "tcp", net.JoinHostPort(mailHost, strconv.Itoa(s.mailPort)))
	if err != nil {
		return fmt.Errorf("the lost phone's tunnel: %w", err)
	}
	defer conn.Close()
	app := tls.Client(conn, &tls.Config{RootCAs: s.mailRoots, ServerName: mailHost, MinVersion: tls.VersionTLS12})
	if err := app.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS to the mail server over the lost phone's tunnel: %w", err)
	}
	cut := make(chan time.Time, 1)
	go func() {
		_, _ = app.Read(make([]byte, 1)) // there is nothing to read until the end
		cut <- time.Now()
	}()
	revoked := time.Now()
	result, err := s.enrolment.Revoke(ctx, sta.RevokeRequest{Ticket: issued.ID})
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	if len(result.Gateways) != 1 || result.Gateways[0].Cut != 1 {
		return fmt.Errorf("revoking should have cut 1 tunnel at 1 gateway: %+v", result.Gateways)
	}
	select {
	case at := <-cut:
		s.step("a phone is lost: its ticket is revoked, its live tunnel was cut %.3f s later", at.Sub(revoked).Seconds())
	case <-ctx.Done():
		return errors.New("the revoked ticket's tunnel is still alive")
	}
	again, err := phone.Dial(ctx, "tcp", net.JoinHostPort(mailHost, strconv.Itoa(s.mailPort)))
	if err == nil {
		again.Close()
		return errors.New("the revoked ticket still opens tunnels")
	}
	s.step("and it opens no new one: %v", err)
	return nil
}

// farewell says what can be done while the demo stays up. command is how this
// program is called.
func (s *stage) farewell(command string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
It stays up. In another shell:

  # EWS through the tunnel
  curl --proxy socks5h://sallyport:%[1]s@%[2]s \
    --cacert %[3]s %[4]s/ews/exchange.asmx

  # the tickets, and revoking one by its id
  %[5]s ticket list --config %[6]s
  %[5]s ticket revoke --config %[6]s ID

  # what the gateway logs
  tail -f %[7]s

Ctrl-C stops it.`, s.device.Password(), s.local.Addr(), quoted(s.path(dirMail, "ca.pem")), s.at(ewsHost), quoted(command),
		quoted(s.path(fileConfig)), quoted(s.path(fileLog)))
	if s.keep {
		fmt.Fprintf(&b, " It leaves %s on the disk, about 100 KB, made anew by the next demo.", s.dir)
	}
	return b.String()
}

// quoted makes a path one word of a shell.
func quoted(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune(plainCharacters, r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,"
