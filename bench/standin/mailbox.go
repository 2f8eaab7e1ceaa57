package standin

import "sync"

// Server IDs of the standard folders, as FolderSync tells them.
const (
	Inbox    = "1"
	Drafts   = "2"
	Sent     = "3"
	Calendar = "4"
	Contacts = "5"
)

// folder is one row of the hierarchy: what ActiveSync and what EWS call it.
type folder struct {
	id            string // ActiveSync server ID, and our own name for it
	name          string
	kind          string // MS-ASCMD, Type (FolderSync)
	distinguished string // EWS DistinguishedFolderId
}

// hierarchy lists the mailbox's folders. Never changed.
func hierarchy() []folder {
	return []folder{
		{Inbox, "Inbox", "2", "inbox"},
		{Drafts, "Drafts", "3", "drafts"},
		{Sent, "Sent Items", "5", "sentitems"},
		{Calendar, "Calendar", "8", "calendar"},
		{Contacts, "Contacts", "9", "contacts"},
	}
}

// marks tell how many messages each watched folder had when someone last looked.
type marks map[string]uint64

// change is a folder whose count went from the mark to now.
type change struct {
	folder    string
	mark, now uint64
}

// mailbox counts the messages of each folder and wakes whoever waits for more.
type mailbox struct {
	mu     sync.Mutex
	counts map[string]uint64
	more   chan struct{} // closed and replaced at every delivery
}

func newMailbox() *mailbox {
	return &mailbox{counts: make(map[string]uint64), more: make(chan struct{})}
}

// deliver adds a message and wakes all.
func (m *mailbox) deliver(folder string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[folder]++
	close(m.more)
	m.more = make(chan struct{})
}

// count returns a folder's number of messages.
func (m *mailbox) count(folder string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[folder]
}

// look compares the folders with the marks. A folder without a mark counts as
// seen up to now, and gets its mark. It returns what is new in the order of
// folders, and a channel that is closed at the next delivery. The marks move
// only by settle: what could not be told stays new.
func (m *mailbox) look(folders []string, seen marks) ([]change, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var changes []change
	for _, f := range folders {
		n := m.counts[f]
		mark, known := seen[f]
		switch {
		case !known:
			seen[f] = n
		case n > mark:
			changes = append(changes, change{f, mark, n})
		}
	}
	return changes, m.more
}

// settle moves the marks past the changes told, never back.
func (s marks) settle(told []change) {
	for _, c := range told {
		s[c.folder] = max(s[c.folder], c.now)
	}
}
