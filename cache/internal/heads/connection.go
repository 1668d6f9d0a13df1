// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// heartbeat is how often the connection is tried.
	heartbeat = 200 * time.Millisecond

	channel = "__redis__:invalidate"
)

// track returns when the connection is lost.
func (t *Tracker) track(ctx context.Context) error {
	since := t.generation()
	node, err := t.node(ctx)
	if err != nil {
		return fmt.Errorf("finding the node of %s: %w", t.slot, err)
	}
	client := t.dial(node)
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	subscription := client.Subscribe(ctx, channel)
	defer func() { _ = subscription.Close() }()
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	if _, err := subscription.ReceiveTimeout(ctx, silence); err != nil {
		return fmt.Errorf("following the heads of %s: %w", t.slot, err)
	}
	if err := t.readPolicy(ctx); err != nil {
		return err
	}
	t.begin(since)

	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil)
	helpers.Go(func() { cancel(t.beat(ctx, subscription, since)) })
	helpers.Go(func() { cancel(t.look(ctx, node)) })
	err = t.receive(ctx, subscription)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("following the heads of %s: %w", t.slot, err)
}

// dial returns a client whose one connection is told of changes. It speaks RESP2, in which Redis tells
// by a message to the connection's own subscription: go-redis hands these on at once.
func (t *Tracker) dial(node *redis.Client) *redis.Client {
	as := node.Options()
	return redis.NewClient(&redis.Options{
		// How to reach the node and who we are. Not a copy of all: go-redis writes to some of the rest.
		Network: as.Network, Addr: as.Addr, Dialer: as.Dialer, TLSConfig: as.TLSConfig, DialTimeout: as.DialTimeout,
		Username: as.Username, Password: as.Password, CredentialsProvider: as.CredentialsProvider,
		CredentialsProviderContext: as.CredentialsProviderContext, StreamingCredentialsProvider: as.StreamingCredentialsProvider,
		DB: as.DB, ClientName: as.ClientName, DisableIdentity: as.DisableIdentity, IdentitySuffix: as.IdentitySuffix,

		Protocol:     2,
		PoolSize:     1,
		MaxRetries:   -1,
		ReadTimeout:  silence,
		WriteTimeout: silence,

		ContextTimeoutEnabled: true,
		OnConnect: func(ctx context.Context, conn *redis.Conn) error {
			if as.OnConnect != nil {
				if err := as.OnConnect(ctx, conn); err != nil {
					return err
				}
			}
			return t.enable(ctx, conn)
		},
	})
}

// enable has Redis tell the connection of changes of the module's heads and policy.
func (t *Tracker) enable(ctx context.Context, conn *redis.Conn) error {
	id, err := conn.ClientID(ctx).Result()
	if err != nil {
		return err
	}
	return conn.Do(ctx, "CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST",
		"PREFIX", t.slot+moduleHead, "PREFIX", t.slot+operationHead, "PREFIX", t.slot+userHead, "PREFIX", t.slot+policyKey).Err()
}

var errUnknownClient = errors.New("the near cache needs a *redis.Client or a *redis.ClusterClient")

func (t *Tracker) node(ctx context.Context) (*redis.Client, error) {
	switch client := t.client.(type) {
	case *redis.Client:
		return client, nil
	case *redis.ClusterClient:
		return client.MasterForKey(ctx, t.slot)
	default:
		return nil, errUnknownClient
	}
}

var errReplicas = errors.New("the near cache needs reads from primaries, whose changes it follows: a replica may answer with what was changed long ago; " +
	"leave ReadOnly, RouteByLatency and RouteRandomly off")

// Supports says whether heads can be followed by such a client.
func Supports(client redis.UniversalClient) error {
	switch client := client.(type) {
	case *redis.Client:
		return nil
	case *redis.ClusterClient:
		if client.Options().ReadOnly { // the others imply it
			return errReplicas
		}
		return nil
	default:
		return fmt.Errorf("%w, not a %T", errUnknownClient, client)
	}
}

var errAnotherServer = errors.New("another server may answer reads than the one that tells of changes")

// beat asks for signs of life.
func (t *Tracker) beat(ctx context.Context, subscription *redis.PubSub, since uint64) error {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		if t.generation() != since {
			return errAnotherServer
		}
		if err := subscription.Ping(ctx, strconv.FormatInt(time.Now().UnixNano(), 10)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// receive handles messages. Any that is not understood, such as that everything was flushed, is
// an error, and ends it.
func (t *Tracker) receive(ctx context.Context, subscription *redis.PubSub) error {
	for {
		message, err := subscription.ReceiveTimeout(ctx, silence)
		if err != nil {
			return err
		}
		switch message := message.(type) {
		case *redis.Message:
			for _, key := range message.PayloadSlice {
				t.notice(key)
			}
		case *redis.Pong:
			asked, err := strconv.ParseInt(message.Payload, 10, 64)
			if err != nil {
				return fmt.Errorf("an unknown sign of life: %w", err)
			}
			t.believed.Store(asked + int64(silence))
		default:
			// A new subscription, say: go-redis has connected anew, and what was told in between is lost.
			return fmt.Errorf("an unexpected message, a %T", message)
		}
	}
}

// look reads the policy and the heads that may have changed. It asks the node that tells of changes: no
// other's answer is followed by what this one tells, as after a slot has moved.
func (t *Tracker) look(ctx context.Context, node *redis.Client) error {
	for {
		select {
		case <-t.dirty:
		case <-ctx.Done():
			return nil
		}
		if t.takeNewPolicy() {
			if err := t.readPolicy(ctx); err != nil {
				return err
			}
		}
		for keys, asked := t.suspects(); len(keys) > 0; keys, asked = t.suspects() {
			bounded, cancel := context.WithTimeout(ctx, silence)
			values, err := node.MGet(bounded, keys...).Result()
			cancel()
			if err != nil {
				return err
			}
			t.settle(asked, values)
		}
	}
}

func (t *Tracker) takeNewPolicy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.newPolicy
	t.newPolicy = false
	return taken
}

func (t *Tracker) readPolicy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if err := t.policy(ctx); err != nil {
		return fmt.Errorf("reading the policy of %s: %w", t.slot, err)
	}
	return nil
}
