// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/internal/contain"
)

const (
	// eventBurst events are sent immediately, then eventRate a second. At most eventQueue may wait.
	eventBurst = 50
	eventRate  = 20
	eventQueue = 4096
)

// Recorder records events at a bounded rate, so that a thousand invalidations do not wait for the
// API server to store theirs. It drops events when too many wait: the status says the same.
type Recorder struct {
	recorder events.EventRecorder
	scheme   *runtime.Scheme
	log      logr.Logger
	waiting  chan queuedEvent
}

type queuedEvent struct {
	regarding, related              runtime.Object
	eventType, reason, action, note string
}

// NewRecorder returns a recorder of events in front of another. It has to be added to a manager.
func NewRecorder(recorder events.EventRecorder, scheme *runtime.Scheme, log logr.Logger) *Recorder {
	return &Recorder{
		recorder: recorder, scheme: scheme, log: log, waiting: make(chan queuedEvent, eventQueue),
	}
}

// Eventf implements events.EventRecorder. It does not block.
func (r *Recorder) Eventf(
	regarding, related runtime.Object, eventType, reason, action, note string, args ...any,
) {
	// What waits holds names, not objects.
	about, err := reference.GetReference(r.scheme, regarding)
	if err != nil {
		r.log.Error(err, "Cannot record an event", "reason", reason)
		return
	}
	select {
	case r.waiting <- queuedEvent{
		about, related, eventType, reason, action, fmt.Sprintf(note, args...),
	}:
	default:
		r.log.V(1).Info("Dropped an event, as too many wait", "reason", reason, "namespace",
			about.Namespace, "name", about.Name)
	}
}

// Start implements manager.Runnable: it records what waits until the context ends.
func (r *Recorder) Start(ctx context.Context) error {
	limiter := flowcontrol.NewTokenBucketRateLimiter(eventRate, eventBurst)
	defer limiter.Stop()
	for {
		select {
		case e := <-r.waiting:
			if limiter.Wait(ctx) != nil { // the context ended
				return nil
			}
			if err := r.send(e); err != nil {
				r.log.Error(err, "Cannot record an event", "reason", e.reason, "stack", status.StackOf(err))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Recorder) send(e queuedEvent) (err error) {
	defer contain.Panic(&err, status.ErrPanicked)
	r.recorder.Eventf(e.regarding, e.related, e.eventType, e.reason, e.action, "%s", e.note)
	return nil
}
