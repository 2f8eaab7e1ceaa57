package standin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const activeSyncURL = "https://" + mailHost + "/Microsoft-Server-ActiveSync"

func TestOptions(t *testing.T) {
	overBoth(t, func(t *testing.T, r running) {
		for _, path := range []string{"/Microsoft-Server-ActiveSync", "/traveler/Microsoft-Server-ActiveSync"} {
			got := r.do(t, "OPTIONS", "https://"+mailHost+path, "", "")
			want := map[string]string{
				"MS-Server-ActiveSync":  "15.1",
				"MS-ASProtocolVersions": "2.5,12.0,12.1,14.0,14.1,16.0,16.1",
				"MS-ASProtocolCommands": "FolderSync,Ping",
				"Public":                "OPTIONS,POST",
				"Allow":                 "OPTIONS,POST",
				"Content-Length":        "0",
			}
			if got.status != http.StatusOK {
				t.Fatalf("%s: %d", path, got.status)
			}
			for name, value := range want {
				if got.header.Get(name) != value {
					t.Errorf("%s: %s is %q, want %q", path, name, got.header.Get(name), value)
				}
			}
		}
		if n := r.Stats().Requests[Options]; n != 2 {
			t.Errorf("counted %d", n)
		}
	})
}

// pingDoc is a Ping's document; a negative heartbeat or no folders leave the
// element out.
func pingDoc(heartbeat int, folders ...string) string {
	root := element{tag: pingPing}
	if heartbeat >= 0 {
		root.children = append(root.children, leaf(pingHeartbeatInterval, strconv.Itoa(heartbeat)))
	}
	if len(folders) > 0 {
		list := element{tag: pingFolders}
		for _, id := range folders {
			list.children = append(list.children, branch(pingFolder, leaf(pingID, id), leaf(pingClass, "Email")))
		}
		root.children = append(root.children, list)
	}
	return string(encodeWBXML(root))
}

func (r running) ping(t *testing.T, device, doc string) element {
	t.Helper()
	got := r.do(t, "POST", activeSyncURL+"?Cmd=Ping&DeviceId="+device, typeWBXML, doc)
	if got.status != http.StatusOK {
		t.Fatalf("Ping: %d %s", got.status, got.body)
	}
	root, err := decodeWBXML([]byte(got.body))
	if err != nil {
		t.Fatalf("Ping: %v", err)
	}
	return root
}

// wantPing compares an answer with a status and its folders.
func wantPing(t *testing.T, got element, status string, folders ...string) {
	t.Helper()
	want := branch(pingPing, leaf(pingStatus, status))
	if len(folders) > 0 {
		list := element{tag: pingFolders}
		for _, id := range folders {
			list.children = append(list.children, leaf(pingFolder, id))
		}
		want.children = append(want.children, list)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("answered %v, want %v", got, want)
	}
}

func TestPingHoldsForTheHeartbeat(t *testing.T) {
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		for _, heartbeat := range []time.Duration{MinHeartbeat, MaxHeartbeat} {
			t.Run(proto+" "+heartbeat.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, nil, http2)
					began := time.Now()
					got := r.ping(t, "d1", pingDoc(int(heartbeat/time.Second), Inbox))
					wantPing(t, got, pingExpired)
					if took := time.Since(began); took != heartbeat {
						t.Errorf("held for %v, want %v", took, heartbeat)
					}
				})
			})
		}
	}
}

func TestNotifyEndsPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, false)
		began := time.Now()
		answered := make(chan element)
		go func() { answered <- r.ping(t, "d1", pingDoc(900, Inbox, Calendar)) }()
		synctest.Wait()
		if n := r.Stats().Holding; n != 1 {
			t.Fatalf("%d held", n)
		}
		time.Sleep(10 * time.Minute) // fake time: longer than every deadline of the listener
		r.Notify(Contacts)           // not watched
		synctest.Wait()
		if n := r.Stats().Holding; n != 1 {
			t.Fatal("a folder that nobody watches ended the Ping")
		}
		r.Notify(Calendar)
		wantPing(t, <-answered, pingChanged, Calendar)
		if took := time.Since(began); took != 10*time.Minute {
			t.Errorf("took %v", took)
		}
		if n := r.Stats().Holding; n != 0 {
			t.Errorf("%d held at the end", n)
		}
	})
}

// What came while the device was away is told at once, and only once; what a
// request leaves out is taken from the one before.
func TestPingRemembersTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, false)
		wantPing(t, r.ping(t, "d1", pingDoc(60, Inbox)), pingExpired)
		r.Notify(Inbox)
		r.Notify(Inbox)
		began := time.Now()
		wantPing(t, r.ping(t, "d1", ""), pingChanged, Inbox)
		if took := time.Since(began); took != 0 {
			t.Errorf("told after %v", took)
		}
		wantPing(t, r.ping(t, "d1", pingDoc(120)), pingExpired)
		if took := time.Since(began); took != 2*time.Minute {
			t.Errorf("held for %v", took)
		}
		wantPing(t, r.ping(t, "d1", pingDoc(-1, Sent)), pingExpired)
		if took := time.Since(began); took != 4*time.Minute {
			t.Errorf("held for %v", took)
		}
		wantPing(t, r.ping(t, "d2", ""), pingIncomplete)
		wantPing(t, r.ping(t, "", ""), pingIncomplete)
	})
}

// A Ping that its client gave up tells nobody, so the next one must.
func TestPingGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, false)
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", activeSyncURL+"?Cmd=Ping&DeviceId=d1", strings.NewReader(pingDoc(900, Inbox)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", typeWBXML)
		gone := make(chan error)
		go func() {
			_, err := r.client.Do(req)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := r.Stats().Holding; n != 0 {
			t.Fatalf("%d held after the client went", n)
		}
		r.Notify(Inbox)
		wantPing(t, r.ping(t, "d1", ""), pingChanged, Inbox)
	})
}

func TestShutdownLetsPingGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, false)
		answered := make(chan answer)
		go func() {
			answered <- r.do(t, "POST", activeSyncURL+"?Cmd=Ping&DeviceId=d1", typeWBXML, pingDoc(900, Inbox))
		}()
		synctest.Wait()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-answered; got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("answered %d %v", got.status, got.header)
		}
	})
}

func TestPingBounds(t *testing.T) {
	outOfRange := func(nearest string) element {
		return branch(pingPing, leaf(pingStatus, pingOutOfRange), leaf(pingHeartbeatInterval, nearest))
	}
	many := make([]string, maxPingFolders+1)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	malformed := branch(pingPing, leaf(pingStatus, pingMalformed))
	tests := []struct {
		name, doc string
		want      element
	}{
		{"zero", pingDoc(0, Inbox), outOfRange("60")},
		{"low", pingDoc(59, Inbox), outOfRange("60")},
		{"high", pingDoc(3541, Inbox), outOfRange("3540")},
		{"huge", pingDoc(1<<31-1, Inbox), outOfRange("3540")},
		{"beyond", pingDoc(1<<31, Inbox), malformed},
		{"no folders", pingDoc(60), branch(pingPing, leaf(pingStatus, pingIncomplete))},
		{"no heartbeat", pingDoc(-1, Inbox), branch(pingPing, leaf(pingStatus, pingIncomplete))},
		{"too many", pingDoc(60, many...), branch(pingPing, leaf(pingStatus, pingTooMany), leaf(pingMaxFolders, "200"))},
		{"another root", string(encodeWBXML(branch(hierarchyFolderSync, leaf(hierarchySyncKey, "0")))), malformed},
		{"long folder", pingDoc(60, strings.Repeat("x", maxFolderID+1)), malformed},
		{"words", string(encodeWBXML(branch(pingPing, leaf(pingHeartbeatInterval, "soon")))), malformed},
		{"folder without id", string(encodeWBXML(branch(pingPing, leaf(pingHeartbeatInterval, "60"),
			branch(pingFolders, branch(pingFolder, leaf(pingClass, "Email")))))), malformed},
	}
	r := start(t, nil, true)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := r.ping(t, "", tt.doc); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("answered %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFolderSync(t *testing.T) {
	r := start(t, nil, false)
	ask := func(key string) element {
		doc := encodeWBXML(branch(hierarchyFolderSync, leaf(hierarchySyncKey, key)))
		got := r.do(t, "POST", activeSyncURL+"?Cmd=FolderSync", typeWBXML, string(doc))
		if got.status != http.StatusOK || got.header.Get("Content-Type") != typeWBXML {
			t.Fatalf("%d %v", got.status, got.header)
		}
		root, err := decodeWBXML([]byte(got.body))
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	first := ask("0")
	changes, _ := first.child(hierarchyChanges)
	if count, _ := changes.child(hierarchyCount); count.text != "5" || len(changes.children) != 6 {
		t.Errorf("first sync: %v", first)
	}
	inbox, _ := changes.child(hierarchyAdd)
	if id, _ := inbox.child(hierarchyServerID); id.text != Inbox {
		t.Errorf("first folder: %v", inbox)
	}
	key, _ := first.child(hierarchySyncKey)
	if changes, _ := ask(key.text).child(hierarchyChanges); len(changes.children) != 1 {
		t.Errorf("second sync tells %v", changes)
	}
	if status, _ := ask("77").child(hierarchyStatus); status.text != folderSyncInvalidKey {
		t.Errorf("unknown key: status %q", status.text)
	}
	if status, _ := ask("").child(hierarchyStatus); status.text != folderSyncInvalidKey {
		t.Errorf("empty key: status %q", status.text)
	}
}

func TestBadCommands(t *testing.T) {
	good := pingDoc(60, Inbox)
	tests := []struct {
		name, query, contentType, body string
		status                         int
	}{
		{"no command", "", typeWBXML, good, 400},
		{"unknown command", "?Cmd=Sync", typeWBXML, good, 501},
		{"broken", "?Cmd=Ping", typeWBXML, good[:len(good)-1], 400},
		{"no WBXML", "?Cmd=FolderSync", typeWBXML, "<Ping/>", 400},
		{"type", "?Cmd=Ping", "text/xml", good, 415},
		{"no type", "?Cmd=Ping", "", good, 415},
		{"oversized", "?Cmd=Ping", typeWBXML, strings.Repeat("x", maxCommandBody+1), 413},
		{"long device", "?Cmd=Ping&DeviceId=" + strings.Repeat("d", 33), typeWBXML, good, 400},
	}
	overBoth(t, func(t *testing.T, r running) {
		for _, tt := range tests {
			if got := r.do(t, "POST", activeSyncURL+tt.query, tt.contentType, tt.body); got.status != tt.status {
				t.Errorf("%s: %d %s, want %d", tt.name, got.status, got.body, tt.status)
			}
		}
	})
}

// The document of a real client, byte by byte: heartbeat 80, folder 5, class Email.
func TestPingOnTheWire(t *testing.T) {
	doc := []byte("\x03\x01\x6a\x00\x00\x0d\x45\x48\x0380\x00\x01\x49\x4a\x4b\x035\x00\x01\x4c\x03Email\x00\x01\x01\x01\x01")
	if want := pingDoc(80, "5"); string(doc) != want {
		t.Errorf("written as %x, want %x", want, doc)
	}
	root, err := decodeWBXML(doc)
	if err != nil {
		t.Fatal(err)
	}
	req, err := parsePing(root)
	if err != nil || req.heartbeat != 80*time.Second || len(req.folders) != 1 || req.folders[0] != "5" {
		t.Errorf("read as %+v, %v", req, err)
	}
	answer := encodeWBXML(branch(pingPing, leaf(pingStatus, "1")))
	if want := []byte("\x03\x01\x6a\x00\x00\x0d\x45\x47\x031\x00\x01\x01"); !bytes.Equal(answer, want) {
		t.Errorf("answered %x, want %x", answer, want)
	}
}
