package standin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Bounds of an operation and of its answer.
const (
	maxEWSFolders = 100
	maxEWSItems   = 50
)

// ews answers one SOAP request.
func (s *Server) ews(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, maxSOAP, typeXML)
	if !ok {
		return
	}
	op, err := parseSOAP(body)
	if err != nil {
		http.Error(w, "EWS stand-in: "+err.Error(), http.StatusBadRequest)
		return
	}
	if op.name.Space != nsMessages {
		writeFault(w, "ErrorSchemaValidation", "The operation is in no namespace of EWS.")
		return
	}
	switch op.name.Local {
	case "GetFolder":
		s.ewsGetFolder(w, op)
	case "FindItem":
		s.ewsFindItem(w, op)
	case "Subscribe":
		s.ewsSubscribe(w, op)
	case "Unsubscribe":
		s.ewsUnsubscribe(w, op)
	case "GetStreamingEvents":
		s.ewsStream(w, r, op)
	default:
		writeFault(w, "ErrorInvalidRequest", "The stand-in has no such operation.")
	}
}

func (s *Server) ewsGetFolder(w http.ResponseWriter, op *node) {
	s.eachFolder(w, op, "GetFolder", "FolderIds", func(f folder) string {
		return fmt.Sprintf(`<m:Folders><t:Folder>%s<t:DisplayName>%s</t:DisplayName><t:TotalCount>%d</t:TotalCount>`+
			`<t:ChildFolderCount>0</t:ChildFolderCount><t:UnreadCount>%[3]d</t:UnreadCount></t:Folder></m:Folders>`,
			folderID("FolderId", f.id), f.name, s.mail.count(f.id))
	})
}

// ewsFindItem lists the newest messages; paging and restrictions are not read.
func (s *Server) ewsFindItem(w http.ResponseWriter, op *node) {
	s.eachFolder(w, op, "FindItem", "ParentFolderIds", func(f folder) string {
		total := s.mail.count(f.id)
		shown := min(total, maxEWSItems)
		var items strings.Builder
		for n := total; n > total-shown; n-- {
			fmt.Fprintf(&items, `<t:Message>%s<t:Subject>Message %d</t:Subject></t:Message>`, itemID(f.id, n), n)
		}
		return fmt.Sprintf(`<m:RootFolder IndexedPagingOffset="%d" TotalItemsInView="%d" IncludesLastItemInRange="%t"><t:Items>%s</t:Items></m:RootFolder>`,
			shown, total, shown == total, items.String())
	})
}

// eachFolder answers a request with a message for every folder that it names.
func (s *Server) eachFolder(w http.ResponseWriter, op *node, operation, list string, content func(folder) string) {
	wanted := folderRefs(op.first(list))
	if len(wanted) == 0 || len(wanted) > maxEWSFolders {
		writeFault(w, "ErrorSchemaValidation", fmt.Sprintf("%s must name 1 to %d folders.", list, maxEWSFolders))
		return
	}
	messages := make([]string, len(wanted))
	for i, ref := range wanted {
		f, ok := findFolder(ref)
		if !ok {
			messages[i] = bad(operation, "ErrorFolderNotFound", "The specified folder could not be found in the store.")
			continue
		}
		messages[i] = good(operation, content(f))
	}
	writeSOAP(w, http.StatusOK, response(operation, messages...))
}

// folderRefs returns the elements of a list that name a folder.
func folderRefs(list *node) []*node {
	if list == nil {
		return nil
	}
	return slices.Concat(list.all("DistinguishedFolderId"), list.all("FolderId"))
}

// findFolder looks a DistinguishedFolderId or FolderId up.
func findFolder(ref *node) (folder, bool) {
	id := ref.attr("Id")
	for _, f := range hierarchy() {
		if ref.name.Local == "DistinguishedFolderId" && id == f.distinguished ||
			ref.name.Local == "FolderId" && id == f.id {
			return f, true
		}
	}
	return folder{}, false
}

// folderID and itemID write the references that an answer holds. Their IDs come
// from Notify and from the hierarchy, and are only written for folders of the latter.
func folderID(element, id string) string {
	return `<t:` + element + ` Id="` + id + `" ChangeKey="AQAAAA=="/>`
}

func itemID(folder string, n uint64) string {
	return fmt.Sprintf(`<t:ItemId Id="%s.%d" ChangeKey="CQAAAA=="/>`, folder, n)
}
