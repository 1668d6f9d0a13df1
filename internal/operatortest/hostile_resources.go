// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package operatortest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
)

// create creates the resources of a server.
func (h *Hostiles) create(ctx context.Context, server *hostileStore) error {
	for _, object := range []client.Object{h.store(server), h.policy(server), h.invalidation(server)} {
		if err := h.k8s.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hostiles) store(server *hostileStore) *v1.CacheStore {
	store := &v1.CacheStore{
		ObjectMeta: h.meta(server.name),
		Spec: v1.CacheStoreSpec{
			Addresses:            []v1.StoreAddress{v1.StoreAddress(server.Addr())},
			CredentialsSecretRef: &v1.SecretReference{Name: credentials},
		},
	}
	switch server.role {
	case hostile.ClusterNode:
		store.Spec.Mode = v1.StoreCluster
	case hostile.Sentinel:
		store.Spec.Mode, store.Spec.MasterName = v1.StoreSentinel, hostile.SentinelMaster
		store.Spec.SentinelCredentialsSecretRef = &v1.SecretReference{Name: credentials}
	default:
		store.Spec.DB = 1
		store.Spec.OnDataLoss = v1.DataLossReplay
	}
	return store
}

func (h *Hostiles) policy(server *hostileStore) *v1.CachePolicy {
	return &v1.CachePolicy{
		ObjectMeta: h.meta(server.name),
		Spec: v1.CachePolicySpec{
			Module: server.name, StoreRef: &v1.StoreReference{Name: server.name},
			DefaultTTL: &metav1.Duration{Duration: time.Minute},
			Operations: []v1.OperationPolicy{{Name: "list", TTL: metav1.Duration{Duration: time.Minute}}},
		},
	}
}

func (h *Hostiles) invalidation(server *hostileStore) *v1.CacheInvalidation {
	return &v1.CacheInvalidation{
		ObjectMeta: h.meta(fmt.Sprintf("%s-%d", server.name, server.turn)),
		Spec: v1.CacheInvalidationSpec{
			StoreRef: &v1.StoreReference{Name: server.name},
			Targets: []v1.InvalidationTarget{
				{Module: server.name, Operation: "list"},
				{Module: server.name, UserID: "user"},
				{UserID: "user"},
			},
		},
	}
}

func (h *Hostiles) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: h.namespace, Name: name}
}

// lists returns the kinds of resources in the namespace, in the order of their deletion.
func lists() []client.ObjectList {
	return []client.ObjectList{
		&v1.CacheInvalidationList{}, &v1.CachePolicyList{}, &v1.CacheStoreList{},
	}
}

// Delete deletes all resources of the namespace and waits until they are gone.
func (h *Hostiles) Delete(ctx context.Context) error { return deleteAll(ctx, h.k8s, h.namespace) }

// deleteAll deletes until nothing is left. A busy API server may cut off the deletion of many
// resources, so that is asked for again.
func deleteAll(ctx context.Context, k8s client.Client, namespace string) error {
	return eventually(ctx, time.Second, func(ctx context.Context) error {
		for _, object := range []client.Object{
			&v1.CacheInvalidation{}, &v1.CachePolicy{}, &v1.CacheStore{},
		} {
			if err := k8s.DeleteAllOf(ctx, object, client.InNamespace(namespace)); err != nil {
				return err
			}
		}
		left := []string{}
		err := visit(ctx, k8s, namespace, lists(), func(object client.Object) {
			left = append(left, fmt.Sprintf("%T %s", object, object.GetName()))
		})
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d resources are still there: %q", len(left), left[:min(len(left), 20)])
		}
		return err
	})
}

// Texts returns the texts that people see of the namespace: status and events, each as JSON. The
// keys name the object and the way in which its server misbehaves.
func (h *Hostiles) Texts(ctx context.Context) (map[string]string, error) {
	texts, ways := map[string]string{}, map[string]string{}
	for _, server := range h.servers {
		ways[server.name] = server.fault().Way.Name
	}
	err := visit(ctx, h.k8s, h.namespace, slices.Concat(lists(),
		[]client.ObjectList{&eventsv1.EventList{}}), func(object client.Object) {
		text, _ := json.Marshal(object) // cannot fail: it was JSON before
		texts[fmt.Sprintf("%T %s (%s)", object, object.GetName(), ways[object.GetName()])] = string(text)
	})
	return texts, err
}

func visit(
	ctx context.Context, k8s client.Client, namespace string, of []client.ObjectList,
	do func(client.Object),
) error {
	for _, list := range of {
		if err := k8s.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return err
		}
		switch list := list.(type) {
		case *v1.CacheInvalidationList:
			doEach(list.Items, func(object *v1.CacheInvalidation) { do(object) })
		case *v1.CachePolicyList:
			doEach(list.Items, func(object *v1.CachePolicy) { do(object) })
		case *v1.CacheStoreList:
			doEach(list.Items, func(object *v1.CacheStore) { do(object) })
		case *eventsv1.EventList:
			doEach(list.Items, func(object *eventsv1.Event) { do(object) })
		}
	}
	return nil
}

func doEach[T any](items []T, do func(*T)) {
	for i := range items {
		do(&items[i])
	}
}
