// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/registry"
)

// LostMarks are marks of holds that Redis had lost and that were put back. They wait for the
// reconcile of their invalidation, which counts them: its next renewal finds them in place. It is
// safe for concurrent use; nil: nothing is noted.
type LostMarks struct {
	wake queue.Enqueuer

	mu    sync.Mutex
	known map[types.UID]map[registry.Slot]int64
}

// NewLostMarks returns LostMarks that wake the invalidations that they concern.
func NewLostMarks(wake queue.Enqueuer) *LostMarks {
	return &LostMarks{wake: wake, known: map[types.UID]map[registry.Slot]int64{}}
}

// Take returns how many marks of an invalidation were put back in each slot since the last call.
// That includes slots of modules in which it had no marks before.
func (l *LostMarks) Take(of types.UID) map[registry.Slot]int64 {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.known[of]
	delete(l.known, of)
	return lost
}

func (l *LostMarks) add(
	ctx context.Context, of *v1.CacheInvalidation, slot registry.Slot, marks int64,
) {
	if l == nil || marks <= 0 {
		return
	}
	l.note(of.UID, slot, marks)
	l.wake.Enqueue(ctx, client.ObjectKeyFromObject(of))
}

func (l *LostMarks) note(of types.UID, slot registry.Slot, marks int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[of] == nil {
		l.known[of] = map[registry.Slot]int64{}
	}
	l.known[of][slot] += marks
}
