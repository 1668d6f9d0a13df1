// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"fmt"

	"github.com/cachewright/cachewright/registry"
)

// maxPresent bounds the nodes whose incarnation is known. Nobody reports that a node is gone.
const maxPresent = 1024

// maxPast bounds the incarnations that are remembered to be over.
const maxPast = 64

// observe records the incarnation behind a connection to a node. An incarnation from before the
// current one comes back with a new connection only. On an old connection, it is a server that
// others have left.
func (g *Guard) observe(node string, incarnation registry.Incarnation, connected bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, known := g.current[node]
	if before == incarnation {
		return nil
	}
	if _, over := g.past[incarnation]; over && !connected {
		return fmt.Errorf("%w: there are connections to two servers", ErrUnfenced)
	}
	if known {
		if len(g.past) >= maxPast {
			clear(g.past)
		}
		g.past[before] = struct{}{}
	}
	delete(g.past, incarnation)
	if !known && len(g.current) >= maxPresent {
		clear(g.current)
	}
	g.current[node] = incarnation
	g.generation.Add(1)
	return nil
}
