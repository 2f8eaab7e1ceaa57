package ctxsta_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta/ctxsta"
)

// head is a POST's header in a client's own words; more is further fields.
func (d *door) head(client, version, more string) string {
	return "POST /scripts/ctxsta.DLL HTTP/" + version + "\r\nHost: sta\r\nContent-Type: text/xml\r\n" +
		"x-citrix-xmlservicekey: " + d.keys[client].Reveal() + "\r\n" + more + "\r\n"
}

func length(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }

func TestExpectIsHonouredForClientsOnly(t *testing.T) {
	d := openDoor(t)
	const expect = "Expect: 100-continue\r\n"

	conn, reader := d.dial(t)
	_, _ = io.WriteString(conn, d.head("enrolment", "1.1", expect+length(len(verbatim))))
	if line, _ := reader.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("a client is told %q", line)
	}
	if line, _ := reader.ReadString('\n'); line != "\r\n" {
		t.Fatalf("and then %q", line)
	}
	_, _ = io.WriteString(conn, verbatim)
	if a := next(t, reader); a.StatusCode != 200 || a.between("Ticket") == "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}

	for name, test := range map[string]struct {
		head string
		want int
	}{
		"stranger":         {d.head("stranger", "1.1", expect+length(len(verbatim))), 401},
		"large stranger":   {d.head("stranger", "1.1", expect+length(10<<20)), 401},
		"large client":     {d.head("enrolment", "1.1", expect+length(10<<20)), 413},
		"of another type":  {strings.Replace(d.head("enrolment", "1.1", expect+length(100)), "text/xml", "text/plain", 1), 415},
		"at a wrong place": {strings.Replace(d.head("enrolment", "1.1", expect+length(100)), "ctxsta", "wpnbr", 1), 404},
		"GET with a body":  {strings.Replace(d.head("enrolment", "1.1", expect+length(100)), "POST", "GET", 1), 406},
	} {
		conn, reader := d.dial(t)
		_, _ = io.WriteString(conn, test.head)
		a := next(t, reader) // would be the 100
		if a.StatusCode != test.want {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
		if _, err := reader.ReadByte(); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
}

// A body of 10 MB is not read to its end, whether or not its length is stated,
// and of a stranger's no more than what came along with the request.
func TestLargeBodiesAreNotRead(t *testing.T) {
	for name, test := range map[string]struct {
		client, length string
		want, most     int
	}{
		"stranger":          {"stranger", length(10 << 20), 401, 64 << 10},
		"chunking stranger": {"stranger", "Transfer-Encoding: chunked\r\n", 401, 64 << 10},
		"client":            {"enrolment", length(10 << 20), 413, 64 << 10},
		"chunking client":   {"enrolment", "Transfer-Encoding: chunked\r\n", 413, 2 * ctxsta.MaxBody},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			conn, reader := d.dial(t)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(conn, d.head(test.client, "1.1", test.length))
				chunk := strings.Repeat("x", 16<<10)
				if strings.HasPrefix(test.length, "Transfer") {
					chunk = fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk)
				}
				for range 10 << 20 / (16 << 10) {
					if _, err := io.WriteString(conn, chunk); err != nil {
						return
					}
				}
			}()
			if a := next(t, reader); a.StatusCode != test.want {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			_ = conn.Close()
			<-sent
			// Beside the body: handshake, header, and what was on its way.
			if got := d.received.Load(); got > int64(test.most)+64<<10 {
				t.Errorf("%d bytes were read", got)
			}
		})
	}
}

func TestChunkedBody(t *testing.T) {
	d := openDoor(t)
	conn, reader := d.dial(t)
	request := d.head("enrolment", "1.1", "Transfer-Encoding: chunked\r\n")
	for part := range strings.SplitAfterSeq(verbatim, ">") {
		if part != "" {
			request += fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
		}
	}
	_, _ = io.WriteString(conn, request+"0\r\n\r\n")
	if a := next(t, reader); a.StatusCode != 200 || a.between("Ticket") == "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestPipelining(t *testing.T) {
	d := openDoor(t)
	conn, reader := d.dial(t)
	request := d.head("desk", "1.1", length(len(verbatim))) + verbatim
	info := message("<RequestSTAInfo/>")
	_, _ = io.WriteString(conn, request+d.head("desk", "1.1", length(len(info)))+info+request)
	first, second, third := next(t, reader), next(t, reader), next(t, reader)
	if first.between("Ticket") == "" || second.between("ResponseSTAInfo") == "" || third.between("Ticket") == "" ||
		first.between("Ticket") == third.between("Ticket") {
		t.Errorf("%s%s%s", first.body, second.body, third.body)
	}
}

// What a stranger sends behind his first request is not taken for a second one.
func TestStrangersDoNotPipeline(t *testing.T) {
	d := openDoor(t)
	conn, reader := d.dial(t)
	_, _ = io.WriteString(conn, d.head("stranger", "1.1", length(len(verbatim)))+verbatim+d.head("desk", "1.1", length(len(verbatim)))+verbatim)
	if a := next(t, reader); a.StatusCode != 401 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if rest, _ := io.ReadAll(reader); len(rest) > 0 {
		t.Errorf("a second answer: %s", rest)
	}
	if log := d.logged(); len(log) != 1 {
		t.Errorf("%d requests", len(log))
	}
}

func TestHTTP10(t *testing.T) {
	d := openDoor(t)
	conn, reader := d.dial(t)
	_, _ = io.WriteString(conn, d.head("enrolment", "1.0", length(len(verbatim)))+verbatim)
	a := next(t, reader)
	if a.StatusCode != 200 || a.between("Ticket") == "" || a.ContentLength != int64(len(a.body)) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if _, err := reader.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}

func TestMediaTypes(t *testing.T) {
	d := openDoor(t)
	for contentType, want := range map[string]int{
		"text/xml": 200, "text/xml; charset=utf-8": 200, "application/xml": 200, "application/x-www-form-urlencoded": 200,
		"": 415, "text/plain": 415, "application/json": 415, "text/xml; charset=utf-16": 415, "text/xml; charset": 415,
	} {
		header := d.as("enrolment")
		header.Set("Content-Type", contentType)
		a := d.send(t, "POST", ctxsta.Path, strings.NewReader(verbatim), header)
		if checkAnswer(t, a); a.StatusCode != want {
			t.Errorf("%q: %d", contentType, a.StatusCode)
		}
	}
	header := d.as("enrolment")
	header.Set("Content-Encoding", "gzip")
	if a := d.send(t, "POST", ctxsta.Path, strings.NewReader(verbatim), header); a.StatusCode != 415 {
		t.Errorf("compressed: %d", a.StatusCode)
	}
}

func TestKeyHeaderCanBeChosen(t *testing.T) {
	d := openDoor(t, func(o *ctxsta.Options) { o.KeyHeader = "x-our-key" })
	header := http.Header{"X-Our-Key": {d.keys["enrolment"].Reveal()}, "Content-Type": {"text/xml"}}
	if a := d.send(t, "POST", ctxsta.Path, strings.NewReader(verbatim), header); a.StatusCode != 200 {
		t.Errorf("by the chosen header: %d", a.StatusCode)
	}
	if a := d.send(t, "POST", ctxsta.Path, strings.NewReader(verbatim), d.as("enrolment")); a.StatusCode != 401 {
		t.Errorf("by the usual one: %d", a.StatusCode)
	}
}
