package node

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/record"
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
		{"direct", record.SelfTest, tunnel.DirectRecords, "record_layer_ready"},
		{"auto", record.SelfTest, tunnel.AutoRecords, "record_layer_ready"},
		{"direct", failing, tunnel.StdRecords, "record_layer_refused"},
		{"auto", failing, tunnel.StdRecords, "record_layer_refused"},
	} {
		var log bytes.Buffer
		n := &Node{log: zerolog.New(&log)}
		c := &config.Config{Gateway: &config.Gateway{RecordLayer: tt.layer}}
		got := n.records(c, tt.test)
		if got != tt.want || !strings.Contains(log.String(), tt.event) || tt.event == "" && log.Len() > 0 {
			t.Errorf("%s: %v, %s", tt.layer, got, log.String())
		}
	}
}
