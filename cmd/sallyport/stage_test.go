package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/bench/standin"
)

// This file has the scripts' commands for files and servers; those for programs
// and ports stand beside TestScripts.

func (s *stage) secret(args []string) {
	text := strings.Join(args[1:], "")
	if text == "" {
		text = newKey()
	}
	s.Check(os.WriteFile(s.MkAbs(args[0]), []byte(text+"\n"), 0o600))
}

// newKey makes a client's key.
func newKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its contract
	return base64.StdEncoding.EncodeToString(key)
}

func (s *stage) edit(args []string) {
	text := s.ReadFile(args[0])
	if n := strings.Count(text, args[1]); n != 1 {
		s.Fatalf("%s has %q %d times, not once", args[0], args[1], n)
	}
	text = strings.Replace(text, args[1], args[2], 1)
	s.Check(os.WriteFile(s.MkAbs(args[0]), []byte(text), 0o644))
}

func (s *stage) mode(args []string) {
	for _, path := range args[1:] {
		info, err := os.Lstat(s.MkAbs(path))
		s.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			s.Fatalf("%s has mode %s", path, got)
		}
	}
}

func (s *stage) empty(args []string) {
	for _, dir := range args {
		entries, err := os.ReadDir(s.MkAbs(dir))
		s.Check(err)
		if len(entries) > 0 {
			s.Fatalf("%s holds %s", dir, entries)
		}
	}
}

func (s *stage) remember(args []string) { s.trees[args[0]] = s.tree(args[0]) }

func (s *stage) unchanged(args []string) {
	before, known := s.trees[args[0]]
	if now := s.tree(args[0]); !known || now != before {
		s.Fatalf("%s changed\nfrom\n%sto\n%s", args[0], before, now)
	}
}

// tree has a line for each file below dir, with mode and content.
func (s *stage) tree(dir string) string {
	var lines strings.Builder
	s.files(dir, func(path string, info fs.FileInfo, content []byte) {
		fmt.Fprintf(&lines, "%v %x %s\n", info.Mode(), sha256.Sum256(content), path)
	})
	return lines.String()
}

// files calls visit for each file below a path, which may be one itself.
func (s *stage) files(path string, visit func(string, fs.FileInfo, []byte)) {
	s.Check(filepath.WalkDir(s.MkAbs(path), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		visit(path, info, content)
		return err
	}))
}

func (s *stage) nowhere(args []string) {
	if len(args[0]) < 24 {
		s.Fatalf("%q is no secret", args[0])
	}
	for _, path := range args[1:] {
		if file := s.find(args[0], path); file != "" {
			s.Fatalf("%s holds it", file)
		}
	}
}

// somewhere proves that nowhere would have found something: it looks for what
// is no secret in the same way.
func (s *stage) somewhere(args []string) {
	for _, path := range args[1:] {
		if s.find(args[0], path) == "" {
			s.Fatalf("%s does not hold it", path)
		}
	}
}

// find returns a file below path that holds the text.
func (s *stage) find(text, path string) (found string) {
	s.files(path, func(file string, _ fs.FileInfo, content []byte) {
		if holds(content, text) {
			found = file
		}
	})
	return found
}

// holds tells whether a secret lies in data, in any of the forms that a careless
// program might put it in: as it is, in base64 or hex, or, if it is base64 itself,
// as the bytes that it stands for.
func holds(data []byte, secret string) bool {
	forms := [][]byte{
		[]byte(secret),
		[]byte(base64.StdEncoding.EncodeToString([]byte(secret))),
		[]byte(base64.RawURLEncoding.EncodeToString([]byte(secret))),
		[]byte(hex.EncodeToString([]byte(secret))),
	}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) >= 24 {
		forms = append(forms, raw, []byte(hex.EncodeToString(raw)))
	}
	for _, form := range forms {
		if len(form) > 0 && bytes.Contains(data, form) {
			return true
		}
	}
	return false
}

func (s *stage) mailServer([]string) {
	dir := s.MkAbs("mail")
	var err error
	s.mail, err = startMailServer(dir)
	s.Check(err)
	s.logs["mail"] = s.mail.log
	s.Setenv("MAIL", strconv.Itoa(s.mail.port))
	at := fmt.Sprintf("https://%s:%d/Microsoft-Server-ActiveSync", mailHost, s.mail.port)
	common := fmt.Sprintf("silent\nshow-error\nmax-time = %d\ncacert = %q\n", int(patience.Seconds()), filepath.Join(dir, "ca.pem"))
	for name, text := range map[string]string{
		"ask.curl": common + "request = OPTIONS\ninclude\nurl = " + at + "\n",
		"ping.curl": common + fmt.Sprintf("data-binary = %q\n", "@"+filepath.Join(dir, "ping.wbxml")) +
			"header = \"Content-Type: application/vnd.ms-sync.wbxml\"\noutput = /dev/null\nwrite-out = \"%{http_code}\\n\"\n" +
			"url = \"" + at + "?Cmd=Ping&User=user2&DeviceId=phone&DeviceType=iPhone\"\n",
		"ping.wbxml": pingDocument,
	} {
		s.Check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
}

// pingDocument is an ActiveSync Ping for the inbox with a heartbeat of 480 s
// (MS-ASCMD; WBXML 1.3, code page 13 of MS-ASWBXML).
const pingDocument = "\x03\x01\x6a\x00\x00\x0d\x45\x48\x03480\x00\x01\x49\x4a\x4b\x031\x00\x01\x4c\x03Email\x00\x01\x01\x01\x01"

func (s *stage) newMail([]string) { s.mail.Notify(standin.Inbox) }

func (s *stage) webServer([]string) {
	l, err := net.Listen("tcp", loopback("0"))
	s.Check(err)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "the web server answers\n")
		}),
		ReadHeaderTimeout: patience,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	s.Defer(func() {
		_ = server.Close()
		<-served
	})
	s.Setenv("WEB", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

func (s *stage) example(args []string) {
	s.freePorts([]string{"AUTHORITY", "GATEWAY"})
	if s.mail == nil {
		s.freePorts([]string{"MAIL"})
	}
	s.Check(writeExample(s.MkAbs(args[0]),
		s.number(s.Getenv("AUTHORITY")), s.number(s.Getenv("GATEWAY")), s.number(s.Getenv("MAIL"))))
}

func (s *stage) site([]string) {
	s.mailServer(nil)
	s.example([]string{"sallyport.yaml"})
	s.secret([]string{"enrolment.key"})
	s.start([]string{"serve", "sallyport", "serve", "--config", "sallyport.yaml"})
	s.waitFor([]string{"serve.err", "event=gateway_ready"})
}

func (s *stage) device(args []string) {
	name := args[0]
	s.Check(s.Exec("sallyport", "ticket", "issue", "--config", "sallyport.yaml", "--user", "user2", "--device", name, "--json"))
	s.json([]string{"stdout", "id=ID", "ticket=TICKET", "token=TOKEN", "expires=EXPIRES"})
	s.secret([]string{name + ".ticket", s.Getenv("TICKET")})
	s.start(append([]string{name, "sallyport", "connect", "--config", "sallyport.yaml", "--ticket-file", name + ".ticket",
		"--listen", "127.0.0.1:0", "--json"}, args[1:]...))
	s.waitFor([]string{name + ".out", `^{"listen":"(.*)","user":"sallyport","password":"(.*)"}$`, "LISTEN", "PASSWORD"})
	s.Setenv("PROXY", "socks5h://sallyport:"+s.Getenv("PASSWORD")+"@"+s.Getenv("LISTEN"))
}
