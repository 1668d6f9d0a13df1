// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/internal/redistest"
)

// panicking is a hook that makes the client panic over every reply to our commands, as it would
// over an unreadable one. Commands that go-redis sends in its own goroutines get their replies.
type panicking struct{}

func (panicking) DialHook(next redis.DialHook) redis.DialHook { return next }

func (panicking) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		panicOver(cmd)
		return next(ctx, cmd)
	}
}

func (panicking) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		panicOver(cmds[0])
		return next(ctx, cmds)
	}
}

func panicOver(cmd redis.Cmder) {
	if slices.Contains([]string{"info", "fcall", "fcall_ro", "function", "getex", "set", "mget"}, cmd.Name()) {
		panic("a reply")
	}
}

// wantContained fails where an error is not one of a server over whose reply the client panicked.
func wantContained(t *testing.T, call string, err error) {
	t.Helper()
	var panicked *contain.Error
	if !errors.Is(err, ErrMisbehaves) || !errors.As(err, &panicked) {
		t.Errorf("%s: %v", call, err)
	}
}

// A panic in a goroutine can be recovered from in that goroutine only.
func TestAPanicOverAReplyIsAnErrorOfItsServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	client.AddHook(panicking{})
	cluster := redistest.StartCluster(t, 3).Client()
	cluster.OnNewNode(func(node *redis.Client) { node.AddHook(panicking{}) })
	slots := []Slot{{Namespace: "shop", Module: "users"}}
	for name, r := range map[string]*Registry{"standalone": New(client), "cluster": New(cluster)} {
		_, err := r.Check(t.Context())
		wantContained(t, name+" Check", err)
		_, err = r.Install(t.Context())
		wantContained(t, name+" Install", err)
		_, err = r.Fences(t.Context(), slots)
		wantContained(t, name+" Fences", err)
		wantContained(t, name+" Fence", r.Fence(t.Context(), []Fence{{Slot: slots[0]}}))
		wantContained(t, name+" MarkFenced", r.MarkFenced(t.Context(), []Fence{{Slot: slots[0]}}))
	}
}

func TestAPanicOverABatchOfReadsIsTheirError(t *testing.T) {
	client := redistest.Start(t).Client()
	client.AddHook(panicking{})
	r, err := NewPipelined(client, HalfDuplex)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Read(t.Context(), Key{Slot: Slot{Namespace: "shop", Module: "users"}, Operation: "list", ID: "1"})
	wantContained(t, "Read", err)
}
