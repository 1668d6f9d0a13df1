// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/respguard"
)

// FromEnv returns a client for the Redis that the environment names; see registry.ClientFromEnv.
func FromEnv(
	limits respguard.Limits, lookup func(string) (string, bool),
) (redis.UniversalClient, error) {
	env := environment{lookup: lookup}
	options, err := env.options()
	if err != nil {
		return nil, err
	}
	options.Dialer = Dialer{Limits: limits, TLS: options.TLSConfig, Timeout: options.DialTimeout}.Dial
	cluster, err := env.boolean("REDIS_CLUSTER")
	if err != nil {
		return nil, err
	}
	if cluster {
		if options.DB != 0 {
			return nil, errors.New("REDIS_DB: a Redis Cluster has database 0 only")
		}
		client := redis.NewClusterClient(clusterOptions(options))
		respguard.WatchCluster(client)
		return client, nil
	}
	return redis.NewClient(options), nil
}

type environment struct {
	lookup func(string) (string, bool)
}

// secret returns a variable without the line ends around it, which files and Secrets often have. It
// keeps spaces, which may belong to a password.
func (e environment) secret(name string) string {
	value, _ := e.lookup(name)
	return strings.Trim(value, "\r\n")
}

// text returns a variable without the white space around it, or the fallback if it is empty.
func (e environment) text(name, fallback string) string {
	return cmp.Or(strings.TrimSpace(e.secret(name)), fallback)
}

func (e environment) boolean(name string) (bool, error) {
	value, err := strconv.ParseBool(e.text(name, "false"))
	if err != nil {
		return false, fmt.Errorf("%s must be true or false", name)
	}
	return value, nil
}

func (e environment) number(name, fallback string, maximum int) (int, error) {
	value, err := strconv.Atoi(e.text(name, fallback))
	if err != nil || value < 0 || value > maximum {
		return 0, fmt.Errorf("%s must be a number from 0 to %d", name, maximum)
	}
	return value, nil
}

func (e environment) options() (*redis.Options, error) {
	options, err := e.address()
	if err != nil {
		return nil, err
	}
	if options.TLSConfig, err = e.tls(options.TLSConfig); err != nil {
		return nil, err
	}
	// The caller's deadline bounds its calls, so that a Redis that hangs does not block an
	// application.
	options.ContextTimeoutEnabled = true
	// By default the pool dials five times in a row and logs each failure. Callers retry on their own.
	options.DialerRetries = 1
	options.MaintNotificationsConfig = noMaintenance()
	return options, nil
}

func (e environment) address() (*redis.Options, error) {
	if url := e.text("REDIS_URL", ""); url != "" {
		options, err := redis.ParseURL(url)
		if err != nil {
			// The parser's message may quote the URL, which contains the password.
			return nil, errors.New("REDIS_URL must have the form redis://user:password@host:port/db")
		}
		return options, nil
	}
	port, err := e.port()
	if err != nil {
		return nil, err
	}
	db, err := e.number("REDIS_DB", "0", 1<<20)
	if err != nil {
		return nil, err
	}
	return &redis.Options{
		Addr:     net.JoinHostPort(e.text("REDIS_HOST", "localhost"), strconv.Itoa(port)),
		Username: e.secret("REDIS_USERNAME"),
		Password: e.secret("REDIS_PASSWORD"),
		DB:       db,
	}, nil
}

// port also accepts tcp://10.0.0.1:6379, which kubelet sets in each container of a namespace with a
// Service called redis.
func (e environment) port() (int, error) {
	const name = "REDIS_PORT"
	link, isLink := strings.CutPrefix(e.text(name, ""), "tcp://")
	if !isLink {
		return e.number(name, "6379", 65535)
	}
	if _, port, err := net.SplitHostPort(link); err == nil {
		if number, err := strconv.ParseUint(port, 10, 16); err == nil {
			return int(number), nil
		}
	}
	return 0, fmt.Errorf(
		"%s must be a number from 0 to 65535, or tcp://host:port as kubelet sets it for a Service "+
			"called redis", name)
}

func (e environment) tls(config *tls.Config) (*tls.Config, error) {
	wanted, err := e.boolean("REDIS_TLS")
	if err != nil {
		return nil, err
	}
	if config == nil {
		if !wanted {
			return nil, nil
		}
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.ServerName = e.text("REDIS_TLS_SERVER_NAME", config.ServerName)
	if config.RootCAs, err = e.authorities(); err != nil {
		return nil, err
	}
	certFile, keyFile := e.text("REDIS_TLS_CERT_FILE", ""), e.text("REDIS_TLS_KEY_FILE", "")
	if certFile == "" && keyFile == "" {
		return config, nil
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE: %w", err)
	}
	config.Certificates = []tls.Certificate{certificate}
	return config, nil
}

func (e environment) authorities() (*x509.CertPool, error) {
	file := e.text("REDIS_TLS_CA_FILE", "")
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file) //nolint:gosec // the configuration names the file
	if err != nil {
		return nil, fmt.Errorf("REDIS_TLS_CA_FILE: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("REDIS_TLS_CA_FILE: %s holds no PEM certificate", file)
	}
	return pool, nil
}

func clusterOptions(o *redis.Options) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                    []string{o.Addr},
		Username:                 o.Username,
		Password:                 o.Password,
		TLSConfig:                o.TLSConfig,
		Dialer:                   o.Dialer,
		ContextTimeoutEnabled:    o.ContextTimeoutEnabled,
		DialerRetries:            o.DialerRetries,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
	}
}
