package standin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestBulkBothWays(t *testing.T) {
	const size = 3*bulkBlock + 17
	overBoth(t, func(t *testing.T, r running) {
		down := r.do(t, "GET", fmt.Sprintf("https://%s/bulk?bytes=%d&seed=7", mailHost, size), "", "")
		if down.status != http.StatusOK || len(down.body) != size {
			t.Fatalf("%d, %d bytes", down.status, len(down.body))
		}
		sum := sha256.Sum256([]byte(down.body))
		if got := down.trailer.Get(ChecksumTrailer); got != hex.EncodeToString(sum[:]) {
			t.Errorf("checksum %q, want %x", got, sum)
		}
		for _, method := range []string{"PUT", "POST"} {
			up := r.do(t, method, "https://"+ewsHost+"/bulk", "", down.body)
			var got received
			if err := json.Unmarshal([]byte(up.body), &got); err != nil || up.status != http.StatusOK {
				t.Fatalf("%d %s %v", up.status, up.body, err)
			}
			if got.Bytes != size || got.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%s: received %+v", method, got)
			}
		}
		if st := r.Stats(); st.Requests[BulkDown] != 1 || st.Requests[BulkUp] != 2 {
			t.Errorf("counted %v", st.Requests)
		}
	})
}

// An upload may last far longer than any deadline, as long as it moves.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, false)
		body, feed := io.Pipe()
		go func() {
			defer feed.Close()
			for range 10 {
				time.Sleep(stall - time.Second)
				if _, err := feed.Write([]byte("block")); err != nil {
					return
				}
			}
		}()
		got := r.send(t, newRequest(t, "PUT", "https://"+mailHost+"/bulk", body))
		if got.status != http.StatusOK || !strings.Contains(got.body, `"bytes":50`) {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
}

// One that stands still is ended. This goes without TLS: crypto/tls waits for
// its mutexes when it closes, and time would not pass in the bubble.
func TestStandingUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		ln := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.http.Serve(ln) }()
		conn, err := ln.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := io.WriteString(conn, "PUT /bulk HTTP/1.1\r\nHost: "+mailHost+"\r\nContent-Length: 9\r\n\r\nblock"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); resp.StatusCode != http.StatusBadRequest || took != stall {
			t.Errorf("answered %d after %v", resp.StatusCode, took)
		}
		_ = conn.Close()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// A download may be read slowly too, and goes on to its checksum.
func TestSlowDownload(t *testing.T) {
	const size = 4 * bulkBlock
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, false)
		resp, err := r.client.Get(fmt.Sprintf("https://%s/bulk?bytes=%d", mailHost, size))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		sum := sha256.New()
		for {
			time.Sleep(stall / 2)
			_, err := io.CopyN(sum, resp.Body, bulkBlock/2)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := resp.Trailer.Get(ChecksumTrailer); got != hex.EncodeToString(sum.Sum(nil)) {
			t.Errorf("checksum %q", got)
		}
	})
}

func TestNewBulk(t *testing.T) {
	const size = 2*bulkBlock + 5
	read := func(seed uint64, n int64) []byte {
		b, err := io.ReadAll(NewBulk(seed, n))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole := read(1, size)
	if len(whole) != size {
		t.Fatalf("%d bytes", len(whole))
	}
	if !bytes.Equal(whole[:1000], read(1, 1000)) {
		t.Error("the length changes the bytes")
	}
	if bytes.Equal(whole[:1000], read(2, 1000)) {
		t.Error("the seed changes nothing")
	}
	if bytes.Equal(whole[:bulkBlock], whole[bulkBlock:2*bulkBlock]) {
		t.Error("two blocks are the same")
	}
	if err := iotest.TestReader(NewBulk(1, size), whole); err != nil {
		t.Error(err)
	}
}

func TestBadBulk(t *testing.T) {
	r := start(t, nil, false)
	for _, query := range []string{"", "?bytes=", "?bytes=-1", "?bytes=1.5", "?bytes=1099511627777", "?bytes=99999999999999999999", "?bytes=1&seed=x"} {
		if got := r.do(t, "GET", "https://"+mailHost+"/bulk"+query, "", ""); got.status != http.StatusBadRequest {
			t.Errorf("%q: %d", query, got.status)
		}
	}
	empty := r.do(t, "GET", "https://"+mailHost+"/bulk?bytes=0", "", "")
	if sum := sha256.Sum256(nil); empty.status != 200 || empty.trailer.Get(ChecksumTrailer) != hex.EncodeToString(sum[:]) {
		t.Errorf("nothing: %d %v", empty.status, empty.trailer)
	}
}

func TestRegister(t *testing.T) {
	const token = "secret-push-token"
	tests := []struct {
		name, contentType, body string
		status                  int
	}{
		{"good", typeJSON, `{"device":"d1","token":"` + token + `"}`, 201},
		{"umlaut", "application/json; charset=utf-8", `{"device":"Gerät €","token":"` + token + `"}`, 201},
		{"type", "text/plain", `{"device":"d1","token":"t"}`, 415},
		{"broken", typeJSON, `{"device":"d1"`, 400},
		{"empty", typeJSON, ``, 400},
		{"no token", typeJSON, `{"device":"d1"}`, 400},
		{"unknown field", typeJSON, `{"device":"d1","token":"t","more":1}`, 400},
		{"two", typeJSON, `{"device":"d1","token":"t"}{}`, 400},
		{"not an object", typeJSON, `[]`, 400},
		{"long", typeJSON, `{"device":"` + strings.Repeat("d", maxPushField+1) + `","token":"t"}`, 400},
		{"oversized", typeJSON, `{"device":"` + strings.Repeat("d", maxRegistration) + `","token":"t"}`, 413},
	}
	r := start(t, nil, true)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.do(t, "POST", "https://"+pushHost+"/register", tt.contentType, tt.body)
			if got.status != tt.status {
				t.Fatalf("%d %s, want %d", got.status, got.body, tt.status)
			}
			if strings.Contains(got.body, token) {
				t.Error("the answer repeats the token")
			}
			var reg registered
			if tt.status == 201 && (json.Unmarshal([]byte(got.body), &reg) != nil || reg.ID == "" || reg.Device == "") {
				t.Errorf("answered %s", got.body)
			}
		})
	}
}

// FuzzRegistration: what is accepted is whole and within its bounds.
func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"device":"d1","token":"t"}`))
	f.Add([]byte(`{"device":"","token":null} x`))
	f.Fuzz(func(t *testing.T, body []byte) {
		reg, err := parseRegistration(body)
		if err == nil && (reg.Device == "" || len(reg.Device) > maxPushField || reg.Token == "" || len(reg.Token) > maxPushField) {
			t.Fatalf("accepted %d and %d bytes", len(reg.Device), len(reg.Token))
		}
	})
}
