// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"maps"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// mark is what a hold left in place of a scope or an entry.
type mark struct {
	scope Scope
	hold  registry.HoldID
}

// noted is the state of a mark that is to be taken away.
type noted struct {
	ends time.Time
	// requested is as in waiting.
	requested uint64
}

// releases are the marks that are to be taken away, by module. The zero value has none.
type releases struct {
	byModule map[string]map[mark]noted
	size     int
}

func (r *releases) add(module string, of mark, n noted) {
	_, known := r.byModule[module][of]
	if !known && r.size >= maxReleases {
		return
	}
	if r.byModule == nil {
		r.byModule = map[string]map[mark]noted{}
	}
	if r.byModule[module] == nil {
		r.byModule[module] = map[mark]noted{}
	}
	if !known {
		r.size++
	}
	r.byModule[module][of] = n
}

func (r *releases) of(module string) map[mark]noted { return maps.Clone(r.byModule[module]) }

// remove forgets a mark, unless its state is another one.
func (r *releases) remove(module string, of mark, n noted) {
	if r.byModule[module][of] != n {
		return
	}
	delete(r.byModule[module], of)
	r.size--
	if len(r.byModule[module]) == 0 {
		delete(r.byModule, module)
	}
}

func (r *releases) forget(module string) {
	r.size -= len(r.byModule[module])
	delete(r.byModule, module)
}

func (r *releases) clear() { *r = releases{} }
