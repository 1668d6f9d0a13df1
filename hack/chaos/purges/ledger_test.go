// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// ledger has all purges that were asked for, and holds each against these rules:
//
//   - Nothing is lost. It is Complete in the end, and from when it is first seen to be, no read finds an entry that was
//     there when it was created; after a soft one, none that is fresh.
//   - Nothing is doubled. What is filled from then on stays, and the library counted one invalidation.
//   - The counts are those of the first execution: exactly the entries that were there, once and for all.
//
// Each purge has entries that no other covers.
type ledger struct {
	k8s   client.WithWatch
	cache *registry.Registry
	// store is the CacheStore that purges name; empty: the operator's own.
	store string
	// forgetful: Redis loses entries in between, so that fewer may be counted and fewer stay.
	forgetful bool

	mu       sync.Mutex
	purges   map[string]*purge // by name
	open     int
	findings []string
}

func newLedger(k8s client.WithWatch, cache *registry.Registry) *ledger {
	return &ledger{k8s: k8s, cache: cache, purges: map[string]*purge{}}
}

// purge is one of the ledger.
type purge struct {
	number  int
	kind    kind
	entries int
	soft    bool
	// begun: an operator was seen at work on it.
	begun bool
	// counted is what it reported when it was first seen to be Complete.
	counted *int64
}

// kind is what a purge aims at.
type kind int

const (
	operation kind = iota
	user
	operationOfUser
	kinds
)

const (
	namespace = "shop"
	// modules share the operations: a module may have a thousand.
	modules = 4
	// few entries are freed with the invalidation, many afterwards, in more than one step.
	few, many = 20, 500
	manyEvery = 8
	softEvery = 5
)

func (p *purge) name() string { return fmt.Sprintf("purge-%d", p.number) }

func (p *purge) slot() registry.Slot {
	return registry.Slot{Namespace: namespace, Module: moduleName(p.number % modules)}
}

func moduleName(n int) string { return fmt.Sprintf("items-%d", n) }

func (p *purge) operation() string {
	if p.kind == user {
		return "profile"
	}
	return fmt.Sprintf("op-%d", p.number)
}

func (p *purge) user() string {
	if p.kind == operation {
		return ""
	}
	return fmt.Sprintf("user-%d", p.number)
}

func (p *purge) target() v1.InvalidationTarget {
	target := v1.InvalidationTarget{Module: p.slot().Module, UserID: p.user()}
	if p.kind != user {
		target.Operation = p.operation()
	}
	return target
}

func (p *purge) key(id string) registry.Key {
	return registry.Key{Slot: p.slot(), Operation: p.operation(), User: p.user(), ID: id}
}

func before(i int) string { return fmt.Sprintf("before-%d", i) }

// after is an entry that is filled when the purge is seen to be Complete.
const after = "after"

// prepare fills the entries of a purge.
func (l *ledger) prepare(ctx context.Context, number int) (*purge, error) {
	p := &purge{number: number, kind: kind(number % int(kinds)), entries: 1 + rand.IntN(few), soft: number%softEvery == 0}
	if number%manyEvery == 1 {
		p.entries = many
	}
	for i := range p.entries {
		if err := l.fill(ctx, p.key(before(i))); err != nil {
			return nil, fmt.Errorf("filling for %s: %w", p.name(), err)
		}
	}
	return p, nil
}

// create asks the operator for a purge.
func (l *ledger) create(ctx context.Context, p *purge) error {
	l.mu.Lock()
	l.purges[p.name()] = p
	l.open++
	l.mu.Unlock()
	return l.k8s.Create(ctx, l.objectOf(p))
}

func (l *ledger) objectOf(p *purge) *v1.CacheInvalidation {
	object := &v1.CacheInvalidation{Spec: v1.CacheInvalidationSpec{Targets: []v1.InvalidationTarget{p.target()}, Mode: v1.ModeHard}}
	object.Namespace, object.Name = namespace, p.name()
	if p.soft {
		object.Spec.Mode = v1.ModeSoft
	}
	if l.store != "" {
		object.Spec.StoreRef = &v1.StoreReference{Name: l.store}
	}
	return object
}

// fill stores an entry, as soon as Redis can be used and has the policy.
func (l *ledger) fill(ctx context.Context, key registry.Key) error {
	return eventually(ctx, "fill of "+key.Operation, func(ctx context.Context) error {
		lookup, err := l.cache.Lease(ctx, key)
		if err != nil {
			return err
		}
		filled, err := l.cache.Set(ctx, key, []byte("value"), lookup.Token)
		if err == nil && filled.Outcome != registry.Stored {
			err = fmt.Errorf("it was %s", filled.Outcome)
		}
		return err
	})
}

// follow looks at all purges again and again, until the context ends.
func (l *ledger) follow(ctx context.Context) {
	for ctx.Err() == nil {
		l.look(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
}

// look holds those against the rules that are seen to be Complete for the first time.
func (l *ledger) look(ctx context.Context) {
	list := &v1.CacheInvalidationList{}
	if l.k8s.List(ctx, list, client.InNamespace(namespace)) != nil {
		return // the API server is away
	}
	for i := range list.Items {
		l.note(ctx, &list.Items[i])
	}
}

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
	case v1.StateComplete:
		l.nothingIsLeft(ctx, p)
		if err := l.fill(ctx, p.key(after)); err != nil {
			l.find("%s: %v", p.name(), err)
		}
		l.wasCounted(p, object.Status.KeysInvalidated)
	case v1.StateFailed:
		l.find("%s failed: %v", p.name(), object.Status.Conditions)
		l.wasCounted(p, new(int64(p.entries)))
	}
}

func (l *ledger) nothingIsLeft(ctx context.Context, p *purge) {
	for i := range p.entries {
		err := eventually(ctx, "read", func(ctx context.Context) error {
			isThere, err := l.isThere(ctx, p, i)
			if isThere {
				l.find("%s: lost: it is Complete, and an entry that was there is", p.name())
			}
			return err
		})
		if err != nil {
			l.find("%s: %v", p.name(), err)
		}
	}
}

// nothingIsBack is an error while an entry of before is there.
func (l *ledger) nothingIsBack(ctx context.Context) error {
	for _, p := range l.purges {
		for i := range p.entries {
			if isThere, err := l.isThere(ctx, p, i); err != nil || isThere {
				return fmt.Errorf("an entry of %s is there (%w)", p.name(), err)
			}
		}
	}
	return nil
}

// isThere says whether an entry that the purge covers is read as if it were not purged.
func (l *ledger) isThere(ctx context.Context, p *purge, i int) (bool, error) {
	found, err := l.cache.Read(ctx, p.key(before(i)))
	return err == nil && found.Hit && (!p.soft || !found.Stale), err
}

func (l *ledger) wasCounted(p *purge, keys *int64) {
	if keys == nil {
		keys = new(int64(-1))
	}
	if most := int64(p.entries); *keys > most || *keys < most && !l.forgetful {
		l.find("%s: it counted %d of %d entries", p.name(), *keys, most)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.counted = keys
	l.open--
}

// close waits until all purges are Complete, and holds them against the rules once more.
func (l *ledger) close(ctx context.Context) error {
	if err := l.settle(ctx); err != nil {
		return err
	}
	list := &v1.CacheInvalidationList{}
	if err := l.k8s.List(ctx, list, client.InNamespace(namespace)); err != nil {
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
			return fmt.Errorf("%d are not Complete", open)
		}
		return nil
	})
}

// unfinished returns how many purges are not Complete, and how many of these an operator has begun with.
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
	for n := range modules {
		stats, err := l.cache.Stats(ctx, registry.Slot{Namespace: namespace, Module: moduleName(n)})
		if err != nil {
			return err
		}
		for _, p := range l.purges {
			if p.slot().Module == moduleName(n) && p.kind != user && stats.Operations[p.operation()].Invalidations != 1 {
				l.find("%s: doubled: the library counted %d invalidations", p.name(), stats.Operations[p.operation()].Invalidations)
			}
		}
	}
	for _, p := range l.purges {
		if found, err := l.cache.Read(ctx, p.key(after)); err != nil || !found.Hit || found.Stale {
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

// purgesAsked is how many purges there are.
func (l *ledger) purgesAsked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.purges)
}
