package redistest

import (
	"fmt"
	"testing"
)

// Cluster is a Redis Cluster of three masters without replicas.
type Cluster struct {
	Addrs []string
	Nodes []*Server
}

// StartCluster starts one, and waits until all nodes agree on who has what.
func StartCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	const nodes, slots = 3, 16384
	c := &Cluster{}
	for range nodes {
		each := o
		each.Config = append(o.Config[:len(o.Config):len(o.Config)],
			"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000",
			// The usual port of the bus, 10,000 higher, may be one of the system's.
			fmt.Sprintf("cluster-port %d", freePort(t)))
		if o.TLS != nil {
			each.Config = append(each.Config, "tls-cluster yes")
		}
		s := Start(t, each)
		c.Nodes, c.Addrs = append(c.Nodes, s), append(c.Addrs, s.Addr)
	}
	for i, s := range c.Nodes {
		s.Do("cluster", "addslotsrange", i*slots/nodes, (i+1)*slots/nodes-1)
		if i > 0 {
			first := c.Nodes[0]
			s.Do("cluster", "meet", "127.0.0.1", first.port, busPort(first))
		}
	}
	for _, s := range c.Nodes {
		if _, err := s.process.await("Cluster state changed: ok", 0); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func busPort(s *Server) (port int) {
	for _, line := range s.options.Config {
		if _, err := fmt.Sscanf(line, "cluster-port %d", &port); err == nil {
			return port
		}
	}
	return 0
}
