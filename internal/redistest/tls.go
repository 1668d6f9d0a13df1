// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// ServerName is a name in the certificate of a server with TLS, beside its address.
const ServerName = "redis.test"

// Certificates are PEM files: an authority, a server's certificate that it issued, and a client's
// certificate from another authority.
type Certificates struct {
	CAFile                        string
	ServerCertFile, ServerKeyFile string
	ClientCertFile, ClientKeyFile string
	// TrustFile has the authorities that servers trust.
	TrustFile string

	tb          testing.TB
	ca          *authority
	authorities *x509.CertPool
	client      tls.Certificate
}

// NewCertificates creates authorities and certificates that are valid for an hour.
func NewCertificates(tb testing.TB) *Certificates {
	tb.Helper()
	ca := newAuthority(tb)
	c := &Certificates{tb: tb, ca: ca, CAFile: ca.file(), authorities: x509.NewCertPool()}
	c.authorities.AddCert(ca.certificate)
	// Servers of a cluster, replicas and Sentinels also connect to each other as clients.
	c.ServerCertFile, c.ServerKeyFile = ca.issue("server", x509.ExtKeyUsageServerAuth,
		x509.ExtKeyUsageClientAuth)
	c.TrustFile = filepath.Join(tb.TempDir(), "trusted.crt")
	c.renewClient()
	return c
}

// renewClient issues a client's certificate from a new authority. Servers then trust only that one
// and the authority of servers.
func (c *Certificates) renewClient() {
	ca := newAuthority(c.tb)
	c.ClientCertFile, c.ClientKeyFile = ca.issue("client", x509.ExtKeyUsageClientAuth)
	var err error
	if c.client, err = tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile); err != nil {
		c.tb.Fatal(err)
	}
	trusted := append(pemOf("CERTIFICATE", c.ca.certificate.Raw),
		pemOf("CERTIFICATE", ca.certificate.Raw)...)
	if err := os.WriteFile(c.TrustFile, trusted, 0o600); err != nil {
		c.tb.Fatal(err)
	}
}

// RenewClient replaces the client's certificate. From then on, servers refuse the former one and
// close its connections. Sentinels restart for that.
func (c *Certificates) RenewClient(servers, sentinels []*Server) {
	c.tb.Helper()
	clients := make([]*redis.Conn, len(servers)) // with the certificate that is still accepted
	for i, server := range servers {
		clients[i] = server.Client().Conn()
		if err := clients[i].Ping(context.Background()).Err(); err != nil {
			c.tb.Fatal(err)
		}
	}
	c.renewClient()
	for _, client := range clients {
		_, err := client.Pipelined(context.Background(), func(pipe redis.Pipeliner) error {
			pipe.ConfigSet(context.Background(), "tls-ca-cert-file", c.TrustFile)
			pipe.ClientKillByFilter(context.Background(), "TYPE", "normal", "SKIPME", "yes")
			return nil
		})
		if err != nil {
			c.tb.Fatal(err)
		}
	}
	for _, sentinel := range sentinels {
		sentinel.Restart()
	}
}

// directives returns the directives of a server, each with its value.
func (c *Certificates) directives(port int) [][2]string {
	return [][2]string{
		{"port", "0"},
		{"tls-port", strconv.Itoa(port)},
		{"tls-cert-file", c.ServerCertFile},
		{"tls-key-file", c.ServerKeyFile},
		{"tls-ca-cert-file", c.TrustFile},
		{"tls-replication", "yes"},
		{"tls-cluster", "yes"},
	}
}

// Config returns the configuration of a client, including its certificate.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: c.authorities, ServerName: ServerName,
		Certificates: []tls.Certificate{c.client},
	}
}

// StartTLS does what Start does, for a server that accepts only TLS with a client's certificate.
func StartTLS(tb testing.TB, certificates *Certificates, config ...string) *Server {
	tb.Helper()
	return start(tb, launch{dir: tb.TempDir(), tls: certificates, config: config})
}

type authority struct {
	tb          testing.TB
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	ca := &authority{tb: tb, dir: tb.TempDir(), key: newKey(tb)}
	template := ca.template("authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	ca.certificate = ca.sign(template, template, &ca.key.PublicKey)
	return ca
}

func (a *authority) file() string { return a.write("ca.crt", "CERTIFICATE", a.certificate.Raw) }

func (a *authority) issue(name string, usages ...x509.ExtKeyUsage) (certFile, keyFile string) {
	key := newKey(a.tb)
	template := a.template(name)
	template.ExtKeyUsage = usages
	template.DNSNames, template.IPAddresses = []string{ServerName}, []net.IP{net.ParseIP(loopback)}
	certificate := a.sign(template, a.certificate, &key.PublicKey)
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	return a.write(name+".crt", "CERTIFICATE", certificate.Raw), a.write(name+".key", "PRIVATE KEY",
		keyBytes)
}

func (a *authority) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.tb.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func (a *authority) sign(
	template, parent *x509.Certificate, key *ecdsa.PublicKey,
) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return certificate
}

func (a *authority) write(name, kind string, bytes []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pemOf(kind, bytes), 0o600); err != nil {
		a.tb.Fatal(err)
	}
	return path
}

func pemOf(kind string, bytes []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}
