// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package unclaimed

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// refusedFor is how long nothing is reported after Redis refused it: an older library, or an ACL
// without the key. Somebody may correct that.
const refusedFor = 10 * time.Minute

// refusals remember that Redis refused a report.
type refusals struct {
	until  time.Time
	logged bool
}

// report sends the counts of unclaimed names. What Redis refuses is dropped: nothing depends on it.
func (n *Names) report(ctx context.Context) {
	if len(n.unsent) == 0 {
		return
	}
	if time.Now().Before(n.refusals.until) {
		clear(n.unsent)
		return
	}
	names := make([]registry.Unclaimed, 0, len(n.unsent))
	for of, sum := range n.unsent {
		names = append(names, registry.Unclaimed{
			Module: of.module, Operation: of.operation,
			Reads: sum.reads, Invalidations: sum.invalidations,
		})
	}
	err := n.config.Redis.ReportUnclaimed(ctx, names)
	if err != nil && (ctx.Err() != nil || errors.Is(err, registry.ErrUnreachable)) {
		return // the next report includes them
	}
	clear(n.unsent)
	if err != nil {
		n.refused(err)
	}
}

func (n *Names) refused(err error) {
	n.refusals.until = time.Now().Add(refusedFor)
	if n.refusals.logged {
		return
	}
	n.refusals.logged = true
	n.config.Logger.Warn("Names without a CachePolicy are not reported to the operator",
		"namespace", n.config.Namespace, "error", err)
}
