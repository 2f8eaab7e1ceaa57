package node

import (
	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/tunnel"
)

// filesBeside is what a node needs beside tunnels and those who are on their way to
// one: listeners, stores, connections between nodes.
const filesBeside = 256

// filesWanted is how many descriptors the tunnels that there may be take: two each.
func filesWanted(c *config.Config) uint64 {
	wanted := filesOf(c.Gateway.MaxTunnels) + filesBeside
	if c.Gateway.Inside != nil {
		wanted += filesOf(c.Gateway.Inside.MaxTunnels)
	}
	return wanted
}

// filesOf is for a server with so many tunnels at the most.
func filesOf(tunnels int) uint64 {
	return 2*uint64(tunnels) + uint64(min(tunnels, tunnel.DefaultMaxPending))
}

// checkFiles warns of a limit that is below what the file allows. Clients are refused
// in words when it is reached, but so is everybody else: a node that cannot open a
// file takes no revocation either.
func (n *Node) checkFiles(c *config.Config) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return // then nobody can say
	}
	if wanted := filesWanted(c); limit.Cur < wanted {
		n.log.Warn().Str("event", "files_low").Uint64("files", limit.Cur).Uint64("wanted", wanted).
			Msg("fewer files may be open than gateway.max_tunnels, and that of the inside door, take: raise LimitNOFILE, or lower them")
	}
}
