// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/hack/chaos/internal/kube"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	poll = 20 * time.Millisecond
	// timeout limits each wait. It is long, because the machine may be busy.
	timeout = 3 * time.Minute
)

// eventually retries until there is no error.
func eventually(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(err, ctx.Err()))
		case <-time.After(poll):
		}
	}
}

// worlds counts the worlds, so that each has its own namespaces.
var worlds atomic.Int64

// world is the namespaces of a test, their operator and a ledger of purges. Each test starts its
// own Redis.
type world struct {
	*ledger

	t            *testing.T
	controlPlane *kube.ControlPlane
	// watched holds flags that limit the operator to the world, if others share the API server.
	watched     []string
	redisAddr   string // of the operator's own Redis; empty: it has none
	redis       redis.UniversalClient
	application *application
	prepared    int
}

// newWorld makes a world beside others on one API server. Its test runs in parallel with others.
func newWorld(t *testing.T, redisAddr string, applications redis.UniversalClient) *world {
	t.Helper()
	t.Parallel()
	w := newWorldOf(t, kube.Shared(t), redisAddr, applications)
	w.watched = []string{
		"--watch-namespaces=" + strings.Join(w.shop.namespaces(), ","), "--cluster-id=chaos",
	}
	return w
}

// newWorldOf makes a world on an API server of its own.
func newWorldOf(
	t *testing.T, controlPlane *kube.ControlPlane, redisAddr string,
	applications redis.UniversalClient,
) *world {
	t.Helper()
	name := shop(fmt.Sprint("shop-", worlds.Add(1)))
	return &world{
		t: t, controlPlane: controlPlane, redisAddr: redisAddr, redis: applications,
		ledger: newLedger(name, controlPlane.Client, registry.New(applications)),
	}
}

// clientOf returns a client with the settings that applications need. It disables notifications of
// maintenance, because concurrent connections of go-redis have a data race there.
func clientOf(t *testing.T, server *redistest.Server) *redis.Client {
	t.Helper()
	redisClient := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = redisClient.Close() })
	return redisClient
}

// createNamespace creates a namespace and the store that its resources name.
func (w *world) createNamespace(name string) {
	w.t.Helper()
	w.must(w.k8s.Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	if w.store != nil {
		store := &v1.CacheStore{Spec: *w.store}
		store.Namespace, store.Name = name, storeName
		w.must(w.k8s.Create(w.t.Context(), store))
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// begin creates the policies, starts an application, and begins to follow the purges.
func (w *world) begin() {
	w.t.Helper()
	for _, namespace := range w.shop.namespaces() {
		w.createNamespace(namespace)
	}
	for _, slot := range w.shop.declared() {
		policy := &v1.CachePolicy{Spec: v1.CachePolicySpec{Module: slot.Module, DefaultTTL: &metav1.Duration{Duration: time.Hour}}}
		policy.Namespace, policy.Name = slot.Namespace, slot.Module
		policy.Spec.StoreRef = w.storeRef()
		w.must(w.k8s.Create(w.t.Context(), policy))
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.follow(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	w.startApplication(w.redis)
}

// operate starts an operator.
func (w *world) operate(args ...string) *operatortest.Process {
	w.t.Helper()
	args = append([]string{"--store-check-interval=1s"}, args...)
	return w.controlPlane.Operate(w.t, w.redisAddr, append(args, w.watched...)...)
}

// ask prepares and creates a number of purges. It also lets the application change its value.
func (w *world) ask(purges int) (asked []*purge) {
	w.t.Helper()
	for range purges {
		asked = append(asked, w.prepare(1)...)
		w.create(asked[len(asked)-1:])
	}
	w.application.change()
	return asked
}

// create creates prepared purges.
func (w *world) create(prepared []*purge) {
	w.t.Helper()
	for _, p := range prepared {
		w.must(w.ledger.create(w.t.Context(), p))
	}
}

// prepare fills the entries of a number of purges.
func (w *world) prepare(purges int) (prepared []*purge) {
	w.t.Helper()
	for range purges {
		w.prepared++
		p, err := w.ledger.prepare(w.t.Context(), w.prepared)
		w.must(err)
		prepared = append(prepared, p)
	}
	return prepared
}

// untilBegun waits until an operator works on one of the open purges, or until none is open.
func (w *world) untilBegun() {
	w.t.Helper()
	w.must(eventually(w.t.Context(), "begin of a purge", func(context.Context) error {
		if open, begun := w.unfinished(); open > 0 && begun == 0 {
			return errors.New("none has begun")
		}
		return nil
	}))
}

// check closes the ledger and reports its findings.
func (w *world) check() {
	w.t.Helper()
	w.must(w.close(w.t.Context()))
	w.application.end()
	for _, finding := range w.findings {
		w.t.Error(finding)
	}
	w.t.Logf("%d purges, %d reads of the application, %d findings", len(w.purges), w.application.reads.Load(), len(w.findings))
}
