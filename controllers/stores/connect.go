// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/controllers/stores/secrets"
	"github.com/cachewright/cachewright/registry"
)

// givenStore is a connector to a store that is given as it is, for as long as the operator runs.
type givenStore struct {
	store    calls.Store
	location status.Location
	loss     v1.DataLossPolicy
}

func (g givenStore) onDataLoss() v1.DataLossPolicy { return g.loss }

func (g givenStore) declaration() declaration { return declaration{location: g.location} }

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

// declare sets what the resource declares now.
func (d *declaredStore) declare(store *v1.CacheStore) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = d.now.store == nil || d.now.version != VersionOf(store)
	store = store.DeepCopy()
	d.now = declaration{
		location: status.LocationOf(store), version: VersionOf(store), origin: originOf(store),
		store: store,
	}
	return changed
}

func (d *declaredStore) declaration() declaration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *declaredStore) onDataLoss() v1.DataLossPolicy {
	return d.declaration().store.Spec.OnDataLoss
}

func (d *declaredStore) connect(
	ctx context.Context, declared declaration, former *link,
) (*link, error) {
	store, stays := declared.store, former.serves(declared)
	if !store.DeletionTimestamp.IsZero() && stays {
		// It only waits for its last policies to be withdrawn. Its Secrets may be gone already.
		return nil, nil //nolint:nilnil // it is still right
	}
	read := &secrets.Reader{Live: d.live, Namespace: store.Namespace}
	connection, err := secrets.ConnectionOf(ctx, &store.Spec, read)
	if err != nil {
		return nil, err
	}
	versions := strings.Join(read.Versions, " ")
	if stays && versions == former.secrets {
		return nil, nil //nolint:nilnil // it is still right
	}
	connection.Role, connection.Check = registry.RoleOperator, d.check
	redis := connection.Client()
	return &link{store: registry.New(redis), close: closer(redis), secrets: versions}, nil
}

// originOf names what of a CacheStore a connection is made from. A change of anything else does not
// end the connection.
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
