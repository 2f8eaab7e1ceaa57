package redisstore_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/redisstore"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
	"github.com/sallyport/sallyport/sta/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "correct-horse-battery-staple"

// open opens a store, which the caller closes.
func open(t testing.TB, c redisstore.Config) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opened is open for the length of the test.
func opened(t testing.TB, c redisstore.Config) *redisstore.Store {
	t.Helper()
	s := open(t, c)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// authorities makes each store an authority of its own: on a server that several
// use, it is empty all the same.
var authorities atomic.Int64

func configOf(s *redistest.Server) redisstore.Config {
	return redisstore.Config{
		Timeout: patience, // what is slow here is the machine
		Addrs:   []string{s.Addr}, Password: s.Password, TLS: s.TLS,
		Authority: fmt.Sprintf("STA%02d", authorities.Add(1)),
	}
}

// suite runs storetest. fresh gives the config of an empty store.
func suite(t *testing.T, fresh func() redisstore.Config) {
	configs := make(map[sta.Store]redisstore.Config)
	storetest.Suite{
		Open: func(t *testing.T) sta.Store {
			c := fresh()
			s := open(t, c)
			configs[s] = c
			return s
		},
		Reopen: func(t *testing.T, s sta.Store) sta.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, configs[s])
		},
		Second: func(t *testing.T, s sta.Store) sta.Store { return open(t, configs[s]) },
	}.Run(t)
}

func TestServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Password: password})
	suite(t, func() redisstore.Config { return configOf(server) })
}

// TestLeastPrivilege: what doc.go says is enough is enough, with TLS.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{
		Password: "another", TLS: redistest.NewCA(t), Users: []string{strings.Join(documentedUser(t), " ")},
	})
	suite(t, func() redisstore.Config {
		server.FlushAll()
		c := configOf(server)
		c.User, c.Password, c.Authority = "sallyport", password, "STA01"
		return c
	})
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, redistest.Options{Password: password})
	redistest.StartReplica(t, master)
	sentinels := redistest.StartSentinels(t, master)
	suite(t, func() redisstore.Config {
		c := configOf(master)
		c.Addrs, c.MasterName = sentinels.Addrs, sentinels.MasterName
		c.Replicas, c.ReplicaWait = 1, patience/2
		return c
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.Options{Password: password})
	config := func() redisstore.Config {
		c := configOf(cluster.Nodes[0])
		c.Addrs, c.Cluster = cluster.Addrs[:1], true
		return c
	}
	suite(t, config)
	t.Run("FollowsTheSlot", func(t *testing.T) { followsTheSlot(t, cluster, config()) })
	t.Run("LeastPrivilege", func(t *testing.T) {
		for _, node := range cluster.Nodes {
			setUser(t, node, documentedUser(t)[2:])
		}
		c := config()
		c.User, c.Password, c.Authority = "sallyport", password, "STA01"
		put(t, opened(t, c))
	})
}

// documentedUser gives the words of the ACL line in doc.go, with a password.
func documentedUser(t testing.TB) []string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(doc), "//	user sallyport ")
	line, _, ends := strings.Cut(after, "//\n")
	if !found || !ends {
		t.Fatal("doc.go has no ACL line")
	}
	line = strings.NewReplacer("//", "", ">PASSWORD", ">"+password).Replace(line)
	return append([]string{"user", "sallyport"}, strings.Fields(line)...)
}
