// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// connector makes connections to one store.
type connector interface {
	// declaration returns how the store is declared now: where it is, and by which edition of the CacheStore.
	declaration() (place, edition)
	// connect returns a connection as declared now, and the versions of what it was made from; nil if
	// those are the versions given, so that the connection of then is still right.
	connect(ctx context.Context, versions string) (*link, string, error)
	// onDataLoss says what to do when the store went back to an older state.
	onDataLoss() v1.DataLossPolicy
}

// edition is one generation of one CacheStore. One that was deleted and made again begins anew to count them.
type edition struct {
	uid        types.UID
	generation int64
}

func editionOf(store *v1.CacheStore) edition { return edition{store.UID, store.Generation} }

// renew holds the connection against its declaration where that is due: there is none, the store
// could not be used, it was declared anew, or some time passed. It returns what was declared.
func (m *Monitor) renew(ctx context.Context) (generation edition, err error) {
	declared, generation := m.connector.declaration()
	if !m.renewalDue(declared, generation) {
		return generation, nil
	}
	next, versions, err := m.connector.connect(ctx, m.versions)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.place = declared
	switch {
	case err != nil && m.found != nil && m.found.generation == generation && !faultOf(err, declared).ofStore():
		// The API server has a bad time. Redis may be well.
		m.Log.Error(err, "The Secrets of the store cannot be read, the connection stays")
		return generation, nil
	case err != nil:
		return generation, err
	}
	m.renewed = m.Clock.Now()
	if next == nil {
		return generation, nil
	}
	if m.link != nil {
		m.link.retire()
		m.figures, m.nextCount = nil, time.Time{} // they may be of another Redis
		m.Log.Info("Connected anew, as Secrets or the resource changed", "at", m.place.address)
	}
	next.store = rememberingStore{next.store, m.lists}
	m.link, m.versions = next, versions
	return generation, nil
}

func (m *Monitor) renewalDue(declared place, generation edition) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link == nil || m.place != declared || m.found == nil || m.found.err != nil || m.doubted ||
		m.found.generation != generation || m.Clock.Since(m.renewed) >= m.RenewInterval
}

// declaredNow is what a finding has to be of to say anything about the store.
func (m *Monitor) declaredNow() edition {
	_, now := m.connector.declaration()
	return now
}

// disconnect gives up the connection, which ends with its last user.
func (m *Monitor) disconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link != nil {
		m.link.retire()
	}
}

// givenStore is a connector to a store that is given as it is, for as long as the operator runs.
type givenStore struct {
	store Store
	place place
	loss  v1.DataLossPolicy
}

func (g givenStore) onDataLoss() v1.DataLossPolicy { return g.loss }

func (g givenStore) declaration() (place, edition) { return g.place, edition{} }

func (g givenStore) connect(_ context.Context, versions string) (*link, string, error) {
	const only = "given"
	if versions == only {
		return nil, only, nil
	}
	return &link{store: g.store, close: func() {}}, only, nil
}

// declaredStore is a connector to what a CacheStore declares.
type declaredStore struct {
	// live reads Secrets from the API server.
	live client.Reader

	mu    sync.Mutex
	store *v1.CacheStore
}

// declare says that the resource is so now.
func (d *declaredStore) declare(store *v1.CacheStore) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = d.store == nil || editionOf(d.store) != editionOf(store)
	d.store = store.DeepCopy()
	return changed
}

func (d *declaredStore) now() *v1.CacheStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.store
}

func (d *declaredStore) onDataLoss() v1.DataLossPolicy { return d.now().Spec.OnDataLoss }

func (d *declaredStore) declaration() (place, edition) {
	store := d.now()
	return placeOf(store), editionOf(store)
}

func (d *declaredStore) connect(ctx context.Context, versions string) (*link, string, error) {
	store := d.now()
	declared, err := versionOf(store)
	if err != nil {
		return nil, "", err
	}
	if !store.DeletionTimestamp.IsZero() && strings.HasPrefix(versions, declared) {
		// It only waits for its last policies to be withdrawn. Its Secrets may be gone already.
		return nil, versions, nil
	}
	secrets := &secretReader{live: d.live, namespace: store.Namespace}
	connection, err := connectionOf(ctx, &store.Spec, secrets)
	if err != nil {
		return nil, "", err
	}
	read := declared + strings.Join(secrets.versions, " ")
	if read == versions {
		return nil, read, nil
	}
	redis := connection.Client()
	return &link{store: registry.New(redis), close: closer(redis)}, read, nil
}

// versionOf names what of a CacheStore a connection is made from, in a line. What is declared beside it is no reason to end one.
func versionOf(store *v1.CacheStore) (string, error) {
	declared := store.Spec
	declared.OnDataLoss = ""
	version, err := json.Marshal([]any{store.UID, declared})
	if err != nil {
		return "", fmt.Errorf("comparing CacheStore %s: %w", client.ObjectKeyFromObject(store), err)
	}
	return string(version) + "\n", nil
}

func closer(c io.Closer) func() { return func() { _ = c.Close() } }

// secretReader reads Secrets of a namespace, and notes which versions it read.
type secretReader struct {
	live      client.Reader
	namespace string
	versions  []string
}

// read returns the keys of a Secret, each of which must be there.
func (r *secretReader) read(ctx context.Context, ref *v1.SecretReference, keys ...string) (map[string][]byte, error) {
	secret := &corev1.Secret{}
	err := r.live.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%w: there is no Secret %s in namespace %s", errStoreSecret, ref.Name, r.namespace)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%w: the operator may not read Secret %s of namespace %s: check its roles", errStoreSecret, ref.Name, r.namespace)
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s of namespace %s: %w", ref.Name, r.namespace, err)
	}
	for _, key := range keys {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("%w: Secret %s has no key %s", errStoreSecret, ref.Name, key)
		}
	}
	r.versions = append(r.versions, string(secret.UID)+"/"+secret.ResourceVersion)
	return secret.Data, nil
}
