// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/cachewright/cachewright/internal/contain"
)

const (
	// So many events are sent at once, so many a second after that, and so many may wait.
	eventBurst = 50
	eventRate  = 20
	eventQueue = 4096
)

// pacedRecorder sends events at a pace, so that a thousand purges do not wait for the API server to store what is
// told about them. It drops events when too many wait: what they say is in the status, too.
type pacedRecorder struct {
	recorder events.EventRecorder
	scheme   *runtime.Scheme
	log      logr.Logger
	waiting  chan pacedEvent
}

type pacedEvent struct {
	regarding, related              runtime.Object
	eventType, reason, action, note string
}

func newPacedRecorder(recorder events.EventRecorder, scheme *runtime.Scheme, log logr.Logger) *pacedRecorder {
	return &pacedRecorder{recorder: recorder, scheme: scheme, log: log, waiting: make(chan pacedEvent, eventQueue)}
}

// Eventf implements events.EventRecorder. It does not block.
func (r *pacedRecorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	// What waits keeps names, not objects.
	about, err := reference.GetReference(r.scheme, regarding)
	if err != nil {
		r.log.Error(err, "An event could not be told", "reason", reason)
		return
	}
	select {
	case r.waiting <- pacedEvent{about, related, eventType, reason, action, fmt.Sprintf(note, args...)}:
	default:
		r.log.V(1).Info("Too many events wait: one is dropped", "reason", reason, "namespace", about.Namespace, "name", about.Name)
	}
}

// Start implements manager.Runnable: it sends what waits until the context ends.
func (r *pacedRecorder) Start(ctx context.Context) error {
	pace := flowcontrol.NewTokenBucketRateLimiter(eventRate, eventBurst)
	defer pace.Stop()
	for {
		select {
		case e := <-r.waiting:
			if pace.Wait(ctx) != nil { // the context ended
				return nil
			}
			if err := r.send(e); err != nil {
				r.log.Error(err, "An event could not be told", "reason", e.reason, "stack", stackIn(err))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *pacedRecorder) send(e pacedEvent) (err error) {
	defer contain.Panic(&err, errPanicked)
	r.recorder.Eventf(e.regarding, e.related, e.eventType, e.reason, e.action, "%s", e.note)
	return nil
}
