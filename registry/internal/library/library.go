// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package library calls the functions of the function library in Redis. It loads the library where
// it is missing.
package library

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/primary"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Source of a function library.
type Source struct {
	Text    string
	Version int
}

var versionLine = regexp.MustCompile(`(?m)^local VERSION = (\d+)$`)

// MustVersion returns the version that a source states.
func MustVersion(source string) int {
	match := versionLine.FindStringSubmatch(source)
	if match == nil {
		panic("registry: cachewright.lua has no line: local VERSION = N")
	}
	version, err := strconv.Atoi(match[1])
	if err != nil {
		panic("registry: cachewright.lua: " + err.Error())
	}
	return version
}

// Library is the function library in all primaries of a Redis. It is safe for concurrent use.
type Library struct {
	client redis.UniversalClient
	source Source

	// installing serialises loading the library, however many calls found it missing.
	installing sync.Mutex
}

// New returns the library of a Redis. It connects to nothing.
func New(client redis.UniversalClient, source Source) *Library {
	return &Library{client: client, source: source}
}

// Client returns the client that all calls go through.
func (l *Library) Client() redis.UniversalClient { return l.client }

// Install ensures that every primary has the library, at this version or a higher one. It returns
// into how many primaries it loaded the library.
func (l *Library) Install(ctx context.Context) (loaded int, err error) {
	var mu sync.Mutex
	err = primary.ForEach(ctx, l.client, func(ctx context.Context, node *redis.Client) error {
		version, err := primary.LibraryVersion(ctx, node)
		if errors.Is(err, fault.ErrUnsupported) {
			_, err = primary.Inspect(ctx, node) // names the version, if it may
		}
		if err != nil || version >= l.source.Version {
			return err
		}
		if err := node.FunctionLoadReplace(ctx, l.source.Text).Err(); err != nil {
			return notLoaded(node.Options().Addr, version, err)
		}
		mu.Lock()
		loaded++
		mu.Unlock()
		return l.requireLoaded(ctx, node)
	})
	return loaded, err
}

// notLoaded says why a node keeps the library of this version; 0: it has none.
func notLoaded(addr string, version int, err error) error {
	err = fault.Classify("loading the function library into "+addr, err)
	if errors.Is(err, fault.ErrForbidden) {
		return fmt.Errorf("%w: it has version %d: %w", fault.ErrLibraryTooOld, version, err)
	}
	return err
}

// requireLoaded checks that a node has the library it accepted. Otherwise callers would load it
// endlessly.
func (l *Library) requireLoaded(ctx context.Context, node *redis.Client) error {
	version, err := primary.LibraryVersion(ctx, node)
	if err == nil && version < l.source.Version {
		return fmt.Errorf("%s accepted version %d of the function library but does not have it: %w",
			node.Options().Addr, l.source.Version, fault.ErrMisbehaves)
	}
	return err
}

// InstallOnce is Install for calls that found a function missing, one at a time.
func (l *Library) InstallOnce(ctx context.Context) error {
	l.installing.Lock()
	defer l.installing.Unlock()
	_, err := l.Install(ctx)
	return err
}

// With makes calls. If a server lacks the library, it loads the library and repeats them.
func (l *Library) With(ctx context.Context, calls func() error) error {
	err := calls()
	if !errors.Is(err, sloterr.ErrNoLibrary) {
		return err
	}
	if err := l.InstallOnce(ctx); err != nil {
		return err
	}
	return calls()
}

// Process sends a command and waits for its reply, as a client does.
type Process func(context.Context, redis.Cmder) error

// Call runs a function of the library on a slot. If the library is missing (a new node, a FUNCTION
// FLUSH), it loads the library first, if the client's user may.
func (l *Library) Call(
	ctx context.Context, function string, slot keyspace.Slot, args ...any,
) (any, error) {
	return l.CallBy(ctx, l.client.Process, function, slot, args)
}

// CallBy is Call that sends its command in another way.
func (l *Library) CallBy(
	ctx context.Context, process Process, function string, slot keyspace.Slot, args []any,
) (any, error) {
	reply, err := fcall(ctx, process, function, slot, args)
	if fault.IsFunctionMissing(err) {
		if err := l.InstallOnce(ctx); err != nil {
			return nil, err
		}
		reply, err = fcall(ctx, process, function, slot, args)
	}
	if fault.IsFunctionMissing(err) { // another library of this version was loaded
		return nil, fmt.Errorf("%w: %w", fault.ErrLibraryTooOld, sloterr.Call(function, slot, err))
	}
	if err != nil {
		return nil, sloterr.Call(function, slot, err)
	}
	return reply, nil
}

func fcall(
	ctx context.Context, process Process, function string, slot keyspace.Slot, args []any,
) (any, error) {
	const keyPosition = 3
	all := make([]any, 0, keyPosition+1+len(args))
	all = append(all, "fcall", function, 1, keyspace.SlotKey(slot))
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(keyPosition)
	if err := process(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}
