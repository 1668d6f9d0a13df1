// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// ledger holds all purges of a test and checks these rules:
//
//   - Nothing is lost. Each purge becomes Complete in the end. From then on, no read finds an entry
//     that was there when it was created. After a soft purge, no read finds such an entry fresh.
//   - Nothing is doubled. Entries filled after that stay, and the library counted one invalidation.
//   - The counts are exact. They cover the entries of the first execution and never change.
//
// A dry run counts, and changes nothing.
//
// If Redis may have gone back in time, the operator invalidates all its modules. That is no purge
// of the ledger: then fewer entries may be counted, and entries filled afterwards stay.
type ledger struct {
	shop  shop
	k8s   client.WithWatch
	cache *registry.Registry
	// store is the CacheStore that purges name, or nil for the operator's own store.
	store *v1.CacheStoreSpec
	// forgetful means that Redis loses data. Then its counters prove nothing, and its entries only
	// count once their module is fenced, as for the Go client.
	forgetful bool

	mu sync.Mutex
	// replacements counts how often another process took the place of Redis. fences is the number
	// of them after which all modules are known to be fenced.
	replacements, fences int
	purges               map[string]*purge // by name
	open                 int
	findings             []string
}

func newLedger(shop shop, k8s client.WithWatch, cache *registry.Registry) *ledger {
	return &ledger{shop: shop, k8s: k8s, cache: cache, purges: map[string]*purge{}}
}

// prepare fills the entries of a purge.
func (l *ledger) prepare(ctx context.Context, number int) (*purge, error) {
	p := &purge{shop: l.shop, number: number, kind: kindOf(number), fencesBefore: l.fencesInPlace()}
	p.entries = len(p.slots()) + rand.IntN(few)
	p.soft = number%softEvery == 0 && p.kind != dryRun
	if number%manyEvery == 1 {
		p.entries = many
	}
	for i := range p.entries {
		if err := l.fill(ctx, p.before(i)); err != nil {
			return nil, fmt.Errorf("filling for %s: %w", p.name(), err)
		}
	}
	return p, nil
}

// create creates the object of a purge.
func (l *ledger) create(ctx context.Context, p *purge) error {
	l.mu.Lock()
	l.purges[p.name()] = p
	l.open++
	l.mu.Unlock()
	return l.k8s.Create(ctx, l.objectOf(p))
}

func (l *ledger) objectOf(p *purge) *v1.CacheInvalidation {
	object := &v1.CacheInvalidation{Spec: v1.CacheInvalidationSpec{Targets: p.targets(), Mode: v1.ModeHard, DryRun: p.kind == dryRun}}
	object.Namespace, object.Name, object.Labels = p.namespace(), p.name(), l.own()
	if p.soft {
		object.Spec.Mode = v1.ModeSoft
	}
	object.Spec.StoreRef = l.storeRef()
	return object
}

const storeName = "main"

func (l *ledger) storeRef() *v1.StoreReference {
	if l.store == nil {
		return nil
	}
	return &v1.StoreReference{Name: storeName}
}

// fill stores an entry. It retries until Redis is available and has the policy.
func (l *ledger) fill(ctx context.Context, key registry.Key) error {
	return eventually(ctx, "fill of "+key.Operation, func(ctx context.Context) error {
		lookup, err := l.cache.Lease(ctx, key)
		if err != nil {
			return err
		}
		filled, err := l.cache.Set(ctx, key, []byte("value"), lookup.Token)
		if err == nil && filled.Outcome != registry.Stored {
			err = fmt.Errorf("the outcome is %s", filled.Outcome)
		}
		return err
	})
}

// own returns the label of the purges of the world.
func (l *ledger) own() client.MatchingLabels {
	return client.MatchingLabels{"shop": string(l.shop)}
}

// follow checks all purges until the context ends.
func (l *ledger) follow(ctx context.Context) {
	for ctx.Err() == nil {
		l.observe(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
}

// observe checks the purges that exist, and then each one that changes. It returns when the API
// server ends the watch or is not available.
func (l *ledger) observe(ctx context.Context) {
	events, err := l.k8s.Watch(ctx, &v1.CacheInvalidationList{}, l.own())
	if err != nil {
		return
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		if object, ok := event.Object.(*v1.CacheInvalidation); ok {
			l.note(ctx, object)
		}
	}
}

// note checks a purge that is Complete for the first time.
func (l *ledger) note(ctx context.Context, object *v1.CacheInvalidation) {
	l.mu.Lock()
	p := l.purges[object.Name]
	known := p != nil && p.counted == nil
	if known {
		p.begun = p.begun || object.Status.State != ""
	}
	l.mu.Unlock()
	if !known {
		return
	}
	switch object.Status.State {
	case v1.StateComplete, v1.StateCounted:
		l.didAsItSays(ctx, p)
		p.fencesAfter = l.fencesInPlace()
		if err := l.fill(ctx, p.after()); err != nil {
			l.find("%s: %v", p.name(), err)
		}
		l.wasCounted(p, object.Status.KeysInvalidated)
	case v1.StateFailed:
		l.find("%s failed: %v", p.name(), object.Status.Conditions)
		l.wasCounted(p, new(int64(p.entries)))
	}
}

// didAsItSays checks that all entries of before are gone, or that a dry run left them.
func (l *ledger) didAsItSays(ctx context.Context, p *purge) {
	for i := range p.entries {
		err := eventually(ctx, "read", func(ctx context.Context) error {
			isThere, err := l.isThereAndFenced(ctx, p, i)
			switch {
			case err != nil:
				return err
			case isThere && p.kind != dryRun:
				l.find("%s: lost: it is Complete, and an entry that was there is", p.name())
			case !isThere && p.kind == dryRun && !l.mayMiss():
				l.find("%s: it was a dry run, and took an entry away", p.name())
			}
			return nil
		})
		if err != nil {
			l.find("%s: %v", p.name(), err)
		}
	}
}

// nothingIsBack returns an error while a purged entry can be read.
func (l *ledger) nothingIsBack(ctx context.Context) error {
	for _, p := range l.purges {
		if p.kind == dryRun {
			continue
		}
		for i := range p.entries {
			if isThere, err := l.isThere(ctx, p, i); err != nil || isThere {
				return fmt.Errorf("an entry of %s can be read (%w)", p.name(), err)
			}
		}
	}
	return nil
}

// isThere reports whether a read finds an entry of the purge as if it had not been purged.
func (l *ledger) isThere(ctx context.Context, p *purge, i int) (bool, error) {
	found, err := l.cache.Read(ctx, p.before(i))
	return err == nil && found.Hit && (!p.soft || !found.Stale), err
}

// isThereAndFenced does what isThere does. If Redis is forgetful, it fails until the module is
// fenced.
func (l *ledger) isThereAndFenced(ctx context.Context, p *purge, i int) (bool, error) {
	if !l.forgetful {
		return l.isThere(ctx, p, i)
	}
	before, err := l.fenceOf(ctx, p.before(i).Slot)
	if err != nil {
		return false, err
	}
	isThere, err := l.isThere(ctx, p, i)
	if err != nil {
		return false, err
	}
	after, err := l.fenceOf(ctx, p.before(i).Slot)
	if err == nil && after.Incarnation != before.Incarnation {
		err = errors.New("another Redis took over during the read")
	}
	return isThere, err
}

func (l *ledger) fenceOf(ctx context.Context, slot registry.Slot) (registry.Fence, error) {
	fences, err := l.cache.Fences(ctx, []registry.Slot{slot})
	if err == nil && !fences[0].InPlace {
		err = fmt.Errorf("%s is not fenced", slot)
	}
	return fences[0], err
}

// replaced records that another process is about to take the place of Redis.
func (l *ledger) replaced() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replacements++
}

// untilFenced waits until all modules are fenced in the present Redis.
func (w *world) untilFenced() {
	w.t.Helper()
	w.must(eventually(w.t.Context(), "fences", func(ctx context.Context) error {
		fences, err := w.cache.Fences(ctx, w.shop.declared())
		open := slices.IndexFunc(fences, func(f registry.Fence) bool { return !f.InPlace })
		if err == nil && open >= 0 {
			err = fmt.Errorf("%s is not fenced", fences[open].Slot)
		}
		return err
	}))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fences = w.replacements
}

func (l *ledger) fencesInPlace() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fences
}

// mayMiss reports whether entries may be gone without a purge.
func (l *ledger) mayMiss() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forgetful || l.replacements > 0
}

func (l *ledger) wasCounted(p *purge, keys *int64) {
	if keys == nil {
		keys = new(int64(-1))
	}
	if entries := int64(p.entries); *keys > entries || *keys < entries && !l.mayMiss() {
		l.find("%s: it counted %d of %d entries", p.name(), *keys, entries)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.counted = keys
	l.open--
}

// close waits until all purges are Complete, and checks the rules once more.
func (l *ledger) close(ctx context.Context) error {
	if err := l.settle(ctx); err != nil {
		return err
	}
	list := &v1.CacheInvalidationList{}
	if err := l.k8s.List(ctx, list, l.own()); err != nil {
		return err
	}
	for i := range list.Items {
		p, keys := l.purges[list.Items[i].Name], list.Items[i].Status.KeysInvalidated
		if p == nil {
			continue
		}
		if keys == nil || *keys != *p.counted {
			l.find("%s: doubled: it counted %d, and counts otherwise now", p.name(), *p.counted)
		}
	}
	if l.forgetful {
		return nil
	}
	return l.wasDoneOnce(ctx)
}

// settle waits until all purges are Complete.
func (l *ledger) settle(ctx context.Context) error {
	return eventually(ctx, "end of all purges", func(context.Context) error {
		if open, _ := l.unfinished(); open > 0 {
			return fmt.Errorf("%d purges are not Complete", open)
		}
		return nil
	})
}

// unfinished returns how many purges are not Complete, and how many of these an operator works on.
func (l *ledger) unfinished() (open, begun int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.purges {
		if p.counted == nil && p.begun {
			begun++
		}
	}
	return l.open, begun
}

func (l *ledger) wasDoneOnce(ctx context.Context) error {
	stats := map[registry.Slot]registry.Stats{}
	for _, slot := range l.shop.declared() {
		var err error
		if stats[slot], err = l.cache.Stats(ctx, slot); err != nil {
			return err
		}
	}
	for _, p := range l.purges {
		want := p.times() + int64(l.fences-p.fencesBefore)
		for _, slot := range p.slots() {
			if times := stats[slot].Operations[p.operation()].Invalidations; p.kind != user && times != want {
				l.find("%s: the library counted %d invalidations of %v, want %d", p.name(), times, slot, want)
			}
		}
		if p.fencesAfter < l.fences {
			continue // a fence has invalidated the whole module
		}
		if found, err := l.cache.Read(ctx, p.after()); err != nil || !found.Hit || found.Stale {
			l.find("%s: doubled: what was filled when it was Complete is %+v (%v)", p.name(), found, err)
		}
	}
	return nil
}

func (l *ledger) find(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.findings = append(l.findings, fmt.Sprintf(format, args...))
}

// unsettled returns the purges that were not seen to be Complete.
func (l *ledger) unsettled() (purges []*purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.purges {
		if p.counted == nil {
			purges = append(purges, p)
		}
	}
	return purges
}
