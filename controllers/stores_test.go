// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// declaredStores are stores among which one CacheStore is declared, that was looked at and found well.
func declaredStores(t *testing.T, resources client.WithWatch, store *v1.CacheStore) (*Stores, *Monitor) {
	t.Helper()
	stores := newStores(surroundings{
		Reader: resources, Metrics: NewMetrics(), Clock: clocktesting.NewFakeClock(time.Now()), Log: logr.Discard(),
		RenewInterval: time.Minute, Elected: make(chan struct{}),
	}, resources)
	monitor := stores.declare(store)
	if _, err := monitor.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	monitor.note(finding{generation: editionOf(store), health: fine("a")})
	t.Cleanup(monitor.disconnect)
	return stores, monitor
}

// madeStore is a CacheStore of the first generation.
func madeStore(uid, address string) *v1.CacheStore {
	store := storeTo("main", address)
	store.Namespace, store.UID, store.Generation = "shop", types.UID(uid), 1
	return store
}

// changed is a CacheStore whose address was changed.
func changed(store *v1.CacheStore, address string) *v1.CacheStore {
	next := store.DeepCopy()
	next.Generation++
	next.Spec.Addresses = []v1.StoreAddress{v1.StoreAddress(address)}
	return next
}

// statusBy is the status of a CacheStore by what a monitor reports.
func statusBy(monitor *Monitor, store *v1.CacheStore) v1.CacheStoreStatus {
	last, at := monitor.report()
	return storeStatus(store, storeFindings{last: last, place: at}, time.Now())
}

func TestNothingGoesToARedisThatIsNoLongerDeclared(t *testing.T) {
	first := madeStore("a", "127.0.0.1:1")
	for _, test := range []struct {
		name string
		next *v1.CacheStore
	}{
		{"changed", changed(first, "127.0.0.1:2")},
		{"deleted and made again", madeStore("b", "127.0.0.1:2")},
	} {
		t.Run(test.name, func(t *testing.T) {
			resources := fakeCache(t, first)
			stores, monitor := declaredStores(t, resources, first)
			session := stores.Open(t.Context(), client.ObjectKeyFromObject(first))
			if session.Err() != nil {
				t.Fatal("as declared first:", session.Err())
			}
			session.Close(nil)

			seen, _ := declaredStores(t, fakeCache(t, test.next), first)
			if err := seen.Open(t.Context(), client.ObjectKeyFromObject(first)).Err(); !errors.Is(err, errStorePending) {
				t.Errorf("the cache shows it, its monitor was not told: %v", err)
			}

			stores.declare(test.next)
			if err := monitor.Open().Err(); !errors.Is(err, errStorePending) {
				t.Errorf("its monitor was told, and has not looked: %v", err)
			}
			if got := ready(statusBy(monitor, test.next).Conditions); got != "False Connecting" {
				t.Errorf("Ready is %s, of a Redis that nobody has looked at", got)
			}

			if _, err := monitor.renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			monitor.note(finding{generation: editionOf(test.next), health: fine("b")})
			session = monitor.Open()
			if session.Err() != nil {
				t.Error("once it was looked at:", session.Err())
			}
			session.Close(nil)
			if got := ready(statusBy(monitor, test.next).Conditions); got != "True Connected" {
				t.Errorf("once it was looked at: %s", got)
			}
		})
	}
}

// While the API server fails, a connection stays if it is to what is declared; else there is none.
func TestAConnectionOutlivesTheAPIServerOnlyAsDeclared(t *testing.T) {
	store := madeStore("a", "127.0.0.1:1")
	store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "auth"}
	auth := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "auth"}, Data: map[string][]byte{"password": []byte("p")}}
	away := errors.New("the API server is away")
	var failing error
	resources := interceptor.NewClient(fakeCache(t, store, auth), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, options ...client.GetOption) error {
			if _, secret := obj.(*corev1.Secret); secret && failing != nil {
				return failing
			}
			return c.Get(ctx, key, obj, options...)
		},
	})
	stores, monitor := declaredStores(t, resources, store)
	former := monitor.link
	failing = away

	monitor.Clock.(*clocktesting.FakeClock).Step(time.Hour)
	if _, err := monitor.renew(t.Context()); err != nil || monitor.link != former {
		t.Errorf("as declared: %v", err)
	}

	next := changed(store, "127.0.0.1:2")
	stores.declare(next)
	if found := monitor.find(t.Context()); !errors.Is(found.err, away) {
		t.Errorf("declared anew: %v", found.err)
	}
	if err := monitor.Open().Err(); !errors.Is(err, errStorePending) {
		t.Errorf("the former connection is open: %v", err)
	}
	if got := ready(statusBy(monitor, next).Conditions); got != "False Connecting" {
		t.Errorf("Ready is %s, of a Redis that nobody has contacted", got)
	}

	failing = nil
	if found, err := monitor.renew(t.Context()); err != nil || found != editionOf(next) || monitor.link == former {
		t.Errorf("the API server is back: %v", err)
	}
}

// A store that is to be deleted keeps its connection without Secrets, unless it was declared anew before.
func TestADeletedStoreKeepsItsOwnConnection(t *testing.T) {
	store := madeStore("a", "127.0.0.1:1")
	store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "auth"}
	auth := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "auth"}, Data: map[string][]byte{"password": []byte("p")}}
	resources := fakeCache(t, store, auth)
	stores, monitor := declaredStores(t, resources, store)
	if err := resources.Delete(t.Context(), auth); err != nil {
		t.Fatal(err)
	}
	former := monitor.link

	deleted := changed(store, "127.0.0.1:1")
	deleted.DeletionTimestamp = new(metav1.Now())
	stores.declare(deleted)
	if _, err := monitor.renew(t.Context()); err != nil || monitor.link != former {
		t.Errorf("deleted: %v", err)
	}

	moved := changed(deleted, "127.0.0.1:2")
	stores.declare(moved)
	if _, err := monitor.renew(t.Context()); !errors.Is(err, errStoreSecret) {
		t.Errorf("changed, and then deleted: %v", err)
	}
}

func TestWhatEndangeredAFormerRedisIsNotSaidOfTheNext(t *testing.T) {
	store := madeStore("a", "127.0.0.1:1")
	danger := finding{generation: editionOf(store), health: registry.Health{Version: "7.0.15", Primaries: []registry.Primary{{Addr: "127.0.0.1:1", IsReplica: true}}}}
	status := func(store *v1.CacheStore, last *finding) string {
		store.Status = storeStatus(store, storeFindings{last: last}, time.Now())
		return how(store.Status.Conditions, v1.ConditionAtRisk)
	}
	if got := status(store, &danger); got != "True NotPrimary" {
		t.Fatal(got)
	}
	if got := status(store, nil); got != "True NotPrimary" {
		t.Errorf("after a start of the operator: %s", got)
	}
	if got := status(changed(store, "127.0.0.1:2"), &danger); got != "absent" {
		t.Errorf("declared anew: %s", got)
	}
	down := finding{generation: editionOf(store), err: errDown, health: danger.health}
	if got := status(store, &down); got != "absent" {
		t.Errorf("down: %s", got)
	}
}
