// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// noConnectionLeft is what Redis says, unasked, before it closes a connection that is one too many.
	noConnectionLeft = "ERR max number of clients reached"
	// turnedAwayWithin is how long a new connection is listened to.
	turnedAwayWithin = 500 * time.Millisecond
)

// errNoConnectionLeft is the error that a client misses when it writes before it reads.
var errNoConnectionLeft = errors.New(noConnectionLeft)

// orTurnedAway returns why a server cut the connection off, where it says so to a new one that only listens.
func orTurnedAway(ctx context.Context, node *redis.Client, err error) error {
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		return err
	}
	options := node.Options()
	conn, dialErr := options.Dialer(ctx, options.Network, options.Addr)
	if dialErr != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	said := make([]byte, len("-")+len(noConnectionLeft))
	if deadlineErr := conn.SetReadDeadline(time.Now().Add(turnedAwayWithin)); deadlineErr != nil {
		return err
	}
	n, _ := io.ReadFull(conn, said) // what is cut short says nothing
	if !strings.HasSuffix(string(said[:n]), noConnectionLeft) {
		return err
	}
	return fmt.Errorf("connecting to %s: %w: %w", options.Addr, ErrUnreachable, errNoConnectionLeft)
}
