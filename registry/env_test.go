// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func TestClientFromEnv(t *testing.T) {
	for _, test := range []struct {
		env                  map[string]string
		addr, user, password string
		db                   int
		tls                  bool
	}{
		{env: nil, addr: "localhost:6379"},
		{env: map[string]string{"REDIS_HOST": "redis.shop.svc", "REDIS_PORT": "6380", "REDIS_DB": "3"}, addr: "redis.shop.svc:6380", db: 3},
		{env: map[string]string{"REDIS_HOST": "::1", "REDIS_USERNAME": "u", "REDIS_PASSWORD": "p"}, addr: "[::1]:6379", user: "u", password: "p"},
		{env: map[string]string{"REDIS_URL": "rediss://u:p@redis:6390/2", "REDIS_HOST": "ignored"}, addr: "redis:6390", user: "u", password: "p", db: 2, tls: true},
		{env: map[string]string{"REDIS_TLS": "true", "REDIS_TLS_SERVER_NAME": "redis.example"}, addr: "localhost:6379", tls: true},
		{env: map[string]string{"REDIS_HOST": "", "REDIS_PORT": ""}, addr: "localhost:6379"},
	} {
		client, err := ClientFromEnv(lookupIn(test.env))
		if err != nil {
			t.Errorf("%v: %v", test.env, err)
			continue
		}
		o := client.(*redis.Client).Options()
		if o.Addr != test.addr || o.Username != test.user || o.Password != test.password || o.DB != test.db || (o.TLSConfig != nil) != test.tls {
			t.Errorf("%v: got %s, user %s, db %d, TLS %v", test.env, o.Addr, o.Username, o.DB, o.TLSConfig != nil)
		}
		if name := test.env["REDIS_TLS_SERVER_NAME"]; name != "" && o.TLSConfig.ServerName != name {
			t.Errorf("%v: server name %s", test.env, o.TLSConfig.ServerName)
		}
		_ = client.Close()
	}
}

// kubelet sets REDIS_PORT, and others, for a Service called redis, unless enableServiceLinks is
// false.
func TestClientFromEnvTakesThePortOfAServiceLink(t *testing.T) {
	for _, test := range []struct{ host, port, addr string }{
		{"redis", "tcp://10.96.0.7:6380", "redis:6380"},
		{"", "tcp://10.96.0.7:6380", "localhost:6380"},
		{"redis", "tcp://[fd00::7]:6380\n", "redis:6380"},
	} {
		client, err := ClientFromEnv(lookupIn(map[string]string{"REDIS_HOST": test.host, "REDIS_PORT": test.port}))
		if err != nil {
			t.Errorf("%s: %v", test.port, err)
			continue
		}
		if got := client.(*redis.Client).Options().Addr; got != test.addr {
			t.Errorf("%s: got %s, want %s", test.port, got, test.addr)
		}
		_ = client.Close()
	}
	for _, port := range []string{"tcp://", "tcp://10.96.0.7", "tcp://10.96.0.7:70000", "tcp://10.96.0.7:secret", "udp://10.96.0.7:6379"} {
		if _, err := ClientFromEnv(lookupIn(map[string]string{"REDIS_PORT": port})); err == nil || !strings.Contains(err.Error(), "REDIS_PORT") {
			t.Errorf("%s: got %v", port, err)
		}
	}
}

// A file that a Secret was made of ends with a line end, as a rule.
func TestClientFromEnvCutsLineEndsOffEachVariable(t *testing.T) {
	plain := []map[string]string{
		{"REDIS_HOST": "redis", "REDIS_PORT": "6380", "REDIS_USERNAME": "u", "REDIS_PASSWORD": " p q ", "REDIS_DB": "3", "REDIS_CLUSTER": "false", "REDIS_TLS": "true", "REDIS_TLS_SERVER_NAME": "redis.example"},
		{"REDIS_URL": "redis://u:p@redis:6390/2"},
	}
	for _, env := range plain {
		want, err := ClientFromEnv(lookupIn(env))
		if err != nil {
			t.Fatal(err)
		}
		wanted := want.(*redis.Client).Options()
		for _, ends := range [][2]string{{"", "\n"}, {"", "\r\n"}, {"\n", "\n\n"}} {
			around := maps.Clone(env)
			for name, value := range env {
				around[name] = ends[0] + value + ends[1]
			}
			client, err := ClientFromEnv(lookupIn(around))
			if err != nil {
				t.Errorf("%q: %v", ends, err)
				continue
			}
			o := client.(*redis.Client).Options()
			if o.Addr != wanted.Addr || o.Username != wanted.Username || o.Password != wanted.Password || o.DB != wanted.DB || (o.TLSConfig != nil) != (wanted.TLSConfig != nil) {
				t.Errorf("%q: got %s, user %q, db %d, the right password: %v", ends, o.Addr, o.Username, o.DB, o.Password == wanted.Password)
			}
			if o.TLSConfig != nil && o.TLSConfig.ServerName != wanted.TLSConfig.ServerName {
				t.Errorf("%q: server name %q", ends, o.TLSConfig.ServerName)
			}
			_ = client.Close()
		}
		_ = want.Close()
	}
}

func TestClientFromEnvNamesTheWrongVariable(t *testing.T) {
	for _, test := range []map[string]string{
		{"REDIS_PORT": "secret"},
		{"REDIS_PORT": "65536"},
		{"REDIS_DB": "-1"},
		{"REDIS_TLS": "secret"},
		{"REDIS_CLUSTER": "secret"},
		{"REDIS_URL": "http://user:secret@redis"},
		{"REDIS_TLS_CA_FILE": "/does/not/exist", "REDIS_TLS": "1"},
		{"REDIS_TLS_CERT_FILE": "/does/not/exist", "REDIS_TLS": "1"},
	} {
		_, err := ClientFromEnv(lookupIn(test))
		names := slices.Sorted(maps.Keys(test))
		if err == nil || !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(err.Error(), name) }) {
			t.Errorf("%v: got %v", test, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a value is in the message: %v", err)
		}
	}
	if _, err := ClientFromEnv(lookupIn(map[string]string{"REDIS_CLUSTER": "true", "REDIS_DB": "1"})); err == nil {
		t.Error("a cluster has one database")
	}
}

func TestClientFromEnvOfACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	host, port, _ := strings.Cut(cluster.Addrs()[0], ":")
	client, err := ClientFromEnv(lookupIn(map[string]string{"REDIS_CLUSTER": "true", "REDIS_HOST": host, "REDIS_PORT": port}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if loaded, err := New(client).Install(t.Context()); err != nil || loaded != 3 {
		t.Errorf("loaded %d (%v)", loaded, err)
	}
}
