// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

var errMessage = &Violation{"a message to a subscription is not as Redis sends it"}

// Receive is messages.ReceiveTimeout for servers that are not trusted. go-redis panics if a message
// has too few parts, or parts of another type. When it does, it holds no lock and has read the
// message.
func Receive(
	ctx context.Context, messages *redis.PubSub, timeout time.Duration,
) (message any, err error) {
	defer func() {
		if recover() != nil {
			message, err = nil, errMessage
		}
	}()
	return messages.ReceiveTimeout(ctx, timeout)
}
