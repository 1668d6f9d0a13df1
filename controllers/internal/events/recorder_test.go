// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
)

// wire takes the messages of events.
type wire chan string

func (w wire) Eventf(_, _ runtime.Object, _, _, _, note string, args ...any) {
	w <- fmt.Sprintf(note, args...)
}

func TestEventsAreSentInOrderAndNeverHoldUpAReconcile(t *testing.T) {
	const tooMany = 10
	sent := make(wire)
	recorder := NewRecorder(sent, controllertest.RuntimeScheme(t), logr.Discard())
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

// panickyRecorder panics over one event.
type panickyRecorder chan string

func (r panickyRecorder) Eventf(_, _ runtime.Object, _, reason, _, _ string, _ ...any) {
	if reason == "Bad" {
		panic("an event")
	}
	r <- reason
}

func TestAnEventThatPanicsHoldsUpNoOther(t *testing.T) {
	recorder := make(panickyRecorder)
	paced := NewRecorder(recorder, controllertest.RuntimeScheme(t), logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = paced.Start(ctx) })
	defer done.Wait()
	defer cancel()
	for _, reason := range []string{"Bad", "Good"} {
		paced.Eventf(controllertest.UsersPolicy(), nil, "Normal", reason, "Test", "it happened")
	}
	select {
	case <-recorder:
	case <-time.After(controllertest.Timeout):
		t.Error("the next event was not recorded")
	}
}
