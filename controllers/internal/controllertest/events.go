// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
)

// Heard is called for each event that is recorded. A suite that collects events sets it.
var Heard = func(runtime.Object, string) {}

// EventLog records events as "type reason: message".
type EventLog struct {
	mu     sync.Mutex
	events []string
}

// Eventf implements events.EventRecorder.
func (l *EventLog) Eventf(about, _ runtime.Object, eventType, reason, _, note string, args ...any) {
	Heard(about, reason)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events,
		fmt.Sprintf("%s %s: %s", eventType, reason, fmt.Sprintf(note, args...)))
}

// Take returns the events since the last take.
func (l *EventLog) Take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.events
	l.events = nil
	return taken
}
