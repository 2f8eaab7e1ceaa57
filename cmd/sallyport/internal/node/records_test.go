package node

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/tunnel"
)

// TestRecords: our own record layer carries something only if the file says so and
// the self-test passes; a failed one is an error in the log, and no more.
func TestRecords(t *testing.T) {
	failing := func() error { return errors.New("wrong answer") }
	never := func() error { t.Error("tested, though nobody wants it"); return nil }
	for _, tt := range []struct {
		layer string
		test  func() error
		want  tunnel.Records
		event string
	}{
		{"std", never, tunnel.StdRecords, ""},
		{"direct", testRecords, tunnel.DirectRecords, "record_layer_ready"},
		{"auto", testRecords, tunnel.AutoRecords, "record_layer_ready"},
		{"direct", failing, tunnel.StdRecords, "record_layer_refused"},
		{"auto", failing, tunnel.StdRecords, "record_layer_refused"},
	} {
		var log bytes.Buffer
		n := &Node{log: zerolog.New(&log)}
		c := &config.Config{Gateway: &config.Gateway{RecordLayer: tt.layer}}
		if got := n.records(c, tt.test); got != tt.want || !strings.Contains(log.String(), tt.event) {
			t.Errorf("%s: %v, %s", tt.layer, got, log.String())
		}
	}
}
