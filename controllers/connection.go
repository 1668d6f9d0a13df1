// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
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
	// declaration returns how the store is declared now.
	declaration() declaration
	// connect returns a connection as declared; nil if former is one and its Secrets are the same, so that it is still right.
	connect(ctx context.Context, declared declaration, former *link) (*link, error)
	// onDataLoss says what to do when the store went back to an older state.
	onDataLoss() v1.DataLossPolicy
}

// declaration is what a store is declared to be at one moment.
type declaration struct {
	place      place
	generation edition
	// origin names all that a connection is made from, beside Secrets. A connection serves declarations of its own origin only.
	origin string
	store  *v1.CacheStore // nil: the store is given
}

// edition is one generation of one CacheStore. One that was deleted and made again begins anew to count them.
type edition struct {
	uid        types.UID
	generation int64
}

func editionOf(store *v1.CacheStore) edition { return edition{store.UID, store.Generation} }

// renew holds the connection against its declaration where that is due: there is none, the store
// could not be used, it was declared anew, or some time passed. It returns what was declared; without an error there is
// a connection that was made for it.
func (m *Monitor) renew(ctx context.Context) (generation edition, err error) {
	declared := m.connector.declaration()
	former, due := m.renewalDue(declared)
	if !due {
		return declared.generation, nil
	}
	next, err := m.connector.connect(ctx, declared, former)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.place = declared.place
	if err != nil {
		return declared.generation, m.refused(declared, err)
	}
	m.renewed, m.refusal = m.Clock.Now(), nil
	if next != nil {
		m.follow(declared, next)
	}
	return declared.generation, nil
}

// refused decides what becomes of the connection when it could not be held against its declaration; nil: it stays in
// use. It is called with the lock held.
func (m *Monitor) refused(declared declaration, err error) error {
	if !m.link.serves(declared) {
		m.unlink()
	}
	if faultOf(err, declared.place).ofStore() {
		m.refusal = err
		return err
	}
	if m.link == nil || m.refusal != nil {
		return err
	}
	// The API server has a bad time. Redis may be well.
	m.Log.Error(err, "The Secrets of the store cannot be read, the connection stays")
	return nil
}

// follow replaces the connection. It is called with the lock held.
func (m *Monitor) follow(declared declaration, next *link) {
	if m.link != nil {
		m.Log.Info("Connected anew, as Secrets or the resource changed", "at", m.place.address)
	}
	if !m.link.serves(declared) {
		m.lists = newModuleLists() // those of another Redis, perhaps
	}
	m.unlink()
	next.store = newClaimingStore(rememberingStore{next.store, m.lists}, m.Clock)
	next.origin = declared.origin
	m.link = next
}

// unlink gives up the connection, which ends with its last user. It is called with the lock held.
func (m *Monitor) unlink() {
	if m.link == nil {
		return
	}
	m.link.retire()
	m.link, m.figures, m.nextCount = nil, nil, time.Time{} // the figures may be of another Redis
}

// renewalDue says whether the connection, which it returns, is to be held against what is declared.
func (m *Monitor) renewalDue(declared declaration) (former *link, due bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link, !m.link.serves(declared) || m.place != declared.place || m.found == nil || m.found.err != nil || m.doubted ||
		m.found.generation != declared.generation || m.Clock.Since(m.renewed) >= m.RenewInterval
}

// disconnect gives up the connection, which ends with its last user.
func (m *Monitor) disconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unlink()
}

// givenStore is a connector to a store that is given as it is, for as long as the operator runs.
type givenStore struct {
	store Store
	place place
	loss  v1.DataLossPolicy
}

func (g givenStore) onDataLoss() v1.DataLossPolicy { return g.loss }

func (g givenStore) declaration() declaration { return declaration{place: g.place} }

func (g givenStore) connect(_ context.Context, _ declaration, former *link) (*link, error) {
	if former != nil {
		return nil, nil //nolint:nilnil // it is still right
	}
	return &link{store: g.store, close: func() {}}, nil
}

// declaredStore is a connector to what a CacheStore declares.
type declaredStore struct {
	// live reads Secrets from the API server.
	live client.Reader
	// check is asked before each connection; nil: any address will do.
	check registry.DialCheck

	mu  sync.Mutex
	now declaration
}

// declare says that the resource is so now.
func (d *declaredStore) declare(store *v1.CacheStore) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = d.now.store == nil || d.now.generation != editionOf(store)
	store = store.DeepCopy()
	d.now = declaration{place: placeOf(store), generation: editionOf(store), origin: originOf(store), store: store}
	return changed
}

func (d *declaredStore) declaration() declaration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *declaredStore) onDataLoss() v1.DataLossPolicy { return d.declaration().store.Spec.OnDataLoss }

func (d *declaredStore) connect(ctx context.Context, declared declaration, former *link) (*link, error) {
	store, stays := declared.store, former.serves(declared)
	if !store.DeletionTimestamp.IsZero() && stays {
		// It only waits for its last policies to be withdrawn. Its Secrets may be gone already.
		return nil, nil //nolint:nilnil // it is still right
	}
	secrets := &secretReader{live: d.live, namespace: store.Namespace}
	connection, err := connectionOf(ctx, &store.Spec, secrets)
	if err != nil {
		return nil, err
	}
	read := strings.Join(secrets.versions, " ")
	if stays && read == former.secrets {
		return nil, nil //nolint:nilnil // it is still right
	}
	connection.Role, connection.Check = registry.RoleOperator, d.check
	redis := connection.Client()
	return &link{store: registry.New(redis), close: closer(redis), secrets: read}, nil
}

// originOf names what of a CacheStore a connection is made from. What is declared beside it is no reason to end one.
func originOf(store *v1.CacheStore) string {
	declared := store.Spec
	declared.OnDataLoss = ""
	spec, err := json.Marshal(declared)
	if err != nil {
		// No connection serves two generations then, which is right, if slow.
		spec = strconv.AppendInt(nil, store.Generation, 10)
	}
	return string(store.UID) + " " + string(spec)
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
