// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// patcher writes what a reconcile changed of an object, and nothing when nothing changed.
type patcher struct {
	client client.Client
	before client.Object
}

// newPatcher remembers an object as it was read.
func newPatcher(c client.Client, obj client.Object) *patcher {
	return &patcher{client: c, before: copyOf(obj)}
}

func copyOf(obj client.Object) client.Object {
	return obj.DeepCopyObject().(client.Object)
}

// status patches what differs in the object's status. An object that is gone needs none.
func (p *patcher) status(ctx context.Context, obj client.Object) error {
	return p.statusBy(obj, func() error { return p.client.Status().Patch(ctx, obj, client.MergeFrom(p.before)) })
}

// statusIfUnchanged does what status does, but fails with a conflict if anybody wrote to the object since it
// was read: what is final there must not be written over by a leader that was held up and is none any more.
// An update costs the API server less than a patch, which shows when there are thousands.
func (p *patcher) statusIfUnchanged(ctx context.Context, obj client.Object) error {
	return p.statusBy(obj, func() error { return p.client.Status().Update(ctx, obj) })
}

// statusBy writes the status if it differs.
func (p *patcher) statusBy(obj client.Object, write func() error) error {
	same, err := p.same(obj)
	if err != nil {
		return fmt.Errorf("comparing the status of %s: %w", client.ObjectKeyFromObject(obj), err)
	}
	if same {
		return nil
	}
	if err := write(); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing the status of %s: %w", client.ObjectKeyFromObject(obj), err)
	}
	return nil
}

// same says whether the object is as it was read, by what the API server would see: of some times, only the seconds.
func (p *patcher) same(obj client.Object) (bool, error) {
	before, err := json.Marshal(p.before)
	if err != nil {
		return false, err
	}
	after, err := json.Marshal(obj)
	return bytes.Equal(before, after), err
}

// finalizer makes sure that the object holds a finalizer, or does not. Others may change the list
// too, so the patch fails with a conflict if somebody did meanwhile. Call it before status changes.
func (p *patcher) finalizer(ctx context.Context, obj client.Object, finalizer string, wanted bool) error {
	if controllerutil.ContainsFinalizer(obj, finalizer) == wanted {
		return nil
	}
	if wanted {
		controllerutil.AddFinalizer(obj, finalizer)
	} else {
		controllerutil.RemoveFinalizer(obj, finalizer)
	}
	patch := client.MergeFromWithOptions(p.before, client.MergeFromWithOptimisticLock{})
	if err := p.client.Patch(ctx, obj, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patching the finalizers of %s: %w", client.ObjectKeyFromObject(obj), err)
	}
	p.before = copyOf(obj)
	return nil
}
