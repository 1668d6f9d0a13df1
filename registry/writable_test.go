// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

func TestWritableQuotesWhyRedisTakesNoWrites(t *testing.T) {
	for word, refuse := range map[string]func(t *testing.T, client *redis.Client) error{
		"NOREPLICAS": func(t *testing.T, client *redis.Client) error {
			return client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err()
		},
		"READONLY": func(t *testing.T, client *redis.Client) error {
			return client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err()
		},
		"MISCONF": failSnapshots,
	} {
		t.Run(word, func(t *testing.T) {
			r, client := newRegistry(t)
			before := snapshot(t, client)
			if err := r.Writable(t.Context()); err != nil {
				t.Fatalf("a server that takes writes: %v", err)
			}
			if after := snapshot(t, client); len(after) != len(before) {
				t.Errorf("it wrote %v", after)
			}
			if err := refuse(t, client); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { return errors.Is(r.Writable(t.Context()), ErrRefusesWrites) }).Should(gomega.BeTrue())
			err := r.Writable(t.Context())
			if !strings.Contains(err.Error(), ErrRefusesWrites.Error()+": "+word) {
				t.Errorf("it does not quote Redis: %v", err)
			}
			if !errors.Is(err, ErrUnreachable) || !ConcernsStore(err) {
				t.Errorf("nobody tries again: %v", err)
			}
		})
	}
}

// failSnapshots takes the directory of a server away and has it save, which fails.
func failSnapshots(t *testing.T, client *redis.Client) error {
	dir := client.ConfigGet(t.Context(), "dir").Val()["dir"]
	if !strings.HasPrefix(dir, os.TempDir()) {
		t.Fatalf("the server is in %q", dir)
	}
	return errors.Join(
		os.RemoveAll(dir), client.ConfigSet(t.Context(), "save", "3600 1000").Err(), client.BgSave(t.Context()).Err())
}

func TestEachPrimaryOfAClusterIsAskedWhetherItTakesWrites(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	client := cluster.Client()
	r := registryOn(t, client)
	if err := r.Writable(t.Context()); err != nil {
		t.Fatal(err)
	}
	one := cluster.Servers()[2]
	if err := one.Client().ConfigSet(t.Context(), "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Writable(t.Context()); !errors.Is(err, ErrRefusesWrites) || !strings.Contains(err.Error(), one.Addr()) {
		t.Errorf("got %v, want that %s takes no writes", err, one.Addr())
	}
}

func TestANameThatAnotherLibraryHasIsRecognised(t *testing.T) {
	server := redistest.Start(t)
	other := "#!lua name=other\nredis.register_function('cw_get', function() return 1 end)\n"
	if err := server.Client().FunctionLoad(t.Context(), other).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := New(server.Client()).Install(t.Context())
	if !errors.Is(err, ErrNameTaken) || !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "cw_get") {
		t.Errorf("got %v", err)
	}
}

func TestAClusterWhoseNodesAnnounceNoHostSaysSo(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	for _, server := range cluster.Servers() {
		if err := server.Client().ConfigSet(t.Context(), "cluster-preferred-endpoint-type", "unknown-endpoint").Err(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := New(cluster.Client()).Check(t.Context())
	if err != nil && !errors.Is(err, ErrUnexpected) || err == nil || !strings.Contains(err.Error(), "nodes without hosts") {
		t.Errorf("got %v", err)
	}
}

func TestAServerWithoutAConnectionLeftSaysSo(t *testing.T) {
	server := redistest.Start(t)
	// Each of these connections stays open, so that the next is turned away.
	var held []*redis.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	first := server.Client()
	if err := first.ConfigSet(t.Context(), "maxclients", "2").Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		conn := server.Client().Conn()
		held = append(held, conn)
		_ = conn.Ping(t.Context()).Err()
	}
	for range 3 {
		_, err := New(server.Client()).Check(t.Context())
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "max number of clients reached") {
			t.Fatalf("got %v", err)
		}
	}
}
