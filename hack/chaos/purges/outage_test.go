// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/hack/chaos/internal/kube"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// outage is long enough that clients with exponential backoff would wait for longer afterwards.
const outage = 15 * time.Second

// After an outage of the API server, a changed policy is in force soon: within the length of the
// outage.
func TestAChangeAfterAnOutageIsInForceSoon(t *testing.T) {
	server := redistest.Start(t)
	t.Parallel()
	w := newWorldOf(t, kube.Start(t), server.Addr(), clientOf(t, server))
	w.begin()
	w.operate()
	slot := w.shop.declared()[0]
	w.change(slot, time.Minute)

	w.must(w.controlPlane.ControlPlane.APIServer.Stop())
	time.Sleep(outage)
	w.must(w.controlPlane.ControlPlane.APIServer.Start())
	took := w.change(slot, 2*time.Minute)
	t.Logf("a change after %s without the API server was in force after %s", outage, took)
	if took > outage {
		t.Errorf("a change after %s without the API server was in force after %s", outage, took)
	}
}

// change changes the policy of a module, and returns how long it took until Redis had it.
func (w *world) change(slot registry.Slot, ttl time.Duration) time.Duration {
	w.t.Helper()
	policy := &v1.CachePolicy{}
	policy.Namespace, policy.Name = slot.Namespace, slot.Module
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"defaultTTL":"`+ttl.String()+`"}}`))
	began := time.Now()
	w.must(w.k8s.Patch(w.t.Context(), policy, patch))
	w.must(eventually(w.t.Context(), "the policy is in force", func(ctx context.Context) error {
		applied, _, err := w.cache.Policy(ctx, slot)
		if err == nil && applied.TTL("any") != ttl {
			err = errors.New("Redis has another policy")
		}
		return err
	}))
	return time.Since(began)
}
