// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"fmt"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// shop is the first namespace of a world. No other world uses its namespaces.
type shop string

// purge is one purge of the ledger. No other purge covers its entries.
type purge struct {
	shop    shop
	number  int
	kind    kind
	entries int
	soft    bool
	// begun means that an operator was seen to work on it.
	begun bool
	// fencesBefore and fencesAfter count the fences of its modules: when its entries were filled,
	// and when it was first seen to be Complete.
	fencesBefore, fencesAfter int
	// counted is the number of entries in its status when it was first seen to be Complete.
	counted *int64
}

// kind is the kind of a purge's targets.
type kind int

const (
	operation kind = iota
	user
	operationOfUser
	// wholeModule and wholeNamespace purge modules and namespaces that no other purge uses.
	wholeModule
	severalTargets
	wholeNamespace
	dryRun
	kinds
)

const (
	// modules is the number of modules for the other kinds. They hold the entries of many purges.
	modules = 4
	// wholes is the number of purges that get their own module or namespace. Each of these needs a
	// policy.
	wholes = 4
	// few entries are freed with the invalidation. many are freed afterwards, in several steps.
	few, many = 20, 500
	manyEvery = 8
	softEvery = 5
)

// kindOf distributes the kinds evenly while there are unused modules and namespaces.
func kindOf(number int) kind {
	k := kind(number % int(kinds))
	if (k == wholeModule || k == wholeNamespace) && number/int(kinds) >= wholes {
		return operation
	}
	return k
}

func moduleName(n int) string      { return fmt.Sprintf("items-%d", n%modules) }
func wholeModuleName(n int) string { return fmt.Sprintf("whole-%d", n) }

func (s shop) wholeNamespace(n int) string { return fmt.Sprintf("%s-whole-%d", s, n) }

// namespaces returns all namespaces of the world.
func (s shop) namespaces() []string {
	names := []string{string(s)}
	for n := range wholes {
		names = append(names, s.wholeNamespace(n))
	}
	return names
}

// slot returns the slot of a module in the first namespace.
func (s shop) slot(module string) registry.Slot {
	return registry.Slot{Namespace: string(s), Module: module}
}

// declared returns all slots that have policies.
func (s shop) declared() (slots []registry.Slot) {
	for n := range modules {
		slots = append(slots, s.slot(moduleName(n)))
	}
	for n := range wholes {
		slots = append(slots, s.slot(wholeModuleName(n)))
		slots = append(slots, s.slotsOfWholeNamespace(n)...)
	}
	return slots
}

func (s shop) slotsOfWholeNamespace(n int) []registry.Slot {
	return []registry.Slot{
		{Namespace: s.wholeNamespace(n), Module: moduleName(0)},
		{Namespace: s.wholeNamespace(n), Module: moduleName(1)},
	}
}

func (p *purge) name() string { return fmt.Sprintf("purge-%d", p.number) }

func (p *purge) namespace() string { return p.slots()[0].Namespace }

// slots returns the slots that the purge covers.
func (p *purge) slots() []registry.Slot {
	own := p.number / int(kinds)
	switch p.kind {
	case wholeModule:
		return []registry.Slot{p.shop.slot(wholeModuleName(own))}
	case wholeNamespace:
		return p.shop.slotsOfWholeNamespace(own)
	case severalTargets:
		return []registry.Slot{
			p.shop.slot(moduleName(p.number)), p.shop.slot(moduleName(p.number + 1)),
		}
	default:
		return []registry.Slot{p.shop.slot(moduleName(p.number))}
	}
}

func (p *purge) targets() (targets []v1.InvalidationTarget) {
	if p.kind == wholeNamespace {
		return []v1.InvalidationTarget{{All: true}}
	}
	for _, slot := range p.slots() {
		target := v1.InvalidationTarget{Module: slot.Module, UserID: p.user()}
		if p.kind != user && p.kind != wholeModule {
			target.Operation = p.operation()
		}
		targets = append(targets, target)
	}
	return targets
}

// operation returns the operation of its entries. All purges of users share one.
func (p *purge) operation() string {
	if p.kind == user {
		return "profile"
	}
	return fmt.Sprintf("op-%d", p.number)
}

func (p *purge) user() string {
	if p.kind == user || p.kind == operationOfUser {
		return fmt.Sprintf("user-%d", p.number)
	}
	return ""
}

// times returns how many invalidations the library must count for it.
func (p *purge) times() int64 {
	if p.kind == dryRun {
		return 0
	}
	return 1
}

// before returns an entry that is filled before the purge is created.
func (p *purge) before(i int) registry.Key {
	slots := p.slots()
	return p.key(slots[i%len(slots)], fmt.Sprintf("before-%d", i))
}

// after returns an entry that is filled once the purge is seen to be Complete.
func (p *purge) after() registry.Key { return p.key(p.slots()[0], "after") }

func (p *purge) key(slot registry.Slot, id string) registry.Key {
	return registry.Key{Slot: slot, Operation: p.operation(), User: p.user(), ID: id}
}
