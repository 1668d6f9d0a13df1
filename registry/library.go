// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Library is the source of the function library: the files in lua, which "make library"
// concatenates.
//
//go:embed cachewright.lua
var Library string

// LibraryVersion is the version of Library. A higher version replaces a lower one, never the other
// way round: operators and clients of several versions may share a Redis during an upgrade.
var LibraryVersion = mustVersion(Library)

var versionLine = regexp.MustCompile(`(?m)^local VERSION = (\d+)$`)

func mustVersion(source string) int {
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

// Install ensures that every primary has the library, at this version or a higher one. It returns
// into how many primaries it loaded the library. If it loads nothing, its user needs no permission
// to. It fails with ErrMisbehaves if a server accepts the library but does not have it afterwards.
func (r *Registry) Install(ctx context.Context) (loaded int, err error) {
	var mu sync.Mutex
	err = r.forEachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		version, err := loadedVersion(ctx, node)
		if errors.Is(err, ErrUnsupported) {
			_, err = inspect(ctx, node) // names the version, if it may
		}
		if err != nil || version >= LibraryVersion {
			return err
		}
		if err := node.FunctionLoadReplace(ctx, Library).Err(); err != nil {
			return fault.Classify("loading the function library into "+node.Options().Addr, err)
		}
		mu.Lock()
		loaded++
		mu.Unlock()
		return requireLoaded(ctx, node)
	})
	return loaded, err
}

// requireLoaded checks that a node has the library it accepted. Otherwise callers would load it
// endlessly.
func requireLoaded(ctx context.Context, node *redis.Client) error {
	version, err := loadedVersion(ctx, node)
	if err == nil && version < LibraryVersion {
		return fmt.Errorf("%s accepted version %d of the function library but does not have it: %w",
			node.Options().Addr, LibraryVersion, ErrMisbehaves)
	}
	return err
}

// installOnce is Install for calls that found a function missing, one at a time.
func (r *Registry) installOnce(ctx context.Context) error {
	r.installing.Lock()
	defer r.installing.Unlock()
	_, err := r.Install(ctx)
	return err
}

// withLibrary makes calls. If a server lacks the library, it loads the library and repeats them.
func (r *Registry) withLibrary(ctx context.Context, calls func() error) error {
	err := calls()
	if !errors.Is(err, errNoLibrary) {
		return err
	}
	if err := r.installOnce(ctx); err != nil {
		return err
	}
	return calls()
}

// forEachPrimary runs do on every primary, concurrently in a cluster. A panic becomes an error: in
// a cluster it would be in a goroutine of go-redis, where no caller can recover it.
func (r *Registry) forEachPrimary(
	ctx context.Context, do func(context.Context, *redis.Client) error,
) error {
	fn := func(ctx context.Context, node *redis.Client) error {
		return fault.Contain(func() error { return do(ctx, node) })
	}
	switch client := r.client.(type) {
	case *redis.ClusterClient:
		// The client does not know a restarted or new node until it reads the topology again.
		client.ReloadState(ctx)
		err := client.ForEachMaster(ctx, fn)
		if errors.Is(err, redis.Nil) { // in place of a host
			return fmt.Errorf("%w: CLUSTER SLOTS names nodes without hosts", ErrUnexpected)
		}
		if err != nil {
			return fmt.Errorf("on a primary of the cluster: %w", fault.EnsureClassified(err))
		}
		return nil
	case *redis.Client:
		return fn(ctx, client)
	default:
		return unsupportedClient(client)
	}
}

func unsupportedClient(client redis.UniversalClient) error {
	return fmt.Errorf("%w: a client of type %T: use redis.Client or redis.ClusterClient",
		ErrUnsupported, client)
}

// loadedVersion returns the version of a node's library; 0: none.
func loadedVersion(ctx context.Context, node *redis.Client) (int, error) {
	return versionIn(node.Options().Addr, node.FCallRO(ctx, "cw_version", nil))
}

func versionIn(addr string, reply *redis.Cmd) (int, error) {
	version, err := reply.Int()
	switch {
	case err == nil && version < 0:
		return 0, fmt.Errorf("asking %s for its function library: %w: a negative version", addr,
			ErrUnexpected)
	case err == nil:
		return version, nil
	case fault.IsFunctionMissing(err):
		return 0, nil
	default:
		return 0, fault.Classify("asking "+addr+" for its function library", err)
	}
}
