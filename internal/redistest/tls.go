// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
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
	"testing"
	"time"
)

// ServerName is the name in the certificate of a server with TLS, beside its address.
const ServerName = "redis.test"

// Certificates are PEM files of an authority, and of a server and a client that it vouches for.
type Certificates struct {
	CAFile                        string
	ServerCertFile, ServerKeyFile string
	ClientCertFile, ClientKeyFile string
	authorities                   *x509.CertPool
	client                        tls.Certificate
}

// NewCertificates makes an authority and certificates that are valid for an hour.
func NewCertificates(tb testing.TB) *Certificates {
	tb.Helper()
	ca := newAuthority(tb)
	c := &Certificates{CAFile: ca.write("ca.crt", "CERTIFICATE", ca.certificate.Raw), authorities: x509.NewCertPool()}
	c.authorities.AddCert(ca.certificate)
	c.ServerCertFile, c.ServerKeyFile = ca.issue("server", x509.ExtKeyUsageServerAuth)
	c.ClientCertFile, c.ClientKeyFile = ca.issue("client", x509.ExtKeyUsageClientAuth)
	var err error
	if c.client, err = tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Config is what a client needs, its certificate included.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: c.authorities, ServerName: ServerName,
		Certificates: []tls.Certificate{c.client},
	}
}

// StartTLS runs a redis-server as Start does, which speaks TLS only, and with clients that show a certificate.
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
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	ca.certificate = ca.sign(template, template, &ca.key.PublicKey)
	return ca
}

func (a *authority) issue(name string, usage x509.ExtKeyUsage) (certFile, keyFile string) {
	key := newKey(a.tb)
	template := a.template(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	template.DNSNames, template.IPAddresses = []string{ServerName}, []net.IP{net.ParseIP(loopback)}
	certificate := a.sign(template, a.certificate, &key.PublicKey)
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	return a.write(name+".crt", "CERTIFICATE", certificate.Raw), a.write(name+".key", "PRIVATE KEY", keyBytes)
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

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
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
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
		a.tb.Fatal(err)
	}
	return path
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}
