// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package holds

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/invalidate"
	"github.com/cachewright/cachewright/registry"
)

// maxThings is how many things one call to Redis holds.
const maxThings = 64

var errNothing = errors.New("it covers nothing; name keys or scopes")

// Request is what an application wants to hold.
type Request struct {
	// TTL is how long the hold lasts unless it is renewed or released.
	TTL time.Duration

	modules map[string]*things
	users   []string // in every module
	refused []error
}

// things of a module, without duplicates.
type things struct {
	list []gateway.Thing
	seen map[gateway.Thing]bool
}

// Refuse says what the request cannot cover. It is not carried out.
func (r *Request) Refuse(err error) { r.refused = append(r.refused, err) }

// AddEntry adds one entry.
func (r *Request) AddEntry(key registry.Key) {
	r.add(key.Module, gateway.Thing{Operation: key.Operation, User: key.User, ID: key.ID})
}

// AddScope adds a scope of a module. A user alone is one in every module.
func (r *Request) AddScope(module string, scope registry.Scope) {
	switch {
	case module == "" && scope.Operation == "" && scope.User != "":
		r.users = append(r.users, scope.User)
	case module == "":
		r.Refuse(invalidate.ErrNoModule)
	case scope.User != "":
		// Redis has one mark for all that a user has in a module. Naming it twice would count as a loss
		// when the second of two calls finds that the first one lifted it.
		r.add(module, gateway.Thing{User: scope.User})
	default:
		r.add(module, gateway.Thing{Operation: scope.Operation})
	}
}

func (r *Request) add(module string, thing gateway.Thing) {
	if r.modules == nil {
		r.modules = map[string]*things{}
	}
	of, known := r.modules[module]
	if !known {
		of = &things{seen: map[gateway.Thing]bool{}}
		r.modules[module] = of
	}
	if !of.seen[thing] {
		of.seen[thing] = true
		of.list = append(of.list, thing)
	}
}

// check returns why a request cannot be carried out.
func (r *Request) check() error {
	err := errors.Join(r.refused...)
	if err == nil && len(r.modules) == 0 && len(r.users) == 0 {
		err = errNothing
	}
	return errors.Join(checkTTL(r.TTL), err)
}

func checkTTL(ttl time.Duration) error {
	if ttl <= 0 || ttl > registry.MaxHold {
		return fmt.Errorf("the ttl of a hold must be more than 0 and at most %s, not %s; "+
			"renew a hold that must last longer", registry.MaxHold, ttl)
	}
	return nil
}

// parts cuts a request into what one call to Redis holds, in the order of the names of modules.
func (r *Request) parts(id registry.HoldID) []*part {
	var parts []*part
	for _, module := range slices.Sorted(maps.Keys(r.modules)) {
		for batch := range slices.Chunk(r.modules[module].list, maxThings) {
			parts = append(parts, &part{hold: gateway.Hold{Module: module, ID: id, Things: batch}})
		}
	}
	return parts
}
