// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// slot is under test: keys of one slot on two servers. One at a time is the primary. The other
// remembers what a former primary remembers.
type slot struct {
	servers [2]*redis.Client
	primary int
	key     string
	library string
}

func (s *slot) client() *redis.Client { return s.servers[s.primary] }

// call calls a function; nil is a reply, too.
func (s *slot) call(ctx context.Context, name string, args ...any) (reply any, during span, err error) {
	command := append([]any{"FCALL", name, 1, s.key}, args...)
	during.from = time.Now().UnixMilli()
	reply, err = s.client().Do(ctx, command...).Result()
	during.to = time.Now().UnixMilli()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return reply, during, err
}

// setMany calls cw_set for so many entries with one token.
func (s *slot) setMany(ctx context.Context, k key, token string, entries int) (replies []int64, during span, err error) {
	calls := make([]*redis.Cmd, entries)
	during.from = time.Now().UnixMilli()
	_, err = s.client().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i := range calls {
			calls[i] = pipe.Do(ctx, "FCALL", "cw_set", 1, s.key, k.op, fmt.Sprint(k.id, i), k.user, fmt.Sprint(i), token)
		}
		return nil
	})
	during.to = time.Now().UnixMilli()
	for _, call := range calls {
		n, ok := call.Val().(int64)
		if !ok && err == nil {
			err = fmt.Errorf("cw_set answers %v", call.Val())
		}
		replies = append(replies, n)
	}
	return replies, during, err
}

func (s *slot) keys(ctx context.Context, client *redis.Client, pattern string) ([]string, error) {
	escaped := strings.NewReplacer("[", "\\[", "*", "\\*", "?", "\\?").Replace(s.key)
	return client.Keys(ctx, escaped+pattern).Result()
}

// dump is a copy of a slot's keys.
type dump struct {
	names  []string
	values []string
	until  []time.Duration // Unix time; not positive: no expiry
}

func (s *slot) dump(ctx context.Context) (d dump, err error) {
	if d.names, err = s.keys(ctx, s.client(), "*"); err != nil {
		return d, err
	}
	values, until := make([]*redis.StringCmd, len(d.names)), make([]*redis.DurationCmd, len(d.names))
	_, err = s.client().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range d.names {
			values[i], until[i] = pipe.Dump(ctx, name), pipe.PExpireTime(ctx, name)
		}
		return nil
	})
	for i := range values {
		d.values, d.until = append(d.values, values[i].Val()), append(d.until, until[i].Val())
	}
	if errors.Is(err, redis.Nil) { // it expired meanwhile
		err = nil
	}
	return d, err
}

// promote makes the other server the primary, with what is in a dump.
func (s *slot) promote(ctx context.Context, d dump) error {
	s.primary = 1 - s.primary
	if err := s.clear(ctx, s.client()); err != nil {
		return err
	}
	_, err := s.client().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range d.names {
			if d.values[i] != "" {
				pipe.Do(ctx, "RESTORE", name, max(0, d.until[i].Milliseconds()), d.values[i], "ABSTTL")
			}
		}
		return nil
	})
	return err
}

func (s *slot) clear(ctx context.Context, client *redis.Client) error {
	names, err := s.keys(ctx, client, "*")
	if err != nil || len(names) == 0 {
		return err
	}
	return client.Del(ctx, names...).Err()
}

// reload loads the library over itself, or takes it away and loads it, which nobody else sees in
// between.
func (s *slot) reload(ctx context.Context, flush bool) error {
	_, err := s.client().TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		if flush {
			pipe.FunctionFlush(ctx)
		}
		return pipe.FunctionLoadReplace(ctx, s.library).Err()
	})
	return err
}

// Names of keys that docs/protocol.md gives.
func (s *slot) entryKey(k key) string { return s.named("e", k) }
func (s *slot) lockKey(k key) string  { return s.named("l", k) }
func (s *slot) named(kind string, k key) string {
	return fmt.Sprintf("%s:%s:%d:%s:%d:%s:%s", s.key, kind, len(k.op), k.op, len(k.user), k.user, k.id)
}

func (s *slot) headKeys(k key) []string {
	heads := []string{s.key + ":m", s.key + ":o:" + k.op}
	if k.user != "" {
		heads = append(heads, s.key+":u:"+k.user)
	}
	return heads
}
