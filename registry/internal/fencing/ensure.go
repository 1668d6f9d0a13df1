// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fencing

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/primary"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

const (
	call = "cw_fence"
	// onlyCheck is the argument of a call that changes nothing.
	onlyCheck = "check"
)

// The states of a fence that a call replies.
const (
	stateMissing = int64(-1)
	statePut     = int64(1)
)

// State of the fence of a slot.
type State struct {
	Incarnation info.Incarnation
	// InPlace says that the slot is fenced, and Put that this call did it.
	InPlace, Put bool
}

// incarnationName is what the library makes of two ids. Each may be missing.
var incarnationName = regexp.MustCompile(`^[0-9A-Za-z]{0,64}/[0-9A-Za-z]{0,64}$`)

// Ensure puts the fence of a slot in place, in one call that knows which incarnation it meets.
func (s *Fences) Ensure(ctx context.Context, slot keyspace.Slot) (State, error) {
	return s.call(ctx, slot)
}

// Check says whether a fence is in place.
func (s *Fences) Check(ctx context.Context, slot keyspace.Slot) (State, error) {
	return s.call(ctx, slot, onlyCheck)
}

func (s *Fences) call(ctx context.Context, slot keyspace.Slot, args ...any) (State, error) {
	// A redirection would lead to another server than the one that the caller reads.
	node, err := primary.Of(ctx, s.client, slot)
	if err != nil {
		return State{}, err
	}
	reply, err := s.library.CallBy(ctx, node.Process, call, slot, args)
	switch {
	case errors.Is(err, fault.ErrRejected): // only for that: the arguments are right
		return State{}, fmt.Errorf("%w: %w", primary.ErrAnonymous, err)
	case err != nil:
		return State{}, err
	default:
		return stateOf(slot, reply)
	}
}

func stateOf(slot keyspace.Slot, reply any) (State, error) {
	fields, _ := reply.([]any)
	if len(fields) != 2 {
		return State{}, sloterr.Unexpected(call, slot, reply)
	}
	name, isText := fields[0].(string)
	state, isNumber := fields[1].(int64)
	switch {
	case !isText || !isNumber:
		return State{}, sloterr.Unexpected(call, slot, reply)
	case !incarnationName.MatchString(name) || state < stateMissing || state > statePut:
		return State{}, sloterr.Implausible(call, slot, "no incarnation, or an unknown state")
	}
	return State{
		Incarnation: info.Incarnation(name),
		InPlace:     state != stateMissing, Put: state == statePut,
	}, nil
}
