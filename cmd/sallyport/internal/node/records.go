package node

import (
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/tunnel"
)

// records is the record layer that the file asks for, if it passes its test on this
// machine and with this crypto/tls.
func (n *Node) records(c *config.Config, test func() error) tunnel.Records {
	wanted := map[string]tunnel.Records{
		"direct": tunnel.DirectRecords, "auto": tunnel.AutoRecords,
	}[c.Gateway.RecordLayer]
	if wanted == tunnel.StdRecords {
		return wanted
	}
	if err := test(); err != nil {
		n.log.Error().Str("event", "record_layer_refused").Err(err).
			Msg("gateway.record_layer failed its self-test: crypto/tls carries everything; please report it")
		return tunnel.StdRecords
	}
	n.log.Info().Str("event", "record_layer_ready").Str("layer", c.Gateway.RecordLayer).
		Msg("our own record layer passed its self-test and carries TLS 1.3")
	return wanted
}
