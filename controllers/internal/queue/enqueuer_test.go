// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestWhatPeopleChangeGoesBeforeWhatAStoreWakes(t *testing.T) {
	queue := priorityqueue.New[reconcile.Request]("test")
	defer queue.ShutDown()
	woken, changed := types.NamespacedName{Name: "woken"}, types.NamespacedName{Name: "changed"}
	Item{Name: woken}.addTo(queue)
	queue.Add(reconcile.Request{NamespacedName: changed})
	for _, want := range []types.NamespacedName{changed, woken} {
		if next, _ := queue.Get(); next.NamespacedName != want {
			t.Errorf("%s is next; want %s", next, want)
		}
	}
}
