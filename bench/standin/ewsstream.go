package standin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Bounds of streaming subscriptions. One agent watches up to 15,000 mailboxes.
const (
	maxSubscriptions      = 20_000
	maxStreamSubs         = 200 // of one GetStreamingEvents
	maxConnectionTimeout  = 30  // minutes; the least is 1
	subscriptionIdle      = 30 * time.Minute
	errNoSubscription     = "ErrorInvalidSubscription"
	textNoSubscription    = "The subscription does not exist."
	opStreaming           = "GetStreamingEvents"
	elementSubscriptionID = "SubscriptionId"
)

// subscription is a set of folders that some client watches.
type subscription struct {
	id      string
	folders []string

	mu      sync.Mutex
	seen    marks
	expires time.Time
}

func (u *subscription) look(m *mailbox) ([]change, <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return m.look(u.folders, u.seen)
}

func (u *subscription) settle(told []change) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen.settle(told)
}

// subscriptions hold what Subscribe made, until Unsubscribe or expiry.
type subscriptions struct {
	mu   sync.Mutex
	byID map[string]*subscription
}

func newSubscriptions() *subscriptions {
	return &subscriptions{byID: make(map[string]*subscription)}
}

// add returns nil when there are too many, all of them alive.
func (s *subscriptions) add(folders []string, now time.Time) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) >= maxSubscriptions {
		for id, u := range s.byID {
			if u.expired(now) {
				delete(s.byID, id)
			}
		}
	}
	if len(s.byID) >= maxSubscriptions {
		return nil
	}
	u := &subscription{id: rand.Text(), folders: folders, seen: make(marks), expires: now.Add(subscriptionIdle)}
	s.byID[u.id] = u
	return u
}

func (s *subscriptions) get(id string, now time.Time) (*subscription, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.byID[id]
	if ok && u.expired(now) {
		delete(s.byID, id)
		return nil, false
	}
	return u, ok
}

func (s *subscriptions) remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.byID[id]
	delete(s.byID, id)
	return ok
}

func (u *subscription) expired(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return now.After(u.expires)
}

func (u *subscription) keep(until time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expires = until
}

// ewsSubscribe makes a streaming subscription; pull and push are not offered.
func (s *Server) ewsSubscribe(w http.ResponseWriter, op *node) {
	req := op.first("StreamingSubscriptionRequest")
	if req == nil {
		writeFault(w, "ErrorInvalidRequest", "The stand-in offers streaming subscriptions only.")
		return
	}
	var folders []string
	refs := folderRefs(req.first("FolderIds"))
	if req.attr("SubscribeToAllFolders") == "true" {
		for _, f := range hierarchy() {
			folders = append(folders, f.id)
		}
	} else if len(refs) == 0 || len(refs) > maxEWSFolders {
		writeFault(w, "ErrorSchemaValidation", fmt.Sprintf("FolderIds must name 1 to %d folders.", maxEWSFolders))
		return
	}
	for _, ref := range refs {
		f, ok := findFolder(ref)
		if !ok {
			writeSOAP(w, http.StatusOK, response("Subscribe", bad("Subscribe", "ErrorFolderNotFound", "The specified folder could not be found in the store.")))
			return
		}
		folders = append(folders, f.id)
	}
	u := s.subs.add(folders, time.Now())
	if u == nil {
		writeSOAP(w, http.StatusOK, response("Subscribe", bad("Subscribe", "ErrorExceededSubscriptionCount", "There are too many subscriptions.")))
		return
	}
	u.look(s.mail) // mail from now on is new, not only from the first stream on
	writeSOAP(w, http.StatusOK, response("Subscribe", good("Subscribe", `<m:SubscriptionId>`+u.id+`</m:SubscriptionId>`)))
}

func (s *Server) ewsUnsubscribe(w http.ResponseWriter, op *node) {
	id := op.first(elementSubscriptionID)
	if id == nil || !s.subs.remove(id.text) {
		writeSOAP(w, http.StatusOK, response("Unsubscribe", bad("Unsubscribe", errNoSubscription, textNoSubscription)))
		return
	}
	writeSOAP(w, http.StatusOK, response("Unsubscribe", good("Unsubscribe", "")))
}

// ewsStream keeps the answer open and writes one envelope for each new message
// until the client's ConnectionTimeout is over.
func (s *Server) ewsStream(w http.ResponseWriter, r *http.Request, op *node) {
	ids := op.first("SubscriptionIds").all(elementSubscriptionID)
	minutes := 0
	if n := op.first("ConnectionTimeout"); n != nil {
		minutes, _ = strconv.Atoi(n.text) // what is no number is out of range
	}
	if len(ids) == 0 || len(ids) > maxStreamSubs || minutes < 1 || minutes > maxConnectionTimeout {
		writeFault(w, "ErrorSchemaValidation", fmt.Sprintf("SubscriptionIds must hold 1 to %d, ConnectionTimeout 1 to %d minutes.", maxStreamSubs, maxConnectionTimeout))
		return
	}
	timeout := time.Duration(minutes) * time.Minute
	subs := make([]*subscription, len(ids))
	now := time.Now()
	for i, id := range ids {
		u, ok := s.subs.get(id.text, now)
		if !ok {
			writeSOAP(w, http.StatusOK, response(opStreaming, bad(opStreaming, errNoSubscription, textNoSubscription)))
			return
		}
		u.keep(now.Add(timeout + subscriptionIdle))
		subs[i] = u
	}
	if err := extend(w, timeout); err != nil {
		writeFault(w, "ErrorInternalServerError", "This connection cannot be held.")
		return
	}
	w.Header().Set("Content-Type", typeXMLReply)
	st := &stream{s: s, w: w, subs: subs}
	if err := st.run(r, timeout); err == nil {
		_ = st.status("Closed") // the client may have gone just now
	}
}

// stream is one open GetStreamingEvents.
type stream struct {
	s    *Server
	w    http.ResponseWriter
	subs []*subscription
}

var errGone = errors.New("the client has gone")

// run writes events until the timeout or Shutdown (nil) or until the client has
// gone.
func (st *stream) run(r *http.Request, timeout time.Duration) error {
	if err := st.status("OK"); err != nil {
		return err
	}
	end := time.NewTimer(timeout)
	defer end.Stop()
	defer st.s.hold(EWS)()
	for {
		more, err := st.tell()
		if err != nil {
			return err
		}
		select {
		case <-more:
		case <-end.C:
			return nil
		case <-st.s.closing:
			return nil
		case <-r.Context().Done():
			return errGone
		}
	}
}

// tell writes what is new and returns the channel for the next time. The channel
// is the first subscription's, taken before any other was looked at, so that no
// delivery falls between two looks.
func (st *stream) tell() (<-chan struct{}, error) {
	var first <-chan struct{}
	for i, u := range st.subs {
		changes, more := u.look(st.s.mail)
		if i == 0 {
			first = more
		}
		for _, c := range changes {
			for n := c.mark + 1; n <= c.now; n++ {
				if err := st.event(u, c.folder, n); err != nil {
					return nil, err
				}
			}
		}
		u.settle(changes)
	}
	return first, nil
}

func (st *stream) event(u *subscription, folder string, n uint64) error {
	return st.write(`<m:Notifications><m:Notification><t:SubscriptionId>` + u.id + `</t:SubscriptionId><t:NewMailEvent><t:TimeStamp>` +
		time.Now().UTC().Format(time.RFC3339) + `</t:TimeStamp>` + itemID(folder, n) + folderID("ParentFolderId", folder) +
		`</t:NewMailEvent></m:Notification></m:Notifications>`)
}

func (st *stream) status(status string) error {
	return st.write(`<m:ConnectionStatus>` + status + `</m:ConnectionStatus>`)
}

// write sends one whole envelope at once.
func (st *stream) write(content string) error {
	if _, err := io.WriteString(st.w, envelope(response(opStreaming, good(opStreaming, content)))); err != nil {
		return err
	}
	return http.NewResponseController(st.w).Flush()
}
