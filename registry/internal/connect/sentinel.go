// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry/internal/fault"
)

const (
	// sentinelAddr is what go-redis also gives as the address of a client that uses Sentinels.
	sentinelAddr = "FailoverClient"
	// sentinelTimeout is how long the Sentinel that answered last may take before all are asked.
	sentinelTimeout = time.Second
)

var errSentinelReply = fmt.Errorf(
	"%w: a Sentinel names a primary in another form than Sentinels do", fault.ErrMisbehaves)

// sentinelClient returns a client whose connections lead to the primary that Sentinels name.
//
// It does not use the client of go-redis for that purpose. That one decodes replies of Sentinels in
// goroutines, where a malformed reply ends the process, and it dials every Sentinel that one of
// them names.
func (c Config) sentinelClient() *redis.Client {
	s := &sentinels{config: c, open: map[*primaryConn]struct{}{}}
	return redis.NewClient(c.options(sentinelAddr, s.dialPrimary))
}

// sentinels find the primary for the connections of one client, and close connections to a former
// primary.
type sentinels struct {
	config Config

	mu       sync.Mutex
	last     string // the Sentinel that answered last
	open     map[*primaryConn]struct{}
	unfollow context.CancelFunc // nil: no goroutine follows failovers
}

// primaryConn is a connection to the server that was the primary when it was made.
type primaryConn struct {
	conn    net.Conn
	primary string
}

func (s *sentinels) dialPrimary(ctx context.Context, network, _ string) (net.Conn, error) {
	primary, err := s.primary(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.config.dialer().Dial(ctx, network, primary)
	if err != nil {
		return nil, err
	}
	s.track(&primaryConn{conn: conn, primary: primary})
	return conn, nil
}

// primary asks the Sentinel that answered last, then all of them concurrently.
func (s *sentinels) primary(ctx context.Context) (string, error) {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last != "" {
		ctx, cancel := context.WithTimeout(ctx, sentinelTimeout)
		defer cancel()
		if primary, err := s.ask(ctx, last); err == nil {
			return primary, nil
		}
	}
	return s.askAll(ctx)
}

// askAll returns the first answer. If there is none, it returns the error of the first Sentinel in
// the list.
func (s *sentinels) askAll(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addresses := s.config.Addresses
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

// ask asks one Sentinel on a new connection.
func (s *sentinels) ask(ctx context.Context, sentinel string) (string, error) {
	client := s.client(sentinel)
	defer func() { _ = client.Close() }()
	return askPrimary(ctx, client, s.config.MasterName)
}

func (s *sentinels) client(sentinel string) *redis.Client {
	dialer := s.config.dialer()
	dialer.Limits = respguard.Sentinel
	return redis.NewClient(&redis.Options{
		Addr: sentinel, Dialer: dialer.Dial,
		Username: s.config.SentinelUsername, Password: s.config.SentinelPassword,

		Protocol:                 2, // go-redis delivers its messages at once
		PoolSize:                 1,
		ReadBufferSize:           smallBuffer,
		WriteBufferSize:          smallBuffer,
		MaxRetries:               -1,
		DialerRetries:            1,
		DisableIdentity:          true,
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: noMaintenance(),
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

// track tracks a connection until it is closed. While there are connections, a goroutine follows
// failovers.
func (s *sentinels) track(conn *primaryConn) {
	if notifier, ok := conn.conn.(interface{ NotifyClose(fn func()) }); ok {
		notifier.NotifyClose(func() { s.untrack(conn) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[conn] = struct{}{}
	if s.unfollow == nil {
		ctx, cancel := context.WithCancel(context.Background())
		s.unfollow = cancel
		go s.follow(ctx)
	}
}

func (s *sentinels) untrack(conn *primaryConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
	if len(s.open) == 0 && s.unfollow != nil {
		s.unfollow()
		s.unfollow = nil
	}
}

// closeOthers closes the connections to all servers but the primary.
func (s *sentinels) closeOthers(primary string) {
	for _, conn := range s.others(primary) {
		_ = conn.conn.Close()
	}
}

func (s *sentinels) others(primary string) []*primaryConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []*primaryConn
	for conn := range s.open {
		if conn.primary != primary {
			others = append(others, conn)
		}
	}
	return others
}
