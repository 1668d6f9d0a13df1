// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// wire takes the messages of events.
type wire chan string

func (w wire) Eventf(_, _ runtime.Object, _, _, _, note string, args ...any) {
	w <- fmt.Sprintf(note, args...)
}

func TestEventsAreSentInOrderAndNeverHoldUpAReconcile(t *testing.T) {
	const tooMany = 10
	sent := make(wire)
	recorder := newPacedRecorder(sent, runtimeScheme(t), logr.Discard())
	about := &v1.CacheInvalidation{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "purge"}}
	for i := range eventQueue + tooMany { // nobody takes them yet
		recorder.Eventf(about, nil, "Normal", "Invalidated", "Invalidate", "number %d", i)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = recorder.Start(ctx) })
	for i := range eventBurst {
		if message := <-sent; message != fmt.Sprint("number ", i) {
			t.Fatalf("event %d is %q", i, message)
		}
	}
	cancel()
	go func() {
		for range sent { // the one that may be under way
		}
	}()
	group.Wait()
	close(sent)

	if left := len(recorder.waiting); left < eventQueue-eventBurst-tooMany || left > eventQueue-eventBurst {
		t.Errorf("%d events wait", left)
	}
}
