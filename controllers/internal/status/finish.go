// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Ending is what a reconcile leaves to be done at its end.
type Ending struct {
	Object client.Object
	// Location of the store, for messages.
	Location Location
	// Met is the error that ended the reconcile, if one did.
	Met *ClassifiedError
	// Gone: the resource is gone, or others hold it. Its status stays.
	Gone bool
	// Result is what the queue gets without an error.
	Result reconcile.Result
	// Update sets the object's status. It returns the conditions, and the events of the change.
	Update func(now time.Time) ([]metav1.Condition, []Event)
	// Write writes the status.
	Write func(ctx context.Context, obj client.Object) error
	// Adjust changes what the queue gets once the status is written; nil: nothing.
	Adjust func(result reconcile.Result, err error, now time.Time) (reconcile.Result, error)
}

// Finish ends each reconcile that may write a status. It writes it, unless the error that was met
// says nothing about the resource. Then it records events, and decides when to come back.
func Finish(
	ctx context.Context, e Ending, recorder events.EventRecorder, now time.Time,
) (reconcile.Result, error) {
	if e.Gone || e.Met.KeepsStatus() {
		return e.Met.Result(e.Result, nil, now)
	}
	conditions, changes := e.Update(now)
	if err := e.Write(ctx, e.Object); err != nil {
		return Classify(err, e.Location).Result(e.Result, nil, now)
	}
	for _, event := range changes {
		event.Record(recorder, e.Object)
	}
	result, err := e.Met.Result(e.Result, conditions, now)
	if e.Adjust != nil {
		return e.Adjust(result, err, now)
	}
	return result, err
}
