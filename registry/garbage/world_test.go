// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package garbage tests the function library with tenants that write anything to their keys. Each
// call ends within its bound, and an invalidation by somebody else takes effect.
package garbage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/redistest"
)

const runbook = "../../docs/operations.md"

// callTimeout is how long a call may take until it is taken to have no end. The server is killed then:
// nothing else ends such a call. Machines are busy, so it is long.
const callTimeout = 60 * time.Second

// world is a Redis with the users of the runbook: an operator and the tenant of a namespace.
type world struct {
	server   *redistest.Server
	acl      []string
	library  string
	admin    *redis.Client
	operator *redis.Client
	tenant   *redis.Client
	slots    int
	bound    time.Duration // what a call may take of the processor
	slowest  time.Duration
	what     string // the slowest call
}

// bounds are what the runbook advises against large arguments and values, and what keeps a script
// from filling the machine.
var bounds = []string{"--proto-max-bulk-len", "2mb", "--maxmemory", "512mb"}

func newWorld(tb testing.TB, library string) *world {
	tb.Helper()
	w := &world{server: redistest.Start(tb, bounds...), library: library, bound: 100 * time.Millisecond}
	for _, user := range []string{"cachewright", "shop"} {
		w.acl = append(w.acl, redistest.ACLOf(tb, runbook, user)...)
	}
	for client, user := range map[**redis.Client]string{&w.admin: "", &w.operator: "cachewright", &w.tenant: "shop"} {
		*client = bounded(tb, w.server, user)
	}
	if err := w.prepare(); err != nil {
		tb.Fatal(err)
	}
	return w
}

// bounded returns a client that waits for an answer until callTimeout, and asks once.
func bounded(tb testing.TB, server *redistest.Server, user string) *redis.Client {
	tb.Helper()
	options := &redis.Options{
		Addr: server.Addr(), Username: user, ReadTimeout: callTimeout, WriteTimeout: callTimeout, MaxRetries: -1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if user != "" {
		options.Password = "secret"
	}
	client := redis.NewClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

func (w *world) prepare() error {
	w.server.ApplyACL(w.acl)
	return w.admin.FunctionLoadReplace(context.Background(), w.library).Err()
}

// begin empties the server for another slot. One that was killed is started again.
func (w *world) begin(ctx context.Context) (slot string, err error) {
	w.slots++
	if w.admin.FlushAllAsync(ctx).Err() != nil {
		w.server.Restart()
		err = w.prepare()
	}
	return fmt.Sprintf("cw:{shop/m%d}", w.slots), err
}

// call calls a function, and holds what it takes and how it fails against the promises of
// docs/protocol.md.
func (w *world) call(ctx context.Context, client *redis.Client, name, slot string, args ...any) (any, error) {
	return w.hold(ctx, client, append([]any{"FCALL", name, 1, slot}, args...))
}

func (w *world) hold(ctx context.Context, client *redis.Client, command []any) (any, error) {
	before, err := w.spent(ctx)
	if err != nil {
		return nil, err
	}
	reply, failure := client.Do(ctx, command...).Result()
	if errors.Is(failure, redis.Nil) {
		failure = nil
	}
	if isTimeout(failure) {
		w.server.Kill()
		return nil, fmt.Errorf("%.200q does not end", command)
	}
	after, err := w.spent(ctx)
	if err != nil {
		return nil, err
	}
	if took := after - before; took > w.slowest {
		w.slowest, w.what = took, fmt.Sprintf("%.60q", command)
	}
	if took := after - before; took > w.bound {
		return nil, fmt.Errorf("%.200q takes %s of the processor", command, took)
	}
	if failure != nil && !isAllowed(failure) {
		return nil, fmt.Errorf("%.200q fails: %w", command, failure)
	}
	return reply, nil // nil where it is a refusal
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isAllowed: what the library refuses has its name; Redis refuses what is no call of a function,
// and what the ACL does not allow.
func isAllowed(err error) bool {
	for _, prefix := range []string{
		"CACHEWRIGHT ", "NOPERM ", "OOM ", "CROSSSLOT ", "ERR Function not found", "ERR wrong number", "ERR Number of keys", "ERR Bad number of keys",
		"ERR Can not execute a script with write flag",
	} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

// spent is what the thread that runs commands has taken of the processor: unlike Redis' clock it
// does not go on while others have that.
func (w *world) spent(ctx context.Context) (total time.Duration, err error) {
	info, err := w.admin.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user_main_thread" || name == "used_cpu_sys_main_thread" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			total += time.Duration(seconds * float64(time.Second))
		}
	}
	return total, nil
}

// machine is how many bytes the Lua VM of functions has, which maxmemory does not bound.
func (w *world) machine(ctx context.Context) (int, error) {
	info, err := w.admin.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(info["Memory"]["used_memory_vm_functions"])
}
