package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/boltstore"
	"github.com/sallyport/sallyport/sta/redisstore"
)

// OpenStore opens what the file says that the authority keeps its tickets in.
func OpenStore(ctx context.Context, c *config.STA) (sta.Store, error) {
	if c.Store.Redis == nil {
		store, err := boltstore.Open(c.Store.Path)
		if err != nil {
			return nil, err // not a nil *Store in an interface
		}
		return store, nil
	}
	redis, err := redisConfig(c.ID, c.Store.Redis)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	store, err := redisstore.Open(ctx, redis)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return store, nil
}

func redisConfig(authority string, c *config.Redis) (redisstore.Config, error) {
	r := redisstore.Config{
		Addrs: c.Addrs, MasterName: c.MasterName, Cluster: c.Cluster, DB: c.DB,
		User: c.User, SentinelUser: c.SentinelUser, Authority: authority, Replicas: c.Replicas,
	}
	var err error
	if r.Password, err = password(c.PasswordFile); err != nil {
		return r, err
	}
	if r.SentinelPassword, err = password(c.SentinelPasswordFile); err != nil {
		return r, err
	}
	if c.TLS == nil {
		return r, nil
	}
	r.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CA != "" {
		if r.TLS.RootCAs, err = ReadRoots(c.TLS.CA); err != nil {
			return r, err
		}
	}
	if c.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return r, fmt.Errorf("client certificate: %w", err)
		}
		r.TLS.Certificates = []tls.Certificate{pair}
	}
	return r, nil
}

// password reads a secret file, "" for none. The configuration has judged it.
func password(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line := bytes.TrimRight(data, "\r\n")
	if len(line) == 0 || bytes.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("%s holds one line, the password", file)
	}
	return string(line), nil
}

// ReadRoots reads a PEM file of certificates to trust.
func ReadRoots(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, errors.New(file + " holds no certificate")
	}
	return roots, nil
}
