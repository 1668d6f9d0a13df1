// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"context"
	"errors"
	"maps"
	"net"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry"
)

// watch identifies the server behind each new connection of a node's client before that is used.
func (g *Guard) watch(client *redis.Client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, watched := g.watched[weak.Make(client)]; watched {
		return
	}
	maps.DeleteFunc(g.watched, func(other weak.Pointer[redis.Client], _ struct{}) bool {
		return other.Value() == nil
	})
	g.watched[weak.Make(client)] = struct{}{}
	node := ""
	if g.cluster != nil {
		node = client.Options().Addr
	}
	client.AddHook(&hook{guard: g, node: node, as: client.Options()})
}

// hook is called by a node's client.
type hook struct {
	guard *Guard
	node  string
	as    *redis.Options
}

// DialHook implements redis.Hook.
func (h *hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		// Only here can replies that would harm the application be kept from its client.
		conn = respguard.Wrap(conn, respguard.Application)
		if h.guard.disabled.Load() {
			return conn, err
		}
		var known net.Conn
		// go-redis dials on goroutines of its own, where a panic would end the process.
		err = contain.Call(registry.ErrMisbehaves, func() (err error) {
			known, err = h.identified(ctx, conn)
			return err
		})
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return known, nil
	}
}

// identified records the server behind a new connection, unless the server does not say who it is.
func (h *hook) identified(ctx context.Context, conn net.Conn) (net.Conn, error) {
	server, err := h.identify(ctx, conn)
	switch {
	case errors.Is(err, registry.ErrAnonymous), errors.Is(err, registry.ErrUnauthorized):
		h.guard.disable(err)
		return conn, nil
	case err != nil:
		return nil, err
	}
	_ = h.guard.observe(h.node, server.Incarnation, true) // a new connection is never refused
	return h.guard.counted(conn, server), nil
}

// ProcessHook implements redis.Hook. A node that redirects a call no longer serves all that it did.
func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	if h.guard.cluster == nil {
		return next
	}
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.moved(err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	if h.guard.cluster == nil {
		return next
	}
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			h.moved(cmd.Err())
		}
		return err
	}
}

func (h *hook) moved(err error) {
	if err != nil &&
		(strings.HasPrefix(err.Error(), "MOVED ") || strings.HasPrefix(err.Error(), "ASK ")) {
		h.guard.generation.Add(1)
	}
}

// identify asks on this connection, because any other might lead to another server. A client that
// has only this connection logs in and asks, and does not close it. After that the connection is as
// new.
func (h *hook) identify(ctx context.Context, conn net.Conn) (registry.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, h.as.DialTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{
		Network: h.as.Network, Addr: h.as.Addr,
		Dialer:   func(context.Context, string, string) (net.Conn, error) { return lent{conn}, nil },
		Username: h.as.Username, Password: h.as.Password, CredentialsProvider: h.as.CredentialsProvider,
		CredentialsProviderContext:   h.as.CredentialsProviderContext,
		StreamingCredentialsProvider: h.as.StreamingCredentialsProvider,

		Protocol:                 2,
		PoolSize:                 1,
		MaxRetries:               -1,
		DialerRetries:            1,
		DisableIdentity:          true,
		ReadTimeout:              h.as.ReadTimeout,
		WriteTimeout:             h.as.WriteTimeout,
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	server, err := registry.ServerOf(ctx, client)
	return server, errors.Join(err, client.Close(), conn.SetDeadline(time.Time{}))
}

// lent is a connection that its user cannot close.
type lent struct{ net.Conn }

// Close implements net.Conn.
func (lent) Close() error { return nil }

// counted counts a connection to a replica until it is closed. In a cluster, the client knows which
// nodes are replicas.
func (g *Guard) counted(conn net.Conn, server registry.Server) net.Conn {
	if !server.IsReplica || g.cluster != nil {
		return conn
	}
	g.replicas.Add(1)
	return &toReplica{Conn: conn, gone: sync.OnceFunc(func() { g.replicas.Add(-1) })}
}

// toReplica is a connection to a replica.
type toReplica struct {
	net.Conn

	gone func()
}

// Close implements net.Conn.
func (c *toReplica) Close() error {
	c.gone()
	return c.Conn.Close()
}
