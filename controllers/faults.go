// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

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
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// class says what to do about an error.
type class int

const (
	// classPending: it is not known yet whether the store can be used, which is known within seconds.
	// Status stays as it is.
	classPending class = iota
	// classRetry: Kubernetes failed us. Nothing is known about the resource, so its status stays as it
	// is, and the queue tries again with backoff.
	classRetry
	// classWait: the store cannot serve now. Status says so; the Monitor wakes the resource when the
	// store is back, and it looks by itself now and then.
	classWait
	// classStalled: like classWait, but a person has to act on the store first.
	classStalled
	// classTerminal: the resource itself is at fault; only a change of it can help.
	classTerminal
	// classStopped: the operator is shutting down.
	classStopped
)

// fault is an error, classified, in words for the person who has to mend it.
type fault struct {
	class   class
	reason  string
	message string
	err     error
	// ofWholeStore: all that use the store may meet it, so it is to be looked at; other faults are the resource's own.
	ofWholeStore bool
}

// faultOf classifies an error of Kubernetes or of a store. This is the only place that does.
func faultOf(err error, at place) *fault {
	if err == nil {
		return nil
	}
	f := &fault{err: err, ofWholeStore: registry.ConcernsStore(err)}
	if told := troubleOf(err, at); told != nil {
		return told
	}
	switch {
	case errors.Is(err, context.Canceled):
		f.class = classStopped
	case errors.Is(err, errStorePending):
		f.class = classPending
	case f.isOfReference(at):
	case errors.Is(err, registry.ErrMisbehaves):
		f.class, f.reason = classStalled, v1.ReasonStoreMisbehaves
		f.message = fmt.Sprintf("%s does not behave like Redis: %s. Check that %s lead to Redis or Valkey itself, "+
			"not to another service; it is tried again at longer and longer intervals", at, causeOf(err, registry.ErrMisbehaves), at.declaredIn())
	case errors.Is(err, registry.ErrAddressNotAllowed):
		f.class, f.reason = classStalled, v1.ReasonStoreAddressNotAllowed
		f.message = fmt.Sprintf("%s is not connected to: %s", at, causeOf(err, registry.ErrAddressNotAllowed))
	case isContention(err):
		other, _ := contenderOf(err)
		f.class, f.reason, f.message = classStalled, v1.ReasonContended, contention(at, other)
	case errors.Is(err, registry.ErrRejected):
		f.class, f.reason = classTerminal, v1.ReasonRejected
		f.message = "the function library in Redis refused it: " + causeOf(err, registry.ErrRejected)
	case errors.Is(err, registry.ErrUnauthorized):
		f.class, f.reason = classWait, v1.ReasonStoreUnauthorized
		f.message = fmt.Sprintf("%s refuses access: %s. %s", at, causeOf(err, registry.ErrUnauthorized), accessTo(at, err))
	case errors.Is(err, registry.ErrUnsupported):
		f.class, f.reason = classStalled, v1.ReasonStoreUnsupported
		f.message = fmt.Sprintf("%s cannot be used: %v", at, err)
	case errors.Is(err, registry.ErrUnreachable):
		f.class, f.reason = classWait, v1.ReasonStoreUnreachable
		f.message = fmt.Sprintf("%s cannot be reached: %s. Check that it runs and that it is what %s say; "+
			"it is tried again until it answers", at, causeOf(err, registry.ErrUnreachable), at.declaredIn())
	case errors.Is(err, registry.ErrUnexpected):
		f.class, f.reason = classWait, v1.ReasonStoreUnreachable
		f.message = fmt.Sprintf("%s gave an answer that is not understood: %s", at,
			causeOf(err, registry.ErrUnexpected))
	default:
		f.class = classRetry
	}
	return f
}

// isOfReference classifies what is wrong with the way to a store before anything answers there: the reference to it, or its Secrets.
func (f *fault) isOfReference(at place) bool {
	switch err := f.err; {
	case errors.Is(err, errStoreNotFound):
		f.class, f.reason = classWait, v1.ReasonStoreNotFound
		f.message = fmt.Sprintf("there is no CacheStore %s in namespace %s: create it, or mend spec.storeRef", at.id.Name, at.id.Namespace)
	case errors.Is(err, errStoreRequired):
		f.class, f.reason = classStalled, v1.ReasonStoreRequired
		f.message = "this operator has no Redis of its own: create the resource anew with a spec.storeRef that names a CacheStore"
	case errors.Is(err, errStoreSecret):
		f.class, f.reason = classWait, v1.ReasonStoreSecretInvalid
		f.message = fmt.Sprintf("CacheStore %s cannot be used: %s", at.id.Name, causeOf(err, errStoreSecret))
	default:
		return false
	}
	return true
}

// accessTo says what to change where access was refused.
func accessTo(at place, err error) string {
	if errors.Is(err, registry.ErrForbidden) {
		return "Extend the ACL of its user; that one is in " + at.credentialsIn()
	}
	return fmt.Sprintf("Check %s, and what the ACL of that user allows", at.credentialsIn())
}

// leavesStatus says that the fault tells nothing about the resource.
func (f *fault) leavesStatus() bool {
	return f != nil && (f.class == classPending || f.class == classRetry || f.class == classStopped)
}

// ofStore says that it is the store, or the lack of one, that is at fault.
func (f *fault) ofStore() bool {
	return f.class != classRetry && f.class != classStopped
}

// untilOutOfPatience makes what only a person can mend wait like any other trouble: a deletion goes on without the store,
// when its time has come.
func (f *fault) untilOutOfPatience() *fault {
	if f != nil && (f.class == classTerminal || f.class == classStalled) {
		f.class = classWait
	}
	return f
}

// String says what happened.
func (f *fault) String() string {
	return cmp.Or(f.message, f.err.Error())
}

// resultOr turns the fault of a resource that has these conditions into what the queue is told; no
// fault: into result.
func (f *fault) resultOr(result reconcile.Result, conditions []metav1.Condition, now time.Time) (reconcile.Result, error) {
	switch {
	case f == nil:
		return result, nil
	case f.class == classStopped:
		return reconcile.Result{}, nil
	case f.class == classPending:
		return inBackground(wait.Jitter(minWait, waitJitter)), nil
	case apierrors.IsConflict(f.err):
		// Somebody else wrote meanwhile: look again, there is nothing to report.
		return reconcile.Result{RequeueAfter: minWait}, nil
	case f.class == classRetry:
		return reconcile.Result{}, f.err
	case f.class == classTerminal:
		return reconcile.Result{}, reconcile.TerminalError(f.err)
	default:
		return inBackground(waitAgain(conditions, now)), nil
	}
}

// causeOf returns what Redis or the network said, without the call that happened to meet it and
// without the port of our end: the same trouble must read the same each time, or status would be
// written again and again.
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
