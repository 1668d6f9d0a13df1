// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"testing"
	"time"

	"github.com/cachewright/cachewright/controllers/stores/calls"
)

func TestAStoreThatAnswersSlowlyIsKnown(t *testing.T) {
	var l latency
	for range 10 {
		l.add(time.Millisecond)
	}
	l.add(slowAnswer)
	if l.isSlow() {
		t.Error("after one slow answer")
	}
	l.add(calls.CallTimeout)
	if !l.isSlow() {
		t.Error("after one that did not come in time it is not slow")
	}
	for range 2 * latencyWeight {
		l.add(time.Millisecond)
	}
	if l.isSlow() {
		t.Error("it never stops being slow")
	}
}
