// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/repository/internal/outbox"
)

// Bounds of the time between two looks of a Relay at its table.
const (
	shortestPoll = 10 * time.Millisecond
	longestPoll  = time.Hour
	defaultPoll  = 500 * time.Millisecond
)

// keepDone is for how long a done row stays. InTx may ask for it until longestHold after COMMIT.
// The rest is for clocks that are set meanwhile.
const keepDone = longestHold + time.Minute

// RelayOption changes how a Relay works.
type RelayOption func(*relayOptions)

type relayOptions struct{ poll time.Duration }

// PollEvery sets the time between two looks at the table: 10ms to 1h, default 500ms. Wake ends it
// early.
func PollEvery(d time.Duration) RelayOption { return func(o *relayOptions) { o.poll = d } }

// Relay carries rows of the outbox to the cache: it invalidates what they name. Any process may run
// one, beside others. It is safe for concurrent use.
type Relay struct{ relay *outbox.Relay }

// RelayFigures are what a Relay did so far.
type RelayFigures = outbox.Figures

// Relay returns a Relay of the table of OutboxSQL. Call its Run. The DB needs WithCache, but no
// WithOutbox. With ReplicaLag, what a row names is not cached for so long.
func (d *DB) Relay(opts ...RelayOption) (*Relay, error) {
	o := relayOptions{poll: defaultPoll}
	for _, option := range opts {
		option(&o)
	}
	switch {
	case d.cache == nil:
		return nil, errors.New("repository: Relay: there is no cache; open the DB WithCache")
	case o.poll < shortestPoll || o.poll > longestPoll:
		return nil, fmt.Errorf("repository: Relay: PollEvery takes %s to %s, not %s",
			shortestPoll, longestPoll, o.poll)
	}
	return &Relay{relay: outbox.NewRelay(outbox.Config{
		Pool: d.pool, SQL: outboxOf(d.dialect), Holder: d.cache, Poll: o.poll, Keep: keepDone,
		Lag: d.lag, Warn: d.warn.Report,
	})}, nil
}

// Run carries rows until ctx ends. It takes 64 at a time. While the database or the cache is away,
// it tries again after pauses of up to 5s. Rows that are not ours are set aside and counted. Done
// rows are removed after eleven minutes: longer than InTx may ask for them.
func (r *Relay) Run(ctx context.Context) { r.relay.Run(ctx) }

// Wake has the Relay look at the table now. It does not block.
func (r *Relay) Wake() { r.relay.Wake() }

// Figures returns what the Relay did so far.
func (r *Relay) Figures() RelayFigures { return r.relay.Figures() }
