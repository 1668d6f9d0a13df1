// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// The ledger finds purges that break its rules, so it can fail. The test does the operator's work,
// with mistakes.
func TestTheLedgerFindsPurgesThatBreakItsRules(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, "", clientOf(t, server))
	_, err := w.cache.Install(t.Context())
	w.must(err)
	for _, slot := range w.shop.declared() {
		_, err := w.cache.ApplyPolicy(t.Context(), slot, registry.Policy{DefaultTTL: new(time.Hour)})
		w.must(err)
	}
	w.begin()
	w.create(w.prepare(6))
	of := func(number int) *purge { return w.purges[(&purge{number: number}).name()] }
	lost, doubled, redone, recounted, miscounted, executed := of(1), of(2), of(3), of(4), of(5), of(6)
	for _, p := range w.purges {
		if p != lost {
			w.must(w.invalidate(t.Context(), p))
		}
		keys := p.entries
		if p == miscounted {
			keys--
		}
		w.must(w.complete(t.Context(), p, keys))
	}
	w.must(w.settle(t.Context()))
	w.must(w.invalidate(t.Context(), doubled))
	w.must(w.invalidate(t.Context(), redone))
	w.must(w.fill(t.Context(), redone.after()))
	w.must(w.complete(t.Context(), recounted, 0))

	w.must(w.close(t.Context()))
	for p, finding := range map[*purge]string{
		lost:       "lost: it is Complete, and an entry that was there is",
		doubled:    "doubled: what was filled when it was Complete is",
		redone:     "the library counted 2 invalidations",
		recounted:  "doubled: it counted",
		miscounted: fmt.Sprintf("it counted %d of %d entries", miscounted.entries-1, miscounted.entries),
		executed:   "it was a dry run, and took an entry away",
	} {
		if all := strings.Join(w.findings, "\n"); !strings.Contains(all, p.name()+": "+finding) {
			t.Errorf("%s: %q is not among the findings:\n%s", p.name(), finding, all)
		}
	}
}

// The application finds reads of old values, too.
func TestTheApplicationFindsWhatAPurgeLeft(t *testing.T) {
	server := redistest.Start(t)
	w := &world{t: t, ledger: newLedger("shop", nil, registry.New(server.Client()))}
	_, err := w.cache.Install(t.Context())
	w.must(err)
	_, err = w.cache.ApplyPolicy(t.Context(), w.shop.slot(moduleName(0)), registry.Policy{DefaultTTL: new(time.Hour)})
	w.must(err)
	cached, err := cache.New(clientOf(t, server), string(w.shop), cache.WithLogger(slog.New(slog.DiscardHandler)))
	w.must(err)
	t.Cleanup(func() { _ = cached.Close(context.Background()) })
	a := &application{w: w}
	a.source.Store(1)
	w.must(eventually(t.Context(), "read from the cache", func(ctx context.Context) error {
		a.read(ctx, cached, false)
		stats, err := w.cache.Stats(ctx, w.shop.slot(moduleName(0)))
		if err == nil && stats.Operations[watched].Keys == 0 {
			err = errors.New("nothing has been filled")
		}
		return err
	}))
	if len(w.findings) > 0 {
		t.Errorf("nothing was purged, but the findings are %q", w.findings)
	}

	a.source.Store(2)
	a.floor.Store(2) // as if the purge were Complete
	a.read(t.Context(), cached, false)
	if all := strings.Join(w.findings, "\n"); !strings.Contains(all, "lost: the application read 1") {
		t.Errorf("an old value was read, but the findings are %q", all)
	}
}

// invalidate carries out a purge, even if it is a dry run.
func (l *ledger) invalidate(ctx context.Context, p *purge) error {
	mode := registry.ModeHard
	if p.soft {
		mode = registry.ModeSoft
	}
	for _, slot := range p.slots() {
		target := p.targets()[0]
		if _, err := l.cache.Invalidate(ctx, slot, registry.Scope{Operation: target.Operation, User: target.UserID}, mode, ""); err != nil {
			return err
		}
	}
	return nil
}

// complete writes the status of a finished purge.
func (l *ledger) complete(ctx context.Context, p *purge, keys int) error {
	status := fmt.Appendf(nil, `{"status":{"state":"Complete","keysInvalidated":%d}}`, keys)
	return l.k8s.Status().Patch(ctx, l.objectOf(p), client.RawPatch(types.MergePatchType, status))
}
