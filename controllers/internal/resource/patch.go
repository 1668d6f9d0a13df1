// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// Patcher writes what a reconcile changed of an object, and nothing when nothing changed.
type Patcher struct {
	client client.Client
	before client.Object
}

// NewPatcher remembers an object as it was read.
func NewPatcher(c client.Client, obj client.Object) *Patcher {
	return &Patcher{client: c, before: copyOf(obj)}
}

func copyOf(obj client.Object) client.Object {
	return obj.DeepCopyObject().(client.Object)
}

// Status patches what differs in the object's status. An object that is gone needs none.
func (p *Patcher) Status(ctx context.Context, obj client.Object) error {
	return p.statusBy(obj, func() error {
		return p.client.Status().Patch(ctx, obj, client.MergeFrom(p.before))
	})
}

// StatusIfUnchanged does what status does, but fails with a conflict if anybody wrote to the object
// since it was read. A former leader that was held up must not overwrite a final status. An update
// costs the API server less than a patch, which shows when there are thousands.
func (p *Patcher) StatusIfUnchanged(ctx context.Context, obj client.Object) error {
	return p.statusBy(obj, func() error { return p.client.Status().Update(ctx, obj) })
}

// statusBy writes the status if it differs.
func (p *Patcher) statusBy(obj client.Object, write func() error) error {
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

// same reports whether the object is as it was read, as the API server would see it: it keeps only
// the seconds of some times.
func (p *Patcher) same(obj client.Object) (bool, error) {
	before, err := json.Marshal(p.before)
	if err != nil {
		return false, err
	}
	after, err := json.Marshal(obj)
	return bytes.Equal(before, after), err
}

// Finalizer adds a finalizer to the object, or removes it. Others may change the list, too, so the
// patch fails with a conflict if somebody did meanwhile. Call it before the status changes.
func (p *Patcher) Finalizer(
	ctx context.Context, obj client.Object, finalizer string, wanted bool,
) error {
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
