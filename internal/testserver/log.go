// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package testserver has what programs have in common that tests start as servers on loopback.
package testserver

import (
	"bytes"
	"sync"
)

// Log keeps what a server writes. The log says when a server is ready. That works with all kinds of
// authentication, and does not mistake another server on the same port for this one.
type Log struct {
	ready     chan struct{}
	readyText []byte

	mu      sync.Mutex
	text    bytes.Buffer
	isReady bool
}

// NewLog returns the log of a server that is ready once it has written this text.
func NewLog(readyText string) *Log {
	return &Log{ready: make(chan struct{}), readyText: []byte(readyText)}
}

// Ready is closed when the server is ready.
func (l *Log) Ready() <-chan struct{} { return l.ready }

// Write implements io.Writer.
func (l *Log) Write(chunk []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(chunk)
	if !l.isReady && bytes.Contains(l.text.Bytes(), l.readyText) {
		l.isReady = true
		close(l.ready)
	}
	return n, err
}

// String returns what the server has written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
