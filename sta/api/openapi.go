package api

import (
	_ "embed" // for the document
	"net/http"
	"strconv"
)

// document describes this door for programs: OpenAPI 3.1.
//
//go:embed openapi.json
var document []byte

// openAPI answers with it. There is nothing in it that this package's source does
// not tell, so that it takes no key.
func (x *exchange) openAPI() error {
	x.access.Status = http.StatusOK
	x.w.Header().Set("Content-Type", typeJSON)
	x.w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	_, _ = x.w.Write(document) // an error means that the client has gone
	return nil
}
