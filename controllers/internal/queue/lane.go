// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// ticket is one request that waits or has its turn.
type ticket struct {
	request  reconcile.Request
	priority int
	lane     *lane
	slow     bool // its lane was slow when its turn began
	void     bool // it waits elsewhere by now
}

// lane holds what waits for one store.
type lane struct {
	store   resource.StoreID
	running int
	rows    map[string]*row
	order   [ranks][]*row // rows with something waiting, the next one first
}

// row holds what one namespace has waiting for one store, first come first served.
type row struct {
	namespace string
	tickets   [ranks][]*ticket
}

// take returns the first ticket that is not void; nil: there is none left.
func (n *row) take(r rank) *ticket {
	for len(n.tickets[r]) > 0 {
		first := n.tickets[r][0]
		n.tickets[r][0] = nil // for the garbage collector
		n.tickets[r] = n.tickets[r][1:]
		if !first.void {
			return first
		}
	}
	n.tickets[r] = nil
	return nil
}

// clear drops a row that has nothing waiting.
func (l *lane) clear(n *row) {
	if len(n.tickets[rankUser])+len(n.tickets[rankBackground]) == 0 {
		delete(l.rows, n.namespace)
	}
}
