// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry"
)

const (
	// heartbeat is how often the connections are tried.
	heartbeat = 200 * time.Millisecond

	channel = "__redis__:invalidate"

	never = math.MinInt64
)

// link is two connections to a node: one that reads, and one on which Redis tells of each change of what was read. It
// ends for good when either is lost.
type link struct {
	node       *redis.Client
	since      uint64 // the generation in which it is made
	generation func() uint64

	ctx    context.Context // ends when a connection is lost, with the cause
	cancel context.CancelCauseFunc
	up     chan struct{} // closed once it can be used
	over   chan struct{} // closed when nothing of it is left

	reader   *redis.Client // to be used only once it is up
	believed atomic.Int64  // until then, in Unix nanoseconds, the connections are known to work; never again if it is never

	mu       sync.Mutex
	trackers map[string]*Tracker // by their slot
}

func openLink(node *redis.Client, since uint64, generation func() uint64) *link {
	l := &link{
		node: node, since: since, generation: generation,
		up: make(chan struct{}), over: make(chan struct{}), trackers: make(map[string]*Tracker),
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	go func() {
		defer close(l.over)
		l.cancel(contained(l.serve))
	}()
	return l
}

func (l *link) close() {
	l.cancel(nil)
	<-l.over
}

// lost returns why the link has ended, or nil.
func (l *link) lost() error { return context.Cause(l.ctx) }

func (l *link) add(t *Tracker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trackers[t.slot] = t
}

// remove says whether no tracker is left.
func (l *link) remove(t *Tracker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.trackers, t.slot)
	return len(l.trackers) == 0
}

// serve returns when a connection is lost.
func (l *link) serve() error {
	var id int64
	var ofTeller, ofReader registry.Server
	teller := l.dial(func(ctx context.Context, conn *redis.Conn) (err error) {
		if id, err = conn.ClientID(ctx).Result(); err == nil {
			ofTeller, err = registry.ServerOf(ctx, conn)
		}
		return err
	})
	defer func() { _ = teller.Close() }()
	subscription := teller.Subscribe(l.ctx, channel)
	defer func() { _ = subscription.Close() }()
	l.reader = l.dial(func(ctx context.Context, conn *redis.Conn) (err error) {
		if ofReader, err = registry.ServerOf(ctx, conn); err != nil {
			return err
		}
		if err := onePrimary(ofTeller, ofReader); err != nil {
			return err
		}
		return conn.Do(ctx, "CLIENT", "TRACKING", "ON", "REDIRECT", id).Err()
	})
	defer func() { _ = l.reader.Close() }()
	defer context.AfterFunc(l.ctx, func() {
		l.believed.Store(never)
		_ = subscription.Close()
		_ = l.reader.Close()
	})()
	if _, err := respguard.Receive(l.ctx, subscription, silence); err != nil {
		return unfit(err)
	}
	if err := l.tryReader(); err != nil {
		return unfit(err)
	}
	close(l.up)

	var beating sync.WaitGroup
	defer beating.Wait()
	beating.Go(func() { l.cancel(contained(func() error { return l.beat(subscription) })) })
	err := l.receive(subscription)
	l.cancel(err)
	return err
}

// ErrUnfit says that heads cannot be followed by such connections, however often they are made.
var ErrUnfit = errors.New("a near cache needs an address that leads to one primary, which says who it is by INFO")

// unfit says of a server that does not say who it is that it cannot be followed.
func unfit(err error) error {
	if errors.Is(err, registry.ErrAnonymous) {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	return err
}

// onePrimary says what is wrong with the servers of the two connections. Each numbers its clients by itself: the id of a
// client of one is that of a stranger at the other, or of nobody.
func onePrimary(teller, reader registry.Server) error {
	switch {
	case teller.Incarnation != reader.Incarnation:
		return fmt.Errorf("%w: two connections are to two servers", ErrUnfit)
	case reader.IsReplica:
		return fmt.Errorf("%w: it leads to a replica", ErrUnfit)
	default:
		return nil
	}
}

var errConnectedAnew = errors.New("the connection was lost, and with it what Redis had to tell")

// dial returns a client of one connection, which is made ready first. It speaks RESP2, in which Redis tells by messages
// to a subscription: go-redis hands these on at once.
func (l *link) dial(ready func(context.Context, *redis.Conn) error) *redis.Client {
	as := l.node.Options()
	var connected atomic.Bool
	return redis.NewClient(&redis.Options{
		// How to reach the node and who we are. Not a copy of all: go-redis writes to some of the rest.
		Network: as.Network, Addr: as.Addr, Dialer: respguard.Dialer(as.Dialer, respguard.Application), TLSConfig: as.TLSConfig, DialTimeout: as.DialTimeout,
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
			if connected.Load() {
				return errConnectedAnew
			}
			if as.OnConnect != nil {
				if err := as.OnConnect(ctx, conn); err != nil {
					return err
				}
			}
			if err := ready(ctx, conn); err != nil {
				return err
			}
			connected.Store(true)
			return nil
		},
	})
}

// read returns the values of keys as MGET does. From then on Redis tells of their changes, once.
func (l *link) read(ctx context.Context, keys ...string) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	values, err := l.reader.MGet(ctx, keys...).Result()
	if refusal := redis.Error(nil); err != nil && !errors.As(err, &refusal) {
		l.cancel(err)
	}
	return values, err
}

func (l *link) tryReader() error {
	ctx, cancel := context.WithTimeout(l.ctx, silence)
	defer cancel()
	return l.reader.Ping(ctx).Err()
}

var errAnotherServer = errors.New("another server may answer reads than the one that tells of changes")

// beat asks for signs of life: of the reader first, for Redis tells of nothing any more when that is gone.
func (l *link) beat(subscription *redis.PubSub) error {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		if l.generation() != l.since {
			return errAnotherServer
		}
		asked := time.Now()
		if err := l.tryReader(); err != nil {
			return err
		}
		if err := subscription.Ping(l.ctx, strconv.FormatInt(asked.UnixNano(), 10)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-l.ctx.Done():
			return nil
		}
	}
}

// receive handles messages. Any that is not understood, such as that everything was flushed, is
// an error, and ends it.
func (l *link) receive(subscription *redis.PubSub) error {
	for {
		message, err := respguard.Receive(l.ctx, subscription, silence)
		if err != nil {
			return err
		}
		switch message := message.(type) {
		case *redis.Message:
			for _, key := range message.PayloadSlice {
				l.notice(key)
			}
		case *redis.Pong:
			asked, err := strconv.ParseInt(message.Payload, 10, 64)
			if err != nil {
				return fmt.Errorf("an unknown sign of life: %w", err)
			}
			l.believe(asked + int64(silence))
		default:
			// A new subscription, say: go-redis has connected anew, and what was told in between is lost.
			return fmt.Errorf("an unexpected message, a %T", message)
		}
	}
}

// notice tells the tracker of a key's slot, which ends with the first brace: no module has one in its name.
func (l *link) notice(key string) {
	slot := key[:strings.IndexByte(key, '}')+1]
	l.mu.Lock()
	t, follows := l.trackers[slot]
	l.mu.Unlock()
	if follows {
		t.notice(key)
	}
}

func (l *link) believe(until int64) {
	if before := l.believed.Load(); before != never {
		l.believed.CompareAndSwap(before, until)
	}
}

// contained turns a panic over what a server says into an error: it ends the link, not the process.
func contained(do func() error) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	return do()
}
