// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

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
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/respguard"
)

// ClientFromEnv returns a client for the Redis that the environment names; pass os.LookupEnv.
//
//	REDIS_URL                 redis://user:password@host:port/db, or rediss:// for TLS; wins over
//	                          all below but the REDIS_TLS_… files
//	REDIS_HOST, REDIS_PORT    default localhost and 6379; of a port like tcp://10.0.0.1:6379, as kubelet
//	                          sets it for a Service called redis, the number counts
//	REDIS_USERNAME, REDIS_PASSWORD
//	REDIS_DB                  default 0
//	REDIS_CLUSTER             true: host and port are one node of a Redis Cluster
//	REDIS_TLS                 true: connect by TLS
//	REDIS_TLS_CA_FILE         PEM of the authorities to trust instead of the system's
//	REDIS_TLS_CERT_FILE, REDIS_TLS_KEY_FILE
//	                          PEM of a client certificate
//	REDIS_TLS_SERVER_NAME     name to expect in the server's certificate
//
// Line ends around values are cut off. It does not connect. Errors name the variable, never its value where that may be secret.
// Replies are bounded as RoleApplication says, also those of commands that the application sends by itself.
func ClientFromEnv(lookup func(string) (string, bool)) (redis.UniversalClient, error) {
	return ClientFromEnvAs(RoleApplication, lookup)
}

// ClientFromEnvAs is ClientFromEnv for a client in another role.
func ClientFromEnvAs(role Role, lookup func(string) (string, bool)) (redis.UniversalClient, error) {
	env := environment{lookup: lookup}
	options, err := env.options()
	if err != nil {
		return nil, err
	}
	options.Dialer = dialer{limits: role.limits(), tls: options.TLSConfig, within: options.DialTimeout}.dial
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

// secret returns a variable without the line ends around it, which files and Secrets often have. Blanks may be part of it.
func (e environment) secret(name string) string {
	value, _ := e.lookup(name)
	return strings.Trim(value, "\r\n")
}

// text returns a variable without the blanks and line ends around it, or what it is if nothing is left.
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

func (e environment) number(name, fallback string, most int) (int, error) {
	value, err := strconv.Atoi(e.text(name, fallback))
	if err != nil || value < 0 || value > most {
		return 0, fmt.Errorf("%s must be a number from 0 to %d", name, most)
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
	// A caller's deadline bounds its calls: a Redis that hangs must not hold up an application.
	options.ContextTimeoutEnabled = true
	// The pool would dial five times in a row, and log each failure; callers have retries of their own.
	options.DialerRetries = 1
	// An extension of Redis' own cloud; others answer the handshake with an error.
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return options, nil
}

func (e environment) address() (*redis.Options, error) {
	if url := e.text("REDIS_URL", ""); url != "" {
		options, err := redis.ParseURL(url)
		if err != nil {
			// The parser's message may quote the URL, and with it the password.
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

// port also takes what kubelet sets in each container of a namespace that has a Service called redis: tcp://10.0.0.1:6379.
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
	return 0, fmt.Errorf("%s must be a number from 0 to 65535, or tcp://host:port as kubelet sets it for a Service called redis", name)
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
	pem, err := os.ReadFile(file) //nolint:gosec // the file is the configuration's to name
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
