package standin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"
)

// Bounds of a registration.
const (
	maxRegistration = 4 << 10 // bytes of JSON
	maxPushField    = 512     // bytes of each field
	typeJSON        = "application/json"
)

// registration is what a device sends to be woken by push.
type registration struct {
	Device string `json:"device"`
	Token  string `json:"token"` // the platform's push token: a secret, never repeated
}

// registered is the answer. The ID follows from the device, so that registering
// again gives the same.
type registered struct {
	ID     string `json:"id"`
	Device string `json:"device"`
}

var errRegistration = errors.New("want one JSON object with device and token, nothing else")

func (s *Server) routePush(r *http.Request, path string) (Kind, http.HandlerFunc) {
	switch path {
	case "/":
		return page(r, "pushreg stand-in: POST {\"device\",\"token\"} to /register")
	case pathRegister:
		if r.Method == http.MethodPost {
			return Register, register
		}
		return Refused, notAllowed("POST")
	}
	return Refused, notFound
}

func register(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, maxRegistration, typeJSON)
	if !ok {
		return
	}
	reg, err := parseRegistration(body)
	if err != nil {
		http.Error(w, "pushreg stand-in: "+err.Error(), http.StatusBadRequest)
		return
	}
	sum := sha256.Sum256([]byte(reg.Device))
	writeJSON(w, http.StatusCreated, registered{ID: hex.EncodeToString(sum[:8]), Device: reg.Device})
}

func parseRegistration(body []byte) (registration, error) {
	var reg registration
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&reg); err != nil {
		return registration{}, errRegistration
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return registration{}, errRegistration
	}
	for _, field := range []string{reg.Device, reg.Token} {
		if field == "" || len(field) > maxPushField || !utf8.ValidString(field) {
			return registration{}, errRegistration
		}
	}
	return reg, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
