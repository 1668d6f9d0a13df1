// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// declaredStores are stores among which one CacheStore is declared, that was probed and found
// well.
func declaredStores(t *testing.T, resources client.WithWatch, store *v1.CacheStore) (*Manager, *Monitor) {
	t.Helper()
	stores := NewManager(Deps{
		Reader: resources, Live: resources, Metrics: metrics.New(stats.NewSnapshot()), Snapshot: stats.NewSnapshot(), Clock: clocktesting.NewFakeClock(time.Now()), Log: logr.Discard(),
		RenewInterval: time.Minute, Elected: make(chan struct{}),
	})
	monitor := stores.declare(store)
	if _, err := monitor.connection.renew(t.Context(), monitor.state.isSettled); err != nil {
		t.Fatal(err)
	}
	monitor.record(ProbeResult{Version: VersionOf(store), Health: controllertest.Healthy("a")})
	t.Cleanup(monitor.connection.disconnect)
	return stores, monitor
}

// isOf reports whether what a monitor reports is of a version of a CacheStore.
func isOf(monitor *Monitor, store *v1.CacheStore) bool {
	last, _ := monitor.Report()
	return last != nil && last.Version == VersionOf(store)
}

func TestNothingGoesToARedisThatIsNoLongerDeclared(t *testing.T) {
	first := controllertest.MadeStore("a", "127.0.0.1:1")
	for _, test := range []struct {
		name string
		next *v1.CacheStore
	}{
		{"changed", controllertest.Changed(first, "127.0.0.1:2")},
		{"deleted and made again", controllertest.MadeStore("b", "127.0.0.1:2")},
	} {
		t.Run(test.name, func(t *testing.T) {
			resources := controllertest.FakeCache(t, first)
			stores, monitor := declaredStores(t, resources, first)
			session := stores.Open(t.Context(), client.ObjectKeyFromObject(first))
			if session.Err() != nil {
				t.Fatal("as declared first:", session.Err())
			}
			session.Close(nil)

			seen, _ := declaredStores(t, controllertest.FakeCache(t, test.next), first)
			if err := seen.Open(t.Context(), client.ObjectKeyFromObject(first)).Err(); !errors.Is(err, status.ErrStorePending) {
				t.Errorf("the cache shows it, its monitor does not know it: %v", err)
			}

			stores.declare(test.next)
			if err := monitor.Open().Err(); !errors.Is(err, status.ErrStorePending) {
				t.Errorf("its monitor knows it, and has not probed: %v", err)
			}
			if isOf(monitor, test.next) {
				t.Error("it reports on a Redis that nobody has probed")
			}

			if _, err := monitor.connection.renew(t.Context(), monitor.state.isSettled); err != nil {
				t.Fatal(err)
			}
			monitor.record(ProbeResult{Version: VersionOf(test.next), Health: controllertest.Healthy("b")})
			session = monitor.Open()
			if session.Err() != nil {
				t.Error("once it was probed:", session.Err())
			}
			session.Close(nil)
			if !isOf(monitor, test.next) {
				t.Error("it does not report on what it probed")
			}
		})
	}
}

// While the API server fails, a connection stays if it is to what is declared; else there is none.
func TestAConnectionOutlivesTheAPIServerOnlyAsDeclared(t *testing.T) {
	store := controllertest.MadeStore("a", "127.0.0.1:1")
	store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "auth"}
	auth := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "auth"}, Data: map[string][]byte{"password": []byte("p")}}
	away := errors.New("the API server is away")
	var failing error
	resources := interceptor.NewClient(controllertest.FakeCache(t, store, auth), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, options ...client.GetOption) error {
			if _, secret := obj.(*corev1.Secret); secret && failing != nil {
				return failing
			}
			return c.Get(ctx, key, obj, options...)
		},
	})
	stores, monitor := declaredStores(t, resources, store)
	former := monitor.connection.link
	failing = away

	monitor.Clock.(*clocktesting.FakeClock).Step(time.Hour)
	if _, err := monitor.connection.renew(t.Context(), monitor.state.isSettled); err != nil || monitor.connection.link != former {
		t.Errorf("as declared: %v", err)
	}

	next := controllertest.Changed(store, "127.0.0.1:2")
	stores.declare(next)
	if found, _ := monitor.prober.probe(t.Context(), monitor.state.isSettled); !errors.Is(found.Err, away) {
		t.Errorf("declared again: %v", found.Err)
	}
	if err := monitor.Open().Err(); !errors.Is(err, status.ErrStorePending) {
		t.Errorf("the former connection is open: %v", err)
	}
	if isOf(monitor, next) {
		t.Error("it reports on a Redis that nobody has contacted")
	}

	failing = nil
	if found, err := monitor.connection.renew(t.Context(), monitor.state.isSettled); err != nil || found != VersionOf(next) || monitor.connection.link == former {
		t.Errorf("the API server is back: %v", err)
	}
}

// A store that is to be deleted keeps its connection without Secrets, unless it was declared
// otherwise before.
func TestADeletedStoreKeepsItsOwnConnection(t *testing.T) {
	store := controllertest.MadeStore("a", "127.0.0.1:1")
	store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "auth"}
	auth := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "auth"}, Data: map[string][]byte{"password": []byte("p")}}
	resources := controllertest.FakeCache(t, store, auth)
	stores, monitor := declaredStores(t, resources, store)
	if err := resources.Delete(t.Context(), auth); err != nil {
		t.Fatal(err)
	}
	former := monitor.connection.link

	deleted := controllertest.Changed(store, "127.0.0.1:1")
	deleted.DeletionTimestamp = new(metav1.Now())
	stores.declare(deleted)
	if _, err := monitor.connection.renew(t.Context(), monitor.state.isSettled); err != nil || monitor.connection.link != former {
		t.Errorf("deleted: %v", err)
	}

	moved := controllertest.Changed(deleted, "127.0.0.1:2")
	stores.declare(moved)
	if _, err := monitor.connection.renew(t.Context(), monitor.state.isSettled); !errors.Is(err, status.ErrStoreSecret) {
		t.Errorf("changed, and then deleted: %v", err)
	}
}
