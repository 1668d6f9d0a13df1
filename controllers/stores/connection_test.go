// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/stats"
)

var errAway = errors.New("the API server is away")

// declared is a CacheStore whose declaration, Secrets and API server a test changes, with its
// monitor. It remembers what each connection was made for.
type declared struct {
	*declaredStore

	monitor *Monitor
	secrets client.Client
	away    bool
	store   *v1.CacheStore
	madeFor map[*link]*v1.CacheStore
}

func newDeclared(t *testing.T, store *v1.CacheStore, secrets ...string) *declared {
	t.Helper()
	d := &declared{store: store, madeFor: map[*link]*v1.CacheStore{}}
	api := interceptor.NewClient(controllertest.FakeCache(t), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, options ...client.GetOption) error {
			if d.away {
				return errAway
			}
			return c.Get(ctx, key, obj, options...)
		},
	})
	d.secrets = api
	d.declaredStore = &declaredStore{live: api}
	d.declare(store)
	d.monitor = newMonitor(client.ObjectKeyFromObject(store), d, Deps{
		Reader: api, Metrics: metrics.New(stats.NewSnapshot()), Snapshot: stats.NewSnapshot(), Clock: clocktesting.NewFakeClock(time.Now()), Log: logr.Discard(),
		RenewInterval: time.Minute, Elected: make(chan struct{}),
	})
	for _, name := range secrets {
		if err := d.secrets.Create(t.Context(), authSecret(name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(d.monitor.connection.disconnect)
	return d
}

func authSecret(name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Data: map[string][]byte{"password": []byte("p")},
	}
}

// connect implements connector. Whatever Redis it leads to is well.
func (d *declared) connect(ctx context.Context, now declaration, former *link) (*link, error) {
	next, err := d.declaredStore.connect(ctx, now, former)
	if next != nil {
		d.madeFor[next] = now.store
		next.store = &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}
	}
	return next, err
}

// redeclare changes the CacheStore.
func (d *declared) redeclare(change func(*v1.CacheStore)) {
	d.store = d.store.DeepCopy()
	d.store.Generation++
	change(d.store)
	d.declare(d.store)
}

// recreate replaces the CacheStore by another of its name.
func (d *declared) recreate() {
	d.redeclare(func(store *v1.CacheStore) {
		store.UID, store.Generation = types.UID(fmt.Sprintf("%s+", store.UID)), 1
	})
}

// probe makes the monitor probe the store. It returns the message of its error, or where the connection
// leads that serves then.
func (d *declared) probe(ctx context.Context) string {
	_ = d.monitor.Probe(ctx)
	session := d.monitor.Open()
	defer session.Close(nil)
	if session.Err() != nil {
		return session.Err().Error()
	}
	made := d.madeFor[session.link]
	return fmt.Sprint(made.UID, " ", made.Spec.Addresses[0], " ", made.Spec.CredentialsSecretRef.Name)
}

func storeWithSecret(name string) *v1.CacheStore {
	store := controllertest.MadeStore("a", "127.0.0.1:1")
	store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: name}
	return store
}

func TestAConnectionThatWasNeverMadeIsNotUsedWhenTheAPIServerFails(t *testing.T) {
	d := newDeclared(t, storeWithSecret("missing"))
	if got := d.probe(t.Context()); got != "a Secret cannot be used: there is no Secret missing in namespace shop" {
		t.Fatal(got)
	}
	d.away = true
	if got := d.probe(t.Context()); got != "a Secret cannot be used: there is no Secret missing in namespace shop" {
		t.Errorf("the API server is away: %s", got)
	}
}

func TestAConnectionServesOnlyTheDeclarationThatItWasMadeFor(t *testing.T) {
	for name, change := range map[string]func(*declared){
		"another Secret, which is not there yet": func(d *declared) {
			d.redeclare(func(store *v1.CacheStore) { store.Spec.CredentialsSecretRef.Name = "missing" })
		},
		"another address, while the Secret is gone": func(d *declared) {
			_ = d.secrets.Delete(context.Background(), authSecret("auth"))
			d.redeclare(func(store *v1.CacheStore) { store.Spec.Addresses = []v1.StoreAddress{"127.0.0.1:2"} })
		},
		"deleted and created again, while the Secret is gone": func(d *declared) {
			_ = d.secrets.Delete(context.Background(), authSecret("auth"))
			d.recreate()
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeclared(t, storeWithSecret("auth"), "auth")
			if got := d.probe(t.Context()); got != "a 127.0.0.1:1 auth" {
				t.Fatal(got)
			}
			change(d)
			refused := d.probe(t.Context())
			d.away = true
			if got := d.probe(t.Context()); got != refused {
				t.Errorf("the API server is away: %s, want %s", got, refused)
			}
			d.away = false
			_ = d.secrets.Create(t.Context(), authSecret(d.store.Spec.CredentialsSecretRef.Name))
			want := fmt.Sprint(d.store.UID, " ", d.store.Spec.Addresses[0], " ", d.store.Spec.CredentialsSecretRef.Name)
			if got := d.probe(t.Context()); got != want {
				t.Errorf("once the Secret is there: %s, want %s", got, want)
			}
		})
	}
}

// A Secret that was seen to be missing is not forgotten because the API server fails.
func TestAMissingSecretIsReportedWhileTheAPIServerFails(t *testing.T) {
	d := newDeclared(t, storeWithSecret("auth"), "auth")
	d.probe(t.Context())
	_ = d.secrets.Delete(t.Context(), authSecret("auth"))
	d.monitor.Clock.(*clocktesting.FakeClock).Step(time.Hour)
	const want = "a Secret cannot be used: there is no Secret auth in namespace shop"
	if got := d.probe(t.Context()); got != want {
		t.Fatal(got)
	}
	d.away = true
	if got := d.probe(t.Context()); got != want {
		t.Errorf("the API server is away: %s", got)
	}
}

// A CacheStore, its Secrets and the API server may change in any order. Anyone who opens the store
// gets a connection that was made for what is declared then, or none.
func TestNoConnectionServesAnotherDeclaration(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDeclared(t, storeWithSecret("auth"), "auth")
		ctx := t.Context()
		secret := rapid.SampledFrom([]string{"auth", "other"})
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				session := d.monitor.Open()
				defer session.Close(nil)
				if session.Err() != nil {
					return
				}
				made := d.madeFor[session.link]
				if made.UID != d.store.UID || originOf(made) != originOf(d.store) {
					rt.Fatalf("declared %s %+v, connected as %s %+v", d.store.UID, d.store.Spec, made.UID, made.Spec)
				}
			},
			"probe":        func(*rapid.T) { _ = d.monitor.Probe(ctx) },
			"time passes":  func(*rapid.T) { d.monitor.Clock.(*clocktesting.FakeClock).Step(time.Minute) },
			"suspect":      func(*rapid.T) { d.monitor.markSuspect() },
			"API server":   func(*rapid.T) { d.away = !d.away },
			"made again":   func(*rapid.T) { d.recreate() },
			"data loss":    func(*rapid.T) { d.redeclare(func(s *v1.CacheStore) { s.Spec.OnDataLoss = v1.DataLossReplay }) },
			"deletion":     func(*rapid.T) { d.redeclare(func(s *v1.CacheStore) { s.DeletionTimestamp = new(metav1.Now()) }) },
			"Secret comes": func(rt *rapid.T) { _ = d.secrets.Create(ctx, authSecret(secret.Draw(rt, "name"))) },
			"Secret goes":  func(rt *rapid.T) { _ = d.secrets.Delete(ctx, authSecret(secret.Draw(rt, "name"))) },
			"address": func(rt *rapid.T) {
				port := rapid.IntRange(1, 3).Draw(rt, "port")
				d.redeclare(func(s *v1.CacheStore) { s.Spec.Addresses[0] = v1.StoreAddress(fmt.Sprintf("127.0.0.1:%d", port)) })
			},
			"another Secret": func(rt *rapid.T) {
				name := secret.Draw(rt, "name")
				d.redeclare(func(s *v1.CacheStore) { s.Spec.CredentialsSecretRef = &v1.SecretReference{Name: name} })
			},
		})
	})
}
