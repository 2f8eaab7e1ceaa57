package standin

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Code page 13, Ping of MS-ASWBXML.
const (
	pingPing              tag = 0x0D05
	pingStatus            tag = 0x0D07
	pingHeartbeatInterval tag = 0x0D08
	pingFolders           tag = 0x0D09
	pingFolder            tag = 0x0D0A
	pingID                tag = 0x0D0B
	pingClass             tag = 0x0D0C
	pingMaxFolders        tag = 0x0D0D
)

// Statuses of a Ping (MS-ASCMD, Status (Ping)).
const (
	pingExpired    = "1" // nothing happened during the heartbeat
	pingChanged    = "2" // the folders named have something new
	pingIncomplete = "3" // heartbeat or folders missing, and none remembered
	pingMalformed  = "4"
	pingOutOfRange = "5" // the nearest heartbeat allowed is told
	pingTooMany    = "6" // the number of folders allowed is told
)

// The bounds that a Ping is held to.
const (
	MinHeartbeat = 60 * time.Second
	MaxHeartbeat = 3540 * time.Second

	maxPingFolders = 200
	maxFolderID    = 64 // bytes (MS-ASCMD, ServerId)
	maxDeviceID    = 32 // bytes (MS-ASHTTP, DeviceId)
	maxDevices     = 20_000
)

// pingRequest is what a Ping asks; zero fields were left out.
type pingRequest struct {
	heartbeat time.Duration
	folders   []string
}

var errPing = errors.New("not a Ping")

// parsePing reads a Ping's document.
func parsePing(root element) (pingRequest, error) {
	if root.tag != pingPing || root.text != "" {
		return pingRequest{}, errPing
	}
	var req pingRequest
	if e, ok := root.child(pingHeartbeatInterval); ok {
		seconds, err := strconv.ParseUint(e.text, 10, 31)
		if err != nil {
			return pingRequest{}, errPing
		}
		// Zero is a heartbeat too, and out of range; only absence is none.
		req.heartbeat = max(time.Duration(seconds)*time.Second, 1)
	}
	if e, ok := root.child(pingFolders); ok {
		for _, f := range e.children {
			id, ok := f.child(pingID)
			if f.tag != pingFolder || !ok || id.text == "" || len(id.text) > maxFolderID {
				return pingRequest{}, errPing
			}
			if !slices.Contains(req.folders, id.text) {
				req.folders = append(req.folders, id.text)
			}
			if len(req.folders) > maxPingFolders {
				break // enough to be answered with Status 6
			}
		}
	}
	return req, nil
}

// ping is the long poll that keeps a device's mail current: it holds until a
// watched folder changes or the heartbeat is over.
func (s *Server) ping(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("DeviceId")
	if len(id) > maxDeviceID {
		http.Error(w, "ActiveSync stand-in: the DeviceId is too long", http.StatusBadRequest)
		return
	}
	root, empty, ok := readCommand(w, r)
	if !ok {
		return
	}
	var req pingRequest
	if !empty {
		var err error
		if req, err = parsePing(root); err != nil {
			writeCommand(w, branch(pingPing, leaf(pingStatus, pingMalformed)))
			return
		}
	}
	dev := s.devices.get(id)
	req = dev.complete(req)
	if answer, bad := refusePing(req); bad {
		writeCommand(w, answer)
		return
	}
	s.holdPing(w, r, dev, req)
}

// refusePing answers what is out of bounds.
func refusePing(req pingRequest) (element, bool) {
	switch {
	case req.heartbeat == 0 || len(req.folders) == 0:
		return branch(pingPing, leaf(pingStatus, pingIncomplete)), true
	case req.heartbeat < MinHeartbeat || req.heartbeat > MaxHeartbeat:
		nearest := min(max(req.heartbeat, MinHeartbeat), MaxHeartbeat)
		return branch(pingPing,
			leaf(pingStatus, pingOutOfRange),
			leaf(pingHeartbeatInterval, strconv.Itoa(int(nearest/time.Second)))), true
	case len(req.folders) > maxPingFolders:
		return branch(pingPing,
			leaf(pingStatus, pingTooMany),
			leaf(pingMaxFolders, strconv.Itoa(maxPingFolders))), true
	}
	return element{}, false
}

// holdPing waits, and answers unless the client has gone.
func (s *Server) holdPing(w http.ResponseWriter, r *http.Request, dev *device, req pingRequest) {
	if err := extend(w, req.heartbeat); err != nil {
		http.Error(w, "ActiveSync stand-in: this connection cannot be held", http.StatusInternalServerError)
		return
	}
	heartbeat := time.NewTimer(req.heartbeat)
	defer heartbeat.Stop()
	changes, more := dev.look(s.mail, req.folders)
	if len(changes) == 0 {
		defer s.hold(Ping)()
	}
	for len(changes) == 0 {
		select {
		case <-more:
			changes, more = dev.look(s.mail, req.folders)
		case <-heartbeat.C:
			writeCommand(w, branch(pingPing, leaf(pingStatus, pingExpired)))
			return
		case <-r.Context().Done():
			return
		case <-s.closing:
			w.Header().Set("Retry-After", "10")
			http.Error(w, "ActiveSync stand-in: shutting down", http.StatusServiceUnavailable)
			return
		}
	}
	dev.settle(changes)
	folders := make([]element, len(changes))
	for i, c := range changes {
		folders[i] = leaf(pingFolder, c.folder)
	}
	writeCommand(w, branch(pingPing, leaf(pingStatus, pingChanged), branch(pingFolders, folders...)))
}

// device is what the server remembers between the Pings of one device.
type device struct {
	mu   sync.Mutex
	last pingRequest
	seen marks
}

// complete fills what the request left out from the one before, and remembers it.
func (d *device) complete(req pingRequest) pingRequest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if req.heartbeat == 0 {
		req.heartbeat = d.last.heartbeat
	}
	if len(req.folders) == 0 {
		req.folders = d.last.folders
	}
	if _, bad := refusePing(req); !bad {
		d.last = req
		for f := range d.seen { // so that the marks stay as bounded as the folders
			if !slices.Contains(req.folders, f) {
				delete(d.seen, f)
			}
		}
	}
	return req
}

func (d *device) look(m *mailbox, folders []string) ([]change, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return m.look(folders, d.seen)
}

func (d *device) settle(told []change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen.settle(told)
}

// devices are found by the DeviceId of the query. Beyond maxDevices, and without
// an ID, nothing is remembered: such a Ping must be complete.
type devices struct {
	mu   sync.Mutex
	byID map[string]*device
}

func newDevices() *devices { return &devices{byID: make(map[string]*device)} }

func (d *devices) get(id string) *device {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dev, ok := d.byID[id]; ok {
		return dev
	}
	dev := &device{seen: make(marks)}
	if id != "" && len(d.byID) < maxDevices {
		d.byID[id] = dev
	}
	return dev
}
