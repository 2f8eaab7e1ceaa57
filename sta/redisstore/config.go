package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Config says where Redis is and how far it is trusted with a write. It prints
// without its passwords.
type Config struct {
	// Addrs are host:port: of the server; of some nodes of a Cluster, which name
	// the others; or of the Sentinels, when there is a MasterName.
	Addrs []string
	// MasterName is what Sentinels call the server. "" means there are none.
	MasterName string
	// Cluster tells that the server is a Redis Cluster.
	Cluster bool
	// DB is the number of the database. A Cluster has only 0. Others than 0 ask
	// for the command SELECT as well.
	DB int

	// User and Password are those of the servers. "" means the default user, and
	// that there is no password.
	User, Password string
	// SentinelUser and SentinelPassword are those of the Sentinels.
	SentinelUser, SentinelPassword string
	// TLS is for servers and Sentinels alike. nil means that there is none; then
	// whoever is on the way reads passwords, names and statements.
	TLS *tls.Config

	// Authority is the ID of the authority whose data it is, part of every key.
	Authority string

	// Replicas is how many of them must have a ticket or a revocation before it
	// counts as written; [sta.ErrNoCopy] if they do not say so within ReplicaWait.
	// 0 means none.
	Replicas int
	// ReplicaWait is at least 1 ms and less than Timeout. 0 means 100 ms.
	ReplicaWait time.Duration
	// Timeout bounds every exchange with the server, finding one included. 0
	// means 2 s.
	Timeout time.Duration
	// Keep is how long after its expiry a ticket goes by itself if nobody sweeps.
	// It should be well over the authority's own. At least, and by default, 48 h.
	Keep time.Duration
}

const (
	defaultTimeout     = 2 * time.Second
	defaultReplicaWait = 100 * time.Millisecond
	minKeep            = 48 * time.Hour

	// connections is how many there are at most: for the 64 cold redeems that a
	// gateway may have in flight, and as many again that issue and list.
	connections = 128
	// retries is how many more connections are tried when one fails.
	retries = 2
)

// Format prints c without its passwords, for every verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprint("redis ", c.Addrs, " for ", c.Authority))
}

// complete fills in defaults and refuses what cannot be meant.
func (c *Config) complete() error {
	c.Timeout = orDefault(c.Timeout, defaultTimeout)
	c.ReplicaWait = orDefault(c.ReplicaWait, defaultReplicaWait)
	c.Keep = orDefault(c.Keep, minKeep)
	switch {
	case len(c.Addrs) == 0:
		return errors.New("an address is needed")
	case len(c.Addrs) > 1 && !c.Cluster && c.MasterName == "":
		return errors.New("several addresses are those of a cluster, or of Sentinels and go with a master's name")
	case c.Cluster && c.MasterName != "":
		return errors.New("a cluster has no Sentinels")
	case c.DB < 0, c.DB > 0 && c.Cluster:
		return errors.New("a database has a number from 0, and a cluster has only that")
	case c.Replicas < 0:
		return errors.New("a negative number of replicas")
	case c.Timeout < 0 || c.ReplicaWait < time.Millisecond || c.ReplicaWait >= c.Timeout:
		return errors.New("the wait for replicas is at least 1 ms, and less than the timeout")
	case c.Keep < minKeep:
		return fmt.Errorf("expired tickets stay for at least %s if nobody sweeps", minKeep)
	}
	return ticket.CheckAuthorityID(c.Authority)
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// options gives them in the library's words.
func (c *Config) options() *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.MasterName, DB: c.DB, TLSConfig: c.TLS.Clone(),
		Username: c.User, Password: c.Password,
		SentinelUsername: c.SentinelUser, SentinelPassword: c.SentinelPassword,

		ContextTimeoutEnabled: true,
		DialTimeout:           c.Timeout,
		ReadTimeout:           c.Timeout,
		WriteTimeout:          c.Timeout,
		PoolTimeout:           c.Timeout,
		// One try to connect; the retries of a command are retries enough.
		DialerRetries:   1,
		MaxRetries:      retries,
		MaxRetryBackoff: 100 * time.Millisecond,

		PoolSize: connections,
		// Pipelines share the pool: the ten connections that they get otherwise
		// would make readers of revocations queue.
		PipelinePoolSize: -1,
		ConnMaxIdleTime:  5 * time.Minute,

		// What would send CLIENT, which our user may not.
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}
