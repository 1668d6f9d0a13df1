// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package primary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

const (
	// noConnectionLeft is what Redis sends before it closes a connection that exceeds its limit.
	noConnectionLeft = "ERR max number of clients reached"
	// rejectionTimeout is how long orRejection listens on a new connection.
	rejectionTimeout = 500 * time.Millisecond
)

// errNoConnectionLeft is an error that a client misses if it writes before it reads.
var errNoConnectionLeft = errors.New(noConnectionLeft)

// orRejection returns why a server closed the connection, if the server says so on a new one that
// only listens.
func orRejection(ctx context.Context, node *redis.Client, err error) error {
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) &&
		!errors.Is(err, io.EOF) {
		return err
	}
	options := node.Options()
	conn, dialErr := options.Dialer(ctx, options.Network, options.Addr)
	if dialErr != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	reply := make([]byte, len("-")+len(noConnectionLeft))
	if deadlineErr := conn.SetReadDeadline(time.Now().Add(rejectionTimeout)); deadlineErr != nil {
		return err
	}
	n, _ := io.ReadFull(conn, reply) // a partial reply does not match
	if !strings.HasSuffix(string(reply[:n]), noConnectionLeft) {
		return err
	}
	return fmt.Errorf("connecting to %s: %w: %w",
		options.Addr, fault.ErrUnreachable, errNoConnectionLeft)
}
