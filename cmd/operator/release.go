// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1 "github.com/cachewright/cachewright/api/v1"
)

const (
	// releaseBound ends a release that does not succeed. Helm waits 5 minutes for a hook.
	releaseBound = 3 * time.Minute
	// releaseRetry is the time between two tries.
	releaseRetry = 500 * time.Millisecond
	// releasePage is how many objects are read at once, and releaseWorkers how many change at once.
	releasePage, releaseWorkers = 500, 8
)

// finalizers are all that the operator puts on objects, by kind.
var finalizers = []struct{ kind, name string }{
	{"CachePolicy", v1.CachePolicyFinalizer},
	{"CacheInvalidation", v1.CacheInvalidationFinalizer},
	{"CacheStore", v1.CacheStoreFinalizer},
}

// errUntried: the time was over before an object's turn.
var errUntried = errors.New("not tried in time")

// releaseFinalizers removes the operator's finalizers from the objects that it manages, so that
// they can be deleted when no operator runs. It needs no rights that the operator lacks. What the
// objects did in Redis stays as it is.
func releaseFinalizers(ctx context.Context, s settings, log logr.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, releaseBound)
	defer cancel()
	cfg, scheme, err := connect()
	if err != nil {
		return err
	}
	api, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("setting up against the API server at %s: %w", cfg.Host, err)
	}
	log = log.WithName("release")
	resign, err := takeOver(ctx, api, s, log)
	if err != nil {
		return err
	}
	defer resign()
	return (&releaser{api: api, log: log}).release(ctx, s.watchNamespaces)
}

// releaser removes finalizers.
type releaser struct {
	api      client.Client
	log      logr.Logger
	released atomic.Int64
}

// release lets go what is in the namespaces; none means all. It ends when there is nothing more: an
// operator on its way out may have put something back. A namespace that refuses access is left out,
// as the operator leaves it out. It fails if all of them refuse.
func (r *releaser) release(ctx context.Context, in namespaces) error {
	if len(in) == 0 {
		in = namespaces{metav1.NamespaceAll}
	}
	for {
		before := r.released.Load()
		refused, err := r.pass(ctx, in)
		switch {
		case err == nil && len(refused) == len(in):
			return fmt.Errorf("run it with the rights of the operator, before these are removed: %w",
				errors.Join(refused...))
		case err == nil && r.released.Load() == before:
			r.log.Info("Released all", "objects", before)
			return nil
		case err != nil:
			r.log.Info("Some objects are tried again", "because", err.Error())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("some objects may keep their finalizers, run it again to continue: %w",
				cmp.Or(err, ctx.Err()))
		case <-time.After(releaseRetry):
		}
	}
}

// pass tries each object once. It returns which namespaces refuse access, and what else went wrong.
func (r *releaser) pass(ctx context.Context, in namespaces) (refused []error, failed error) {
	for _, namespace := range in {
		for _, f := range finalizers {
			err := r.kind(ctx, namespace, f.kind, f.name)
			if apierrors.IsForbidden(err) {
				r.log.Error(err, "No access to a namespace, what is in it keeps its finalizers",
					"namespace", namespace)
				refused = append(refused, err)
				break
			}
			if err != nil {
				failed = fmt.Errorf("removing %s from each %s: %w", f.name, f.kind, err)
			}
		}
	}
	return refused, failed
}

// kind tries all objects of a kind, page by page. It returns the last error, which is
// Forbidden only if the operator may not list.
func (r *releaser) kind(ctx context.Context, namespace, kind, finalizer string) error {
	var failed error
	for page := ""; ; {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(v1.GroupVersion.WithKind(kind + "List"))
		err := r.api.List(ctx, list,
			client.InNamespace(namespace), client.Limit(releasePage), client.Continue(page))
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			return nil // without the CRD there is nothing to release
		}
		if err != nil {
			return err
		}
		if err := r.objects(ctx, list.Items, finalizer); err != nil {
			failed = err
		}
		if page = list.Continue; page == "" {
			return failed
		}
	}
}

// objects tries several objects at a time. Its error names one that is left. An admission policy
// may forbid a patch: the text says so, but that is no namespace that refuses access.
func (r *releaser) objects(
	ctx context.Context, list []metav1.PartialObjectMetadata, finalizer string,
) error {
	errs := make([]error, len(list))
	for i := range errs {
		errs[i] = errUntried
	}
	workqueue.ParallelizeUntil(ctx, releaseWorkers, len(list), func(i int) {
		errs[i] = r.object(ctx, &list[i], finalizer)
	})
	for i, err := range errs {
		if err != nil {
			//nolint:errorlint // see above
			return fmt.Errorf("%s: %v", client.ObjectKeyFromObject(&list[i]), err)
		}
	}
	return nil
}

// object removes a finalizer from an object. Others may change the list of finalizers, too, so the
// patch fails with a conflict if somebody changed the object meanwhile.
func (r *releaser) object(
	ctx context.Context, o *metav1.PartialObjectMetadata, finalizer string,
) error {
	before := o.DeepCopy()
	if !controllerutil.RemoveFinalizer(o, finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.api.Patch(ctx, o, patch); client.IgnoreNotFound(err) != nil {
		return err
	}
	r.released.Add(1)
	return nil
}
