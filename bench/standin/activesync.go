package standin

import (
	"net/http"
	"strconv"
)

// Headers of the OPTIONS answer (MS-ASHTTP §2.2.4).
const (
	activeSyncServer   = "15.1"
	activeSyncVersions = "2.5,12.0,12.1,14.0,14.1,16.0,16.1"
	activeSyncCommands = "FolderSync,Ping"
	activeSyncMethods  = "OPTIONS,POST"
)

// Bodies of ActiveSync commands: type, and the most that is read of one.
const (
	typeWBXML       = "application/vnd.ms-sync.wbxml"
	typeWBXMLLegacy = "application/vnd.ms-sync"
	maxCommandBody  = 64 << 10
)

// Code page 7, FolderHierarchy of MS-ASWBXML.
const (
	hierarchyDisplayName tag = 0x0707
	hierarchyServerID    tag = 0x0708
	hierarchyParentID    tag = 0x0709
	hierarchyType        tag = 0x070A
	hierarchyStatus      tag = 0x070C
	hierarchyChanges     tag = 0x070E
	hierarchyAdd         tag = 0x070F
	hierarchySyncKey     tag = 0x0712
	hierarchyFolderSync  tag = 0x0716
	hierarchyCount       tag = 0x0717
)

// Statuses of FolderSync (MS-ASCMD, Status (FolderSync)).
const (
	folderSyncOK         = "1"
	folderSyncInvalidKey = "9"
	folderSyncMalformed  = "10"
)

// The hierarchy never changes, so that there are two keys: before the first
// sync, and after it.
const (
	syncKeyFirst = "0"
	syncKeyDone  = "1"
)

func (s *Server) routeActiveSync(r *http.Request) (Kind, http.HandlerFunc) {
	switch r.Method {
	case http.MethodOptions:
		return Options, activeSyncOptions
	case http.MethodPost:
	default:
		return Refused, notAllowed("OPTIONS, POST")
	}
	switch r.URL.Query().Get("Cmd") {
	case "Ping":
		return Ping, s.ping
	case "FolderSync":
		return FolderSync, folderSync
	case "":
		return Refused, refuse(http.StatusBadRequest, "ActiveSync stand-in: no Cmd in the query")
	}
	return Refused, refuse(http.StatusNotImplemented, "ActiveSync stand-in: only "+activeSyncCommands)
}

func activeSyncOptions(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	// These names are written as Exchange writes them; over HTTP/2 all are lower case.
	h["MS-Server-ActiveSync"] = []string{activeSyncServer}
	h["MS-ASProtocolVersions"] = []string{activeSyncVersions}
	h["MS-ASProtocolCommands"] = []string{activeSyncCommands}
	h.Set("Public", activeSyncMethods)
	h.Set("Allow", activeSyncMethods)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// readCommand reads and decodes a command's body; an empty one is no document.
// When it returns false it has answered.
func readCommand(w http.ResponseWriter, r *http.Request) (root element, empty, ok bool) {
	body, ok := readBody(w, r, maxCommandBody, typeWBXML, typeWBXMLLegacy)
	if !ok || len(body) == 0 {
		return element{}, true, ok
	}
	root, err := decodeWBXML(body)
	if err != nil {
		http.Error(w, "ActiveSync stand-in: "+err.Error(), http.StatusBadRequest)
		return element{}, false, false
	}
	return root, false, true
}

func writeCommand(w http.ResponseWriter, root element) {
	body := encodeWBXML(root)
	w.Header().Set("Content-Type", typeWBXML)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// folderSync tells the hierarchy once, and afterwards that nothing changed.
func folderSync(w http.ResponseWriter, r *http.Request) {
	root, empty, ok := readCommand(w, r)
	if !ok {
		return
	}
	key, hasKey := root.child(hierarchySyncKey)
	switch {
	case empty || root.tag != hierarchyFolderSync || !hasKey:
		writeCommand(w, branch(hierarchyFolderSync, leaf(hierarchyStatus, folderSyncMalformed)))
	case key.text == syncKeyFirst:
		writeCommand(w, folderSyncAnswer(hierarchy()))
	case key.text == syncKeyDone:
		writeCommand(w, folderSyncAnswer(nil))
	default:
		writeCommand(w, branch(hierarchyFolderSync, leaf(hierarchyStatus, folderSyncInvalidKey)))
	}
}

func folderSyncAnswer(added []folder) element {
	changes := []element{leaf(hierarchyCount, strconv.Itoa(len(added)))}
	for _, f := range added {
		changes = append(changes, branch(hierarchyAdd,
			leaf(hierarchyServerID, f.id),
			leaf(hierarchyParentID, "0"),
			leaf(hierarchyDisplayName, f.name),
			leaf(hierarchyType, f.kind)))
	}
	return branch(hierarchyFolderSync,
		leaf(hierarchyStatus, folderSyncOK),
		leaf(hierarchySyncKey, syncKeyDone),
		branch(hierarchyChanges, changes...))
}
