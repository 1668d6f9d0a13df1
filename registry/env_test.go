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
