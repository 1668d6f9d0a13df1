// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Each kind of failure is distinguished, by errors.Is and by a message that names the slot but no
// argument.
func TestErrorsSayWhatIsWrong(t *testing.T) {
	server := redistest.Start(t)
	for _, user := range [][]any{
		{"ACL", "SETUSER", "tenant", "on", ">pw", "~cw:{other/*", "+@all"},
		{"ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@all", "-fcall"},
	} {
		if err := server.Client().Do(t.Context(), user...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	clientOf := func(user, password string) redis.UniversalClient {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: user, Password: password, DialTimeout: time.Second, MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	admin := registryOn(t, server.Client())
	apply(t, admin, users, caching())
	refused := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { _ = refused.Close() })

	const secret = "s3cret-id"
	for _, test := range []struct {
		name   string
		client redis.UniversalClient
		want   error
		says   string
	}{
		{"wrong password", clientOf("tenant", "wrong"), ErrUnauthorized, "WRONGPASS"},
		{"ACL forbids the key", clientOf("tenant", "pw"), ErrUnauthorized, "NOPERM"},
		{"ACL forbids the command", clientOf("reader", "pw"), ErrUnauthorized, "NOPERM"},
		{"nobody listens", refused, ErrUnreachable, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.client).Lease(t.Context(), entry("list", secret, secret))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "shop/users") {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("an argument is in the message: %v", err)
			}
		})
	}
	t.Run("refused by the library", func(t *testing.T) {
		_, err := admin.Lease(t.Context(), entry("", "id", ""))
		if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "cw_get: op must have 1 to 128 bytes") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a cancelled caller", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := admin.Get(ctx, entry("list", "a", "")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("out of memory", func(t *testing.T) {
		key := entry("list", "a", "")
		token := lease(t, admin, key).Token
		if err := server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Set(t.Context(), key, []byte("x"), token); !errors.Is(err, ErrOutOfMemory) {
			t.Errorf("got %v", err)
		}
		// What helps works still.
		if _, err := admin.Invalidate(t.Context(), users, Scope{}, ModeHard, ""); err != nil {
			t.Error(err)
		}
	})
}

func TestReplyMeanings(t *testing.T) {
	for reply, want := range map[string]error{
		"LOADING Redis is loading the dataset in memory":         ErrUnreachable,
		"READONLY You can't write against a read only replica.":  ErrRefusesWrites,
		"MISCONF Redis is configured to save RDB snapshots":      ErrRefusesWrites,
		"NOREPLICAS Not enough good replicas to write.":          ErrRefusesWrites,
		"ERR Function cw_get already exists":                     ErrNameTaken,
		"ERR Function not found":                                 ErrUnexpected,
		"CLUSTERDOWN The cluster is down":                        ErrUnreachable,
		"NOAUTH Authentication required.":                        ErrUnauthorized,
		"ERR unknown command 'FCALL', with args beginning with:": ErrUnsupported,
		"OOM command not allowed when used memory > 'maxmemory'": ErrOutOfMemory,
		"CACHEWRIGHT cw_get: …":                                  ErrRejected,
		"CACHEWRIGHT NOPERM ACL failure in script":               ErrForbidden,
		"CACHEWRIGHT ERR The user executing the script can't":    ErrForbidden,
		"CACHEWRIGHT OOM command not allowed":                    ErrOutOfMemory,
		"CACHEWRIGHT user_function:1: attempt to index":          ErrUnexpected,
		"WRONGTYPE Operation against a key":                      ErrUnexpected,
	} {
		if got := fault.ClassOf(serverReply(reply)); got != want { //nolint:errorlint // the sentinel itself
			t.Errorf("%s: got %v, want %v", reply, got, want)
		}
	}
}

// serverReply is an error as go-redis makes of a reply.
type serverReply string

func (s serverReply) Error() string { return string(s) }
func (serverReply) RedisError()     {}
