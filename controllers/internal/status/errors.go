// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// Why there is no store to work on, beside what package registry says.
var (
	// ErrStorePending: the store was not probed yet, or it is suspect and being probed. Nothing is
	// known of the resource until then.
	ErrStorePending = errors.New("the store has not been probed yet")
	// ErrStoreNotFound: there is no such CacheStore.
	ErrStoreNotFound = errors.New("no such CacheStore")
	// ErrStoreRequired: a resource names no store, and the operator has none of its own.
	ErrStoreRequired = errors.New("the operator has no store of its own")
	// ErrStoreSecret: a Secret that the CacheStore names is missing or cannot be used.
	ErrStoreSecret = errors.New("a Secret cannot be used")
	// ErrLibraryTooOld: the store keeps a function library that lacks what a resource asks for, and
	// the operator may load no other.
	ErrLibraryTooOld = errors.New("the function library is too old")
)

// Class says what to do about an error.
type Class int

const (
	// ClassPending: it is not known yet whether the store can be used, but will be within seconds.
	// Status stays as it is.
	ClassPending Class = iota
	// ClassRetry: the API server failed. Nothing is known about the resource, so its status stays as
	// it is, and the queue retries with backoff.
	ClassRetry
	// ClassWait: the store cannot serve now. Status says so. The monitor wakes the resource when the
	// store is back, and the queue retries at growing intervals.
	ClassWait
	// ClassStalled: like ClassWait, but a person has to act on the store first.
	ClassStalled
	// ClassTerminal: the resource itself is wrong; only a change of it can help.
	ClassTerminal
	// ClassStopped: the operator is shutting down.
	ClassStopped
)

// ClassifiedError is an error with what to do about it, in words for the person who has to fix it.
type ClassifiedError struct {
	Class   Class
	Reason  string
	Message string
	Err     error
	// OfWholeStore: all that use the store may meet it, so the store has to be probed. Other errors
	// concern the resource alone.
	OfWholeStore bool
}

// Classify classifies an error of the API server or of a store; nil: there is none. Only this
// function does.
func Classify(err error, at Location) *ClassifiedError {
	if err == nil {
		return nil
	}
	e := &ClassifiedError{Err: err, OfWholeStore: registry.ConcernsStore(err)}
	if known := troubleOf(err, at); known != nil {
		return known
	}
	switch {
	case errors.Is(err, context.Canceled):
		e.Class = ClassStopped
	case errors.Is(err, ErrStorePending):
		e.Class = ClassPending
	case e.isOfReference(at):
	case errors.Is(err, registry.ErrMisbehaves):
		e.Class, e.Reason = ClassStalled, v1.ReasonStoreMisbehaves
		e.Message = fmt.Sprintf(
			"%s does not behave like Redis: %s. Check that %s lead to Redis or Valkey itself, "+
				"not to another service; it is tried again at longer and longer intervals",
			at, causeOf(err, registry.ErrMisbehaves), at.declaredIn())
	case errors.Is(err, registry.ErrAddressNotAllowed):
		e.Class, e.Reason = ClassStalled, v1.ReasonStoreAddressNotAllowed
		e.Message = fmt.Sprintf("%s is not connected to: %s", at,
			causeOf(err, registry.ErrAddressNotAllowed))
	case resource.IsContended(err):
		other, _ := resource.Contender(err)
		e.Class, e.Reason, e.Message = ClassStalled, v1.ReasonContended, contentionMessage(at, other)
	case errors.Is(err, registry.ErrRejected):
		e.Class, e.Reason = ClassTerminal, v1.ReasonRejected
		e.Message = "the function library in Redis refused it: " + causeOf(err, registry.ErrRejected)
	case errors.Is(err, registry.ErrUnauthorized):
		e.Class, e.Reason = ClassWait, v1.ReasonStoreUnauthorized
		e.Message = fmt.Sprintf("%s refuses access: %s. %s",
			at, causeOf(err, registry.ErrUnauthorized), accessTo(at, err))
	case errors.Is(err, registry.ErrUnsupported):
		e.Class, e.Reason = ClassStalled, v1.ReasonStoreUnsupported
		e.Message = fmt.Sprintf("%s cannot be used: %v", at, err)
	case errors.Is(err, registry.ErrUnreachable):
		e.Class, e.Reason = ClassWait, v1.ReasonStoreUnreachable
		e.Message = fmt.Sprintf(
			"%s cannot be reached: %s. Check that it runs and that it is what %s say; "+
				"it is tried again until it answers",
			at, causeOf(err, registry.ErrUnreachable), at.declaredIn())
	case errors.Is(err, registry.ErrUnexpected):
		e.Class, e.Reason = ClassWait, v1.ReasonStoreUnreachable
		e.Message = fmt.Sprintf("%s gave an answer that is not understood: %s", at,
			causeOf(err, registry.ErrUnexpected))
	default:
		e.Class = ClassRetry
	}
	return e
}

// isOfReference classifies what is wrong with the way to a store before a server answers: the
// reference to it, or its Secrets.
func (e *ClassifiedError) isOfReference(at Location) bool {
	switch err := e.Err; {
	case errors.Is(err, ErrStoreNotFound):
		e.Class, e.Reason = ClassWait, v1.ReasonStoreNotFound
		e.Message = fmt.Sprintf(
			"there is no CacheStore %s in namespace %s: create it, or correct spec.storeRef", at.ID.Name,
			at.ID.Namespace)
	case errors.Is(err, ErrStoreRequired):
		e.Class, e.Reason = ClassStalled, v1.ReasonStoreRequired
		e.Message = "this operator has no Redis of its own: create the resource again with a " +
			"spec.storeRef that names a CacheStore"
	case errors.Is(err, ErrStoreSecret):
		e.Class, e.Reason = ClassWait, v1.ReasonStoreSecretInvalid
		e.Message = fmt.Sprintf("CacheStore %s cannot be used: %s", at.ID.Name,
			causeOf(err, ErrStoreSecret))
	default:
		return false
	}
	return true
}

// accessTo says what to change where access was refused.
func accessTo(at Location, err error) string {
	if errors.Is(err, registry.ErrForbidden) {
		return "Extend the ACL of its user; that one is in " + at.credentialsIn()
	}
	return fmt.Sprintf("Check %s, and what the ACL of that user allows", at.credentialsIn())
}

// KeepsStatus reports whether the error says nothing about the resource.
func (e *ClassifiedError) KeepsStatus() bool {
	return e != nil && (e.Class == ClassPending || e.Class == ClassRetry || e.Class == ClassStopped)
}

// IsOfStore reports whether the store, or the lack of one, is the cause.
func (e *ClassifiedError) IsOfStore() bool {
	return e.Class != ClassRetry && e.Class != ClassStopped
}

// RetryUntilDeadline makes an error that only a person can fix wait like any other: a deletion goes
// on without the store after its deadline.
func (e *ClassifiedError) RetryUntilDeadline() *ClassifiedError {
	if e != nil && (e.Class == ClassTerminal || e.Class == ClassStalled) {
		e.Class = ClassWait
	}
	return e
}

// String says what happened.
func (e *ClassifiedError) String() string {
	return cmp.Or(e.Message, e.Err.Error())
}

// InBackground comes back after a while, behind resources that somebody just changed.
func InBackground(after time.Duration) reconcile.Result {
	return reconcile.Result{RequeueAfter: after, Priority: new(handler.LowPriority)}
}

// Immediately is when work that is not finished goes on.
const Immediately = time.Millisecond

// Result returns what the queue gets for a resource with these conditions; without an error, that
// is result.
func (e *ClassifiedError) Result(
	result reconcile.Result, conditions []metav1.Condition, now time.Time,
) (reconcile.Result, error) {
	switch {
	case e == nil:
		return result, nil
	case e.Class == ClassStopped:
		return reconcile.Result{}, nil
	case e.Class == ClassPending:
		return InBackground(wait.Jitter(MinWait, WaitJitter)), nil
	case apierrors.IsConflict(e.Err):
		// Somebody else wrote meanwhile: reconcile again, there is nothing to report.
		return reconcile.Result{RequeueAfter: MinWait}, nil
	case e.Class == ClassRetry:
		return reconcile.Result{}, e.Err
	case e.Class == ClassTerminal:
		return reconcile.Result{}, reconcile.TerminalError(e.Err)
	default:
		return InBackground(waitAgain(conditions, now)), nil
	}
}

// causeOf returns what Redis or the network said, without the call that met it and without the
// local port. The same error must read the same each time, or status would be written again and
// again.
func causeOf(err, meaning error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		remote := *op
		remote.Source = nil
		return remote.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it did not answer in time"
	}
	if _, cause, found := strings.Cut(err.Error(), meaning.Error()+": "); found {
		return cause
	}
	return err.Error()
}
