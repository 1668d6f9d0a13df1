// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/respguard"
)

const (
	// switchChannel is where Sentinels tell of another primary.
	switchChannel = "+switch-master"
	// followPause is the least time between two questions for the primary. It doubles, up to
	// followSilence, while they follow one another closely: a Sentinel may fail, or talk, all the time.
	followPause = 200 * time.Millisecond
	// followSilence is how long a Sentinel may say nothing before it is asked.
	followSilence = 3 * time.Second
)

// follow ends the connections to a primary when there is another one, until ctx ends. A message is but a reason to ask:
// what is in it is not looked at.
func (s *sentinels) follow(ctx context.Context) {
	var rest growingPause
	for ctx.Err() == nil {
		began := time.Now()
		if sentinel, err := s.answering(ctx); err == nil {
			s.followBy(ctx, sentinel)
		}
		pause(ctx, rest.after(time.Since(began)))
	}
}

// answering returns a Sentinel that answers.
func (s *sentinels) answering(ctx context.Context) (string, error) {
	primary, err := s.primary(ctx)
	if err != nil {
		return "", err
	}
	s.leave(primary)
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
	var rest growingPause
	for ctx.Err() == nil {
		began := time.Now()
		if !heard(ctx, messages) {
			return
		}
		quiet := time.Since(began)
		primary, err := s.ask(ctx, sentinel)
		if err != nil {
			return
		}
		s.leave(primary)
		pause(ctx, rest.after(quiet))
	}
}

// heard waits for a message, or for so long that it is time to ask; false: the connection is of no more use.
func heard(ctx context.Context, messages *redis.PubSub) bool {
	_, err := respguard.Receive(ctx, messages, followSilence)
	if isTimeout(err) {
		return messages.Ping(ctx) == nil
	}
	return err == nil
}

// growingPause is the time to wait before the next question.
type growingPause time.Duration

// after returns the pause after something that took so long: the shortest if that was long enough.
func (p *growingPause) after(took time.Duration) time.Duration {
	if took >= followSilence {
		*p = 0
	}
	*p = growingPause(min(max(2*time.Duration(*p), followPause), followSilence))
	return time.Duration(*p)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
