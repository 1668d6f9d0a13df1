// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/registry"
)

func TestFaultsAreClassifiedOnce(t *testing.T) {
	const address = "redis.shop.svc:6379"
	own := Location{Address: address}
	tests := []struct {
		name   string
		err    error
		class  Class
		reason string
		says   []string
	}{
		{"unreachable", controllertest.ErrDown, ClassWait, v1.ReasonStoreUnreachable, []string{address, "connection refused", "REDIS_HOST"}},
		{
			"loading", fmt.Errorf("x: %w: %w", registry.ErrUnreachable, errors.New("LOADING Redis is loading the dataset in memory")),
			ClassWait, v1.ReasonStoreUnreachable,
			[]string{address, "LOADING Redis is loading"},
		},
		{
			"hanging", fmt.Errorf("x: %w: %w", registry.ErrUnreachable, context.DeadlineExceeded),
			ClassWait, v1.ReasonStoreUnreachable,
			[]string{address, "did not answer in time"},
		},
		{"wrong password", controllertest.ErrPassword, ClassWait, v1.ReasonStoreUnauthorized, []string{address, "WRONGPASS", "REDIS_PASSWORD"}},
		{"forbidden by the ACL", controllertest.ErrForbidden, ClassWait, v1.ReasonStoreUnauthorized, []string{address, "NOPERM", "ACL", "REDIS_USERNAME"}},
		{"too old", controllertest.ErrOld, ClassStalled, v1.ReasonStoreUnsupported, []string{address, "6.2.14", "use Redis 7.0"}},
		{
			"an address that is not allowed", fmt.Errorf("x: %w: dial: %w: 10.0.0.1 is not among --allowed-store-addresses", registry.ErrAddressNotAllowed, registry.ErrAddressNotAllowed),
			ClassStalled, v1.ReasonStoreAddressNotAllowed,
			[]string{address, "10.0.0.1", "--allowed-store-addresses"},
		},
		{"refused", controllertest.ErrRefused, ClassTerminal, v1.ReasonRejected, []string{"revision must be a string"}},
		{
			"out of memory", fmt.Errorf("x: %w: OOM command not allowed", registry.ErrOutOfMemory),
			ClassWait, v1.ReasonStoreUnreachable,
			[]string{address, "maxmemory"},
		},
		{
			"not understood", fmt.Errorf("x: %w: a reply of type int", registry.ErrUnexpected),
			ClassWait, v1.ReasonStoreUnreachable,
			[]string{address, "a reply of type int"},
		},
		{
			"a node of a cluster", fmt.Errorf("x: %w: %w", registry.ErrUnreachable, errors.New("MOVED 3999 127.0.0.1:6381")),
			ClassWait, v1.ReasonStoreUnreachable,
			[]string{address, "a node of a Redis Cluster", "REDIS_CLUSTER", "MOVED 3999"},
		},
		{
			"unable to save", fmt.Errorf("x: %w: %w", registry.ErrRefusesWrites, errors.New("MISCONF Redis is configured to save RDB snapshots")),
			ClassWait, v1.ReasonStoreRefusesWrites,
			[]string{address + " answers, but takes no writes: MISCONF Redis", "its disk"},
		},
		{
			"too few replicas", fmt.Errorf("x: %w: %w", registry.ErrRefusesWrites, errors.New("NOREPLICAS Not enough good replicas to write")),
			ClassWait, v1.ReasonStoreRefusesWrites,
			[]string{"NOREPLICAS Not enough", "min-replicas-to-write"},
		},
		{
			"a replica", fmt.Errorf("x: %w: %w", registry.ErrRefusesWrites, errors.New("READONLY You can't write against a read only replica")),
			ClassWait, v1.ReasonStoreRefusesWrites,
			[]string{"READONLY You can't", "name the primary"},
		},
		{
			"no connection left", fmt.Errorf("x: %w: %w", registry.ErrUnreachable, errors.New("ERR max number of clients reached")),
			ClassWait, v1.ReasonStoreUnreachable,
			[]string{"has no connection left for the operator", "maxclients"},
		},
		{
			"a name that is taken", fmt.Errorf("x: %w: %w", registry.ErrNameTaken, errors.New("ERR Function cw_get already exists")),
			ClassStalled, v1.ReasonStoreUnsupported,
			[]string{"another function library", "cw_get already exists", "FUNCTION DELETE"},
		},
		{
			"nodes without hosts", fmt.Errorf("x: %w: CLUSTER SLOTS names nodes without hosts", registry.ErrUnexpected),
			ClassWait, v1.ReasonStoreUnreachable,
			[]string{"do not tell where they are", "cluster-preferred-endpoint-type"},
		},
		{"Kubernetes", apierrors.NewServiceUnavailable("away"), ClassRetry, "", nil},
		{"shutting down", fmt.Errorf("x: %w", context.Canceled), ClassStopped, "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Classify(test.err, own)
			if got.Class != test.class || got.Reason != test.reason {
				t.Errorf("class %d, reason %q; want %d and %q", got.Class, got.Reason, test.class, test.reason)
			}
			for _, part := range test.says {
				if !strings.Contains(got.Message, part) {
					t.Errorf("message %q does not say %q", got.Message, part)
				}
			}
		})
	}
	if Classify(nil, own) != nil {
		t.Error("no error is no fault")
	}
}

// The local port differs with each connection; were it in the message, status would be written at
// each try.
func TestTheSameTroubleReadsTheSame(t *testing.T) {
	read := func(localPort int) string {
		lost := &net.OpError{
			Op: "read", Net: "tcp",
			Source: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: localPort},
			Addr:   &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6379},
			Err:    syscall.ECONNRESET,
		}
		return Classify(fmt.Errorf("cw_stats of a/%d: %w: %w", localPort, registry.ErrUnreachable, lost), Location{Address: "r:6379"}).Message
	}
	if read(40001) != read(40002) {
		t.Errorf("%q differs from %q", read(40001), read(40002))
	}
}

func TestPrioritiesInTheQueue(t *testing.T) {
	now := time.Now()
	usual := reconcile.Result{RequeueAfter: time.Hour}
	conflict := apierrors.NewConflict(schema.GroupResource{}, "users", errors.New("modified"))
	tests := []struct {
		name       string
		err        error
		wantErr    error
		comesAgain bool
	}{
		{"nothing wrong", nil, nil, true},
		{"store", controllertest.ErrDown, nil, true},
		{"not probed yet", ErrStorePending, nil, true},
		{"person", controllertest.ErrRefused, reconcile.TerminalError(nil), false},
		{"written by somebody else", conflict, nil, true},
		{"shutting down", context.Canceled, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			result, err := Classify(test.err, Location{Address: "r:6379"}).Result(usual, nil, now)
			if !errors.Is(err, test.wantErr) {
				t.Errorf("error %v; want %v", err, test.wantErr)
			}
			if (result.RequeueAfter > 0) != test.comesAgain {
				t.Errorf("comes again after %s; want that it does: %t", result.RequeueAfter, test.comesAgain)
			}
		})
	}
}

func TestWaitingGrowsWithTheTimeThatWasWaited(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		failingFor  time.Duration
		least, most time.Duration
	}{
		{0, time.Second, 2 * time.Second},
		{10 * time.Second, 10 * time.Second, 12 * time.Second},
		{time.Hour, 30 * time.Second, 36 * time.Second},
	} {
		since := metav1.NewTime(now.Add(-test.failingFor))
		conditions := []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionFalse, LastTransitionTime: since}}
		if got := waitAgain(conditions, now); got < test.least || got > test.most {
			t.Errorf("after %s: waits %s; want %s to %s", test.failingFor, got, test.least, test.most)
		}
	}
}
