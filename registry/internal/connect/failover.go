// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry/internal/fault"
)

const (
	// switchChannel is where Sentinels announce another primary.
	switchChannel = "+switch-master"
	// minFollowInterval is the minimum time between two queries for the primary. It doubles, up to
	// maxSilence, while queries follow one another closely: a Sentinel may fail, or send messages, all
	// the time.
	minFollowInterval = 200 * time.Millisecond
	// maxSilence is how long a Sentinel may be silent before it is queried.
	maxSilence = 3 * time.Second
)

// follow closes connections to former primaries until ctx ends. A message only triggers a query;
// its content is ignored.
func (s *sentinels) follow(ctx context.Context) {
	var pause backoff
	for ctx.Err() == nil {
		began := time.Now()
		if sentinel, err := s.answering(ctx); err == nil {
			s.followBy(ctx, sentinel)
		}
		sleep(ctx, pause.after(time.Since(began)))
	}
}

// answering returns a Sentinel that answers.
func (s *sentinels) answering(ctx context.Context) (string, error) {
	primary, err := s.primary(ctx)
	if err != nil {
		return "", err
	}
	s.closeOthers(primary)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, nil
}

// followBy listens to one Sentinel until it fails.
func (s *sentinels) followBy(ctx context.Context, sentinel string) {
	client := s.client(sentinel)
	defer func() { _ = client.Close() }()
	messages := client.Subscribe(ctx, switchChannel)
	defer func() { _ = messages.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = messages.Close() })
	defer stop()
	var pause backoff
	for ctx.Err() == nil {
		began := time.Now()
		if !waitForMessage(ctx, messages) {
			return
		}
		silence := time.Since(began)
		primary, err := s.ask(ctx, sentinel)
		if err != nil {
			return
		}
		s.closeOthers(primary)
		sleep(ctx, pause.after(silence))
	}
}

// waitForMessage waits for a message, up to maxSilence. It returns false if the connection has
// failed.
func waitForMessage(ctx context.Context, messages *redis.PubSub) bool {
	_, err := respguard.Receive(ctx, messages, maxSilence)
	if fault.IsTimeout(err) {
		return messages.Ping(ctx) == nil
	}
	return err == nil
}

// backoff is the time to wait before the next query.
type backoff time.Duration

// after returns the time to wait after something that took so long. If it took maxSilence, the time
// is minimal again.
func (b *backoff) after(took time.Duration) time.Duration {
	if took >= maxSilence {
		*b = 0
	}
	*b = backoff(min(max(2*time.Duration(*b), minFollowInterval), maxSilence))
	return time.Duration(*b)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
