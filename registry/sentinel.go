// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/respguard"
)

const (
	// sentinelName is what go-redis, too, calls the address of a client for Sentinel.
	sentinelName = "FailoverClient"
	// sentinelTime is how long the Sentinel that answered last is given before all are asked.
	sentinelTime = time.Second
)

var errSentinelReply = fmt.Errorf("%w: a Sentinel names a primary in another way than Sentinels do", ErrMisbehaves)

// sentinelClient returns a client whose connections lead to the primary that Sentinels name.
//
// go-redis has such a client. It is not used, as it decodes what Sentinels say in goroutines of its own, where a word too
// few ends the process, and dials every Sentinel that one of them names.
func (c Connection) sentinelClient() *redis.Client {
	s := &sentinels{connection: c, open: map[*primaryLink]struct{}{}}
	return redis.NewClient(c.options(sentinelName, s.dialPrimary))
}

// sentinels find the primary for the connections of one client, and end those to a former one.
type sentinels struct {
	connection Connection

	mu       sync.Mutex
	last     string // the Sentinel that answered last
	open     map[*primaryLink]struct{}
	unfollow context.CancelFunc // nil: nobody listens for another primary
}

// primaryLink is a connection to what was the primary when it was made.
type primaryLink struct {
	conn    net.Conn
	primary string
}

func (s *sentinels) dialPrimary(ctx context.Context, network, _ string) (net.Conn, error) {
	primary, err := s.primary(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.connection.dialer().dial(ctx, network, primary)
	if err != nil {
		return nil, err
	}
	s.keep(&primaryLink{conn: conn, primary: primary})
	return conn, nil
}

// primary asks the Sentinel that answered last, then all of them at once.
func (s *sentinels) primary(ctx context.Context) (string, error) {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last != "" {
		ctx, cancel := context.WithTimeout(ctx, sentinelTime)
		defer cancel()
		if primary, err := s.ask(ctx, last); err == nil {
			return primary, nil
		}
	}
	return s.askAll(ctx)
}

// askAll returns the first answer. Where there is none, the error is that of the Sentinel that is named first.
func (s *sentinels) askAll(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addresses := s.connection.Addresses
	primaries, errs := make([]string, len(addresses)), make([]error, len(addresses))
	var group sync.WaitGroup
	for i, sentinel := range addresses {
		group.Go(func() {
			if primaries[i], errs[i] = s.ask(ctx, sentinel); errs[i] == nil {
				cancel()
			}
		})
	}
	group.Wait()
	for i, err := range errs {
		if err == nil {
			s.mu.Lock()
			s.last = addresses[i]
			s.mu.Unlock()
			return primaries[i], nil
		}
	}
	return "", fmt.Errorf("no Sentinel names the primary: %w", errs[0])
}

// ask asks one Sentinel, on a connection of its own.
func (s *sentinels) ask(ctx context.Context, sentinel string) (string, error) {
	client := s.client(sentinel)
	defer func() { _ = client.Close() }()
	return askPrimary(ctx, client, s.connection.MasterName)
}

func (s *sentinels) client(sentinel string) *redis.Client {
	dialer := s.connection.dialer()
	dialer.limits = respguard.Sentinel
	return redis.NewClient(&redis.Options{
		Addr: sentinel, Dialer: dialer.dial,
		Username: s.connection.SentinelUsername, Password: s.connection.SentinelPassword,

		Protocol:                 2, // in which messages are handed on at once
		PoolSize:                 1,
		ReadBufferSize:           smallBuffer,
		WriteBufferSize:          smallBuffer,
		MaxRetries:               -1,
		DialerRetries:            1,
		DisableIdentity:          true,
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

func askPrimary(ctx context.Context, sentinel *redis.Client, name string) (string, error) {
	reply, err := sentinel.Do(ctx, "sentinel", "get-master-addr-by-name", name).Result()
	if errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("the Sentinels know no primary of that name: %w", err)
	}
	if err != nil {
		return "", err
	}
	fields, _ := reply.([]any)
	if len(fields) != 2 {
		return "", errSentinelReply
	}
	host, _ := fields[0].(string)
	port, _ := fields[1].(string)
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || !respguard.IsHost(host) {
		return "", errSentinelReply
	}
	return net.JoinHostPort(host, port), nil
}

// keep remembers a connection to the primary until it is closed, and listens for another primary meanwhile.
func (s *sentinels) keep(link *primaryLink) {
	if notifier, ok := link.conn.(interface{ NotifyClose(fn func()) }); ok {
		notifier.NotifyClose(func() { s.forget(link) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[link] = struct{}{}
	if s.unfollow == nil {
		ctx, cancel := context.WithCancel(context.Background())
		s.unfollow = cancel
		go s.follow(ctx)
	}
}

func (s *sentinels) forget(link *primaryLink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, link)
	if len(s.open) == 0 && s.unfollow != nil {
		s.unfollow()
		s.unfollow = nil
	}
}

// leave closes the connections to all but the primary.
func (s *sentinels) leave(primary string) {
	for _, link := range s.others(primary) {
		_ = link.conn.Close()
	}
}

func (s *sentinels) others(primary string) []*primaryLink {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []*primaryLink
	for link := range s.open {
		if link.primary != primary {
			others = append(others, link)
		}
	}
	return others
}
