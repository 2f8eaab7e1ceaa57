package redisstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta/redisstore"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
)

func refused(t *testing.T, c redisstore.Config) error {
	t.Helper()
	s, err := redisstore.Open(t.Context(), c)
	if err == nil {
		_ = s.Close()
		t.Fatalf("%v was opened", c)
	}
	for _, secret := range []string{c.Password, c.SentinelPassword} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a password: %v", err)
		}
	}
	return err
}

func TestConfigIsChecked(t *testing.T) {
	good := redisstore.Config{Addrs: []string{"127.0.0.1:1"}, Authority: "STA01"}
	for _, change := range []func(*redisstore.Config){
		func(c *redisstore.Config) { c.Addrs = nil },
		func(c *redisstore.Config) { c.Addrs = []string{"a:1", "b:1"} },
		func(c *redisstore.Config) { c.Cluster, c.MasterName = true, "m" },
		func(c *redisstore.Config) { c.Cluster, c.DB = true, 1 },
		func(c *redisstore.Config) { c.DB = -1 },
		func(c *redisstore.Config) { c.Replicas = -1 },
		func(c *redisstore.Config) { c.Timeout = -1 },
		func(c *redisstore.Config) { c.ReplicaWait = time.Microsecond },
		func(c *redisstore.Config) { c.ReplicaWait, c.Timeout = time.Second, time.Second },
		func(c *redisstore.Config) { c.Keep = time.Hour },
		func(c *redisstore.Config) { c.Authority = "" },
		func(c *redisstore.Config) { c.Authority = "STA}:{" },
	} {
		c := good
		change(&c)
		start := time.Now()
		if err := refused(t, c); strings.Contains(err.Error(), "dial") || time.Since(start) > time.Second {
			t.Errorf("%v was refused by nobody but the network: %v", c, err)
		}
	}
	refused(t, good) // nobody listens there
}

func TestConfigPrintsNoPassword(t *testing.T) {
	c := redisstore.Config{Addrs: []string{"127.0.0.1:1"}, Password: password, SentinelPassword: password}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, text := range []string{fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c)} {
			if strings.Contains(text, password) {
				t.Errorf("%s prints the password: %s", verb, text)
			}
		}
	}
}

// TestLogin: a wrong name or password is told as such, and any missing right is
// named.
func TestLogin(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Password: password})
	for _, login := range [][2]string{{"", "wrong-password"}, {"", ""}, {"nobody", password}, {"default", "wrong-password"}} {
		c := configOf(server)
		c.User, c.Password = login[0], login[1]
		want(t, fmt.Sprint(login), refused(t, c), redisstore.ErrLogin)
	}

	rules := documentedUser(t)[2:]
	c := configOf(server)
	c.User, c.Authority, c.Replicas = "sallyport", "STA01", 1 // for WAIT
	setUser(t, server, rules)
	if err := open(t, c).Close(); err != nil {
		t.Fatal(err)
	}
	for i, rule := range rules {
		name, isCommand := strings.CutPrefix(rule, "+")
		if isCommand && name != "cluster|slots" || rule[0] == '~' || rule[0] == '&' {
			setUser(t, server, slices.Concat(rules[:i], rules[i+1:]))
			err := refused(t, c)
			want(t, "without "+rule, err, redisstore.ErrForbidden)
			if isCommand && !strings.Contains(err.Error(), name) {
				t.Errorf("the error without %s does not name it: %v", rule, err)
			}
		}
	}
}

// TestDatabase: what is in one is not in another.
func TestDatabase(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	r := put(t, opened(t, c))
	c.DB = 3
	if _, err := opened(t, c).ByID(t.Context(), r.ID); err == nil {
		t.Error("a ticket of another database was found")
	}
}

func TestUntrustedServer(t *testing.T) {
	t.Parallel()
	c := configOf(redistest.Start(t, redistest.Options{TLS: redistest.NewCA(t)}))
	c.TLS = redistest.NewCA(t).Client()
	if err := refused(t, c); !strings.Contains(err.Error(), "certificate") {
		t.Errorf("refused for another reason: %v", err)
	}
}
