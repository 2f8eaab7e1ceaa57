package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options of a server. The zero value is a plain one.
type Options struct {
	// Password of the default user, who may do everything. "" means none.
	Password string
	// Users are further users, in the words of an ACL file: "user name on …".
	Users []string
	// TLS makes it listen with TLS only, and with a certificate of this CA.
	TLS *CA
	// Append makes it write every command to disk before it answers.
	Append bool
	// Config are further lines of its configuration.
	Config []string
}

// Server is a running redis-server.
type Server struct {
	Addr     string // host:port
	Password string // of the default user
	TLS      *tls.Config

	t       testing.TB
	dir     string
	port    int
	options Options
	process *process
	admin   *redis.Client

	replicas int // that it counts on
}

// Start starts a server, which ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{Password: o.Password, t: t, dir: t.TempDir(), options: o}
	if o.TLS != nil {
		s.TLS = o.TLS.Client()
		o.TLS.issue(t, s.dir)
	}
	// Somebody else may take the port first.
	for range 10 {
		s.port = freePort(t)
		s.Addr = address(s.port)
		err := s.start()
		if err == nil {
			break
		}
		if !errors.Is(err, errEnded) {
			t.Fatal(err)
		}
	}
	if s.process == nil {
		t.Fatal("redis-server does not start")
	}
	s.admin = redis.NewClient(&redis.Options{
		Addr: s.Addr, Password: o.Password, TLSConfig: s.TLS, Protocol: 2, DisableIdentity: true, PoolSize: 2,
	})
	t.Cleanup(func() {
		_ = s.admin.Close()
		s.Kill()
	})
	return s
}

// start runs the server until it accepts connections.
func (s *Server) start() error {
	p := run(s.t, "redis-server", s.dir, s.config())
	if _, err := p.await("Ready to accept connections", 0); err != nil {
		p.signal(syscall.SIGKILL)
		return err
	}
	s.process = p
	return nil
}

func (s *Server) config() string {
	lines := []string{
		"bind 127.0.0.1", "daemonize no", "dir " + s.dir, `save ""`, "logfile \"\"",
		// Without a disk between, a replica is not sent anything until its second ACK.
		"repl-diskless-sync no", "repl-ping-replica-period 1", "maxmemory-policy noeviction",
	}
	if s.options.TLS != nil {
		lines = append(lines, "port 0", fmt.Sprintf("tls-port %d", s.port), "tls-replication yes",
			"tls-cert-file cert.pem", "tls-key-file key.pem", "tls-ca-cert-file ca.pem", "tls-auth-clients no")
	} else {
		lines = append(lines, fmt.Sprintf("port %d", s.port))
	}
	if s.Password != "" {
		lines = append(lines, "requirepass "+s.Password, "masterauth "+s.Password)
	}
	if s.options.Append {
		lines = append(lines, "appendonly yes", "appendfsync always")
	}
	lines = append(lines, s.options.Users...)
	lines = append(lines, s.options.Config...)
	return strings.Join(lines, "\n") + "\n"
}

// Do lets the default user give a command, and fails the test if it fails.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answer, err := s.admin.Do(ctx, args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.t.Fatalf("redis %v: %v", args[0], err)
	}
	return answer
}

// FlushAll empties it.
func (s *Server) FlushAll() { s.t.Helper(); s.Do("flushall") }

// DumpFile writes what it holds to a file, and gives its name.
func (s *Server) DumpFile() string {
	s.t.Helper()
	s.Do("save")
	return filepath.Join(s.dir, "dump.rdb")
}

// Stop ends the server in an orderly way.
func (s *Server) Stop() { s.process.signal(syscall.SIGTERM) }

// Kill ends it at once, as a crash does.
func (s *Server) Kill() { s.process.signal(syscall.SIGKILL) }

// Pause stops it without ending it: it accepts connections and says nothing.
func (s *Server) Pause() { s.process.signal(syscall.SIGSTOP) }

// Resume lets it go on after Pause.
func (s *Server) Resume() { s.process.signal(syscall.SIGCONT) }

// Restart ends it, if it still runs, and starts it anew in the same place, with
// what it has on disk.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// StartReplica starts a server that copies master, and waits until master counts
// on it.
func StartReplica(t testing.TB, master *Server) *Server {
	t.Helper()
	o := master.options
	o.Config = append(o.Config[:len(o.Config):len(o.Config)], fmt.Sprintf("replicaof 127.0.0.1 %d", master.port))
	s := Start(t, o)
	master.replicas++
	// It counts when it confirms what is said after it came.
	for range 3 {
		var confirmed *redis.Cmd
		_, err := master.admin.Pipelined(context.Background(), func(p redis.Pipeliner) error {
			p.Publish(context.Background(), "redistest", "")
			confirmed = p.Do(context.Background(), "wait", master.replicas, 4000)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := confirmed.Int(); n == master.replicas {
			return s
		}
	}
	t.Fatalf("the master does not count on its replica:\n%s", s.process.transcript())
	return nil
}
