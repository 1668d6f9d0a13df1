// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

func countCases() []Case {
	const part = "count"
	return []Case{
		required(part, "hits, misses and stale reads are in the statistics once", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.load(e, v("payload"))
			for range 3 {
				s.hits(e, v("payload"))
			}
			want := registry.OperationStats{Hits: 3, Misses: 1, Fills: 1}
			s.counts(e, want)
		}),
		required(part, "a load that was fenced is one, and no fill", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.loads(e)
			_, err := s.Stage.Registry.Delete(s.ctx, e.Key)
			s.must(err)
			s.serves(e, v("payload"))
			s.counts(e, registry.OperationStats{Misses: 1, Fenced: 1})
		}),
		required(part, "a read of what is held is no miss", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			held := registry.HoldEntry(e.Key)
			_, err := s.Stage.Registry.Hold(s.ctx, e.Slot, registry.NewHoldID(), long, held)
			s.must(err)
			s.load(e, v("payload"))
			s.counts(e, registry.OperationStats{HeldReads: 1})
		}),
	}
}

// counts waits for the counts of an operation, which the client may have reported already. It asks
// for the reports of a client that makes them on request.
func (s *scene) counts(e entry, want registry.OperationStats) {
	if err := s.try("report", nil, &none{}); err != nil && !driver.IsUnsupported(err) {
		panic(failure{err})
	}
	s.eventually(func() error {
		stats, err := s.Stage.Registry.Stats(s.ctx, e.Slot)
		if err != nil {
			return err
		}
		of := stats.Operations[e.Operation]
		got := registry.OperationStats{
			Hits: of.Hits, Misses: of.Misses, Fills: of.Fills, Fenced: of.Fenced,
			HeldReads: of.HeldReads, Stale: of.Stale,
		}
		if got != want {
			return fmt.Errorf("cw_stats has %s; want %s", figures(got), figures(want))
		}
		return nil
	})
}

func figures(of registry.OperationStats) string {
	return fmt.Sprintf("hits %d, misses %d, stale %d, heldReads %d, fills %d, fenced %d",
		of.Hits, of.Misses, of.Stale, of.HeldReads, of.Fills, of.Fenced)
}
