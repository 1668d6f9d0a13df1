// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package operatortest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Hanging are CacheStores of one namespace, each with a policy and an invalidation. Their server
// accepts connections and never answers.
type Hanging struct {
	k8s       client.Client
	namespace string
	listener  net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

// NewHanging creates the namespace and count stores in it. The caller closes it.
func NewHanging(
	ctx context.Context, k8s client.Client, namespace string, count int,
) (*Hanging, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &Hanging{k8s: k8s, namespace: namespace, listener: listener}
	go h.accept()
	err = k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	for i := 0; i < count && err == nil; i++ {
		err = h.create(ctx, fmt.Sprint("hanging-", i))
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Hanging) create(ctx context.Context, name string) error {
	named := metav1.ObjectMeta{Namespace: h.namespace, Name: name}
	reference := &v1.StoreReference{Name: name}
	return errors.Join(
		h.k8s.Create(ctx, &v1.CacheStore{ObjectMeta: named, Spec: v1.CacheStoreSpec{
			Addresses: []v1.StoreAddress{v1.StoreAddress(h.listener.Addr().String())},
		}}),
		h.k8s.Create(ctx, &v1.CachePolicy{ObjectMeta: named, Spec: v1.CachePolicySpec{
			Module: name, StoreRef: reference, DefaultTTL: &metav1.Duration{Duration: time.Minute},
			DeletionPolicy: v1.DeletionRetain, // its deletion need not wait for the store
		}}),
		h.k8s.Create(ctx, &v1.CacheInvalidation{ObjectMeta: named, Spec: v1.CacheInvalidationSpec{
			StoreRef: reference, Targets: []v1.InvalidationTarget{{Module: name}},
		}}),
	)
}

func (h *Hanging) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.conns = append(h.conns, conn)
		h.mu.Unlock()
	}
}

// Connections returns the number of connections so far.
func (h *Hanging) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// Delete deletes all resources of the namespace and waits until they are gone.
func (h *Hanging) Delete(ctx context.Context) error { return deleteAll(ctx, h.k8s, h.namespace) }

// Close closes the server and its connections.
func (h *Hanging) Close() {
	_ = h.listener.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conn := range h.conns {
		_ = conn.Close()
	}
}
