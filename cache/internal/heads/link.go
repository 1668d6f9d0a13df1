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
	// heartbeat is how often the connections are pinged.
	heartbeat = 400 * time.Millisecond

	channel = "__redis__:invalidate"

	never = math.MinInt64
)

// link is two connections to a node: one that reads, and one on which Redis reports each change of
// what was read. It ends when either is lost, and is not used again.
type link struct {
	node       *redis.Client
	since      uint64 // the generation in which it was opened
	generation func() uint64

	ctx    context.Context // ends when a connection is lost, with the cause
	cancel context.CancelCauseFunc
	up     chan struct{} // closed once it can be used
	over   chan struct{} // closed when nothing of it is left

	reader *redis.Client // must be used only when the link is up
	// until when the connections are known to work, in Unix nanoseconds; or never
	trusted atomic.Int64

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
		l.cancel(contain.Call(registry.ErrMisbehaves, l.serve))
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

// serve opens the connections, and returns when one is lost.
func (l *link) serve() error {
	var id int64
	var reporterServer, readerServer registry.Server
	reporter := l.dial(func(ctx context.Context, conn *redis.Conn) (err error) {
		if id, err = conn.ClientID(ctx).Result(); err == nil {
			reporterServer, err = registry.ServerOf(ctx, conn)
		}
		return err
	})
	defer func() { _ = reporter.Close() }()
	subscription := reporter.Subscribe(l.ctx, channel)
	defer func() { _ = subscription.Close() }()
	l.reader = l.dial(func(ctx context.Context, conn *redis.Conn) (err error) {
		if readerServer, err = registry.ServerOf(ctx, conn); err != nil {
			return err
		}
		if err := onePrimary(reporterServer, readerServer); err != nil {
			return err
		}
		return conn.Do(ctx, "CLIENT", "TRACKING", "ON", "REDIRECT", id).Err()
	})
	defer func() { _ = l.reader.Close() }()
	defer context.AfterFunc(l.ctx, func() {
		l.trusted.Store(never)
		_ = subscription.Close()
		_ = l.reader.Close()
	})()
	if _, err := respguard.Receive(l.ctx, subscription, maxSilence); err != nil {
		return unfit(err)
	}
	if err := l.tryReader(); err != nil {
		return unfit(err)
	}
	close(l.up)

	var beating sync.WaitGroup
	defer beating.Wait()
	beat := func() error { return l.beat(subscription) }
	beating.Go(func() { l.cancel(contain.Call(registry.ErrMisbehaves, beat)) })
	err := l.receive(subscription)
	l.cancel(err)
	return err
}

// ErrUnfit says that heads cannot be followed on such connections, however often they are opened.
var ErrUnfit = errors.New("a near cache needs an address that leads to one primary, " +
	"which says who it is by INFO")

// unfit adds ErrUnfit to the error of a server that does not say who it is.
func unfit(err error) error {
	if errors.Is(err, registry.ErrAnonymous) {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	return err
}

// onePrimary returns an error unless both connections lead to one primary. Each server numbers its
// clients itself, so the id of a client at one server means nothing at another.
func onePrimary(reporter, reader registry.Server) error {
	switch {
	case reporter.Incarnation != reader.Incarnation:
		return fmt.Errorf("%w: two connections are to two servers", ErrUnfit)
	case reader.IsReplica:
		return fmt.Errorf("%w: it leads to a replica", ErrUnfit)
	default:
		return nil
	}
}

var errReconnected = errors.New("the connection was lost, and with it reports of changes")

// dial returns a client with one connection, for which it calls ready first. It speaks RESP2, in
// which Redis reports changes as messages to a subscription. go-redis passes these on at once.
func (l *link) dial(ready func(context.Context, *redis.Conn) error) *redis.Client {
	as := l.node.Options()
	var connected atomic.Bool
	return redis.NewClient(&redis.Options{
		// Address and credentials only: go-redis writes to some of the other options.
		Network: as.Network, Addr: as.Addr, TLSConfig: as.TLSConfig, DialTimeout: as.DialTimeout,
		Dialer:   respguard.Dialer(as.Dialer, respguard.Application),
		Username: as.Username, Password: as.Password, CredentialsProvider: as.CredentialsProvider,
		CredentialsProviderContext:   as.CredentialsProviderContext,
		StreamingCredentialsProvider: as.StreamingCredentialsProvider,
		DB:                           as.DB, ClientName: as.ClientName,
		DisableIdentity: as.DisableIdentity,
		IdentitySuffix:  as.IdentitySuffix,

		Protocol: 2,
		PoolSize: 1,
		// Else pipelines have connections of their own, on which nothing is tracked.
		PipelinePoolSize: -1,

		MaxRetries:   -1,
		ReadTimeout:  maxSilence,
		WriteTimeout: maxSilence,

		ContextTimeoutEnabled: true,
		OnConnect: func(ctx context.Context, conn *redis.Conn) error {
			if connected.Load() {
				return errReconnected
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

func (l *link) tryReader() error {
	ctx, cancel := context.WithTimeout(l.ctx, maxSilence)
	defer cancel()
	return l.reader.Ping(ctx).Err()
}

var errAnotherServer = errors.New(
	"another server may answer reads than the one that reports changes")

// beat pings both connections. It pings the reader first, because Redis reports nothing once that
// is gone.
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

// receive handles messages. It returns an error for any other message, such as the one after a
// flush of all data.
func (l *link) receive(subscription *redis.PubSub) error {
	for {
		message, err := respguard.Receive(l.ctx, subscription, maxSilence)
		if err != nil {
			return err
		}
		switch message := message.(type) {
		case *redis.Message:
			for _, key := range message.PayloadSlice {
				l.changed(key)
			}
		case *redis.Pong:
			asked, err := strconv.ParseInt(message.Payload, 10, 64)
			if err != nil {
				return fmt.Errorf("an unexpected pong: %w", err)
			}
			l.trustUntil(asked + int64(maxSilence))
		default:
			// Such as a new subscription: go-redis has reconnected, and reports in between are lost.
			return fmt.Errorf("an unexpected message, a %T", message)
		}
	}
}

// changed passes a key on to the tracker of its slot. The slot ends with the first closing brace,
// because names of modules have none.
func (l *link) changed(key string) {
	slot := key[:strings.IndexByte(key, '}')+1]
	l.mu.Lock()
	t, follows := l.trackers[slot]
	l.mu.Unlock()
	if follows {
		t.changed(key)
	}
}

func (l *link) trustUntil(until int64) {
	if before := l.trusted.Load(); before != never {
		l.trusted.CompareAndSwap(before, until)
	}
}
