// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Library is the source of the function library.
//
//go:embed cachewright.lua
var Library string

// LibraryVersion is the version of Library. A higher one is loaded over a lower one, never the
// other way round: operators and clients of several versions may share a Redis during an upgrade.
var LibraryVersion = mustVersion(Library)

// minRedisMajor is the first Redis with functions.
const minRedisMajor = 7

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

// Health is what one cheap look at all primaries shows.
type Health struct {
	// Version of the oldest server, for example "7.0.15".
	Version string
	// RunIDs of all primaries, sorted. A changed list means that a server was restarted or replaced.
	RunIDs []string
	// LibraryVersion is the lowest one that is loaded; 0 where a primary has none.
	LibraryVersion int
}

// Check looks at every primary. Its user must be allowed INFO. ErrUnsupported names the version of a server that is too old.
func (r *Registry) Check(ctx context.Context) (Health, error) {
	var mu sync.Mutex
	health := Health{LibraryVersion: -1}
	err := r.forEachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		server, err := inspectServer(ctx, node)
		if err != nil {
			return err
		}
		version, err := loadedVersion(ctx, node)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		health.RunIDs = append(health.RunIDs, server.runID)
		if health.Version == "" || server.olderThan(health.Version) {
			health.Version = server.version
		}
		if health.LibraryVersion < 0 || version < health.LibraryVersion {
			health.LibraryVersion = version
		}
		return nil
	})
	if err != nil {
		return Health{}, err
	}
	slices.Sort(health.RunIDs)
	return health, nil
}

// Install makes sure that every primary has the library, at this version or a higher one, and
// returns how many it was loaded into. Where nothing has to be loaded, its user needs no right to.
func (r *Registry) Install(ctx context.Context) (loaded int, err error) {
	var mu sync.Mutex
	err = r.forEachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		version, err := loadedVersion(ctx, node)
		if errors.Is(err, ErrUnsupported) {
			_, err = inspectServer(ctx, node) // names the version, where it may
		}
		if err != nil || version >= LibraryVersion {
			return err
		}
		if err := node.FunctionLoadReplace(ctx, Library).Err(); err != nil {
			return classified("loading the function library into "+node.Options().Addr, err)
		}
		mu.Lock()
		defer mu.Unlock()
		loaded++
		return nil
	})
	return loaded, err
}

// installOnce is Install for callers that found a function missing, one at a time.
func (r *Registry) installOnce(ctx context.Context) error {
	r.installing.Lock()
	defer r.installing.Unlock()
	_, err := r.Install(ctx)
	return err
}

// forEachPrimary runs fn on every primary, concurrently in a cluster.
func (r *Registry) forEachPrimary(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	switch client := r.client.(type) {
	case *redis.ClusterClient:
		// A restarted or new node is not known until the topology is read again.
		client.ReloadState(ctx)
		if err := client.ForEachMaster(ctx, fn); err != nil {
			return fmt.Errorf("on a primary of the cluster: %w", ensureClassified(err))
		}
		return nil
	case *redis.Client:
		return fn(ctx, client)
	default:
		return fmt.Errorf("%w: a client of type %T: use redis.Client or redis.ClusterClient", ErrUnsupported, client)
	}
}

// server is what INFO says of one.
type server struct {
	version string
	runID   string
}

func (s server) olderThan(version string) bool {
	return slices.Compare(numbers(s.version), numbers(version)) < 0
}

func numbers(version string) []int {
	var ns []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		ns = append(ns, n)
	}
	return ns
}

// inspectServer returns what a node is. It fails with ErrUnsupported where the node has no functions.
func inspectServer(ctx context.Context, node *redis.Client) (server, error) {
	info := node.InfoMap(ctx, "server")
	if err := info.Err(); err != nil {
		return server{}, classified("INFO of "+node.Options().Addr, err)
	}
	s := server{version: info.Item("Server", "redis_version"), runID: info.Item("Server", "run_id")}
	return s, requireFunctions(node.Options().Addr, s)
}

// loadedVersion returns the version of a node's library, 0 for none.
func loadedVersion(ctx context.Context, node *redis.Client) (int, error) {
	version, err := node.FCallRO(ctx, "cw_version", nil).Int()
	switch {
	case err == nil:
		return version, nil
	case isFunctionMissing(err):
		return 0, nil
	default:
		return 0, classified("asking "+node.Options().Addr+" for its function library", err)
	}
}

func requireFunctions(addr string, s server) error {
	if numbers(s.version)[0] >= minRedisMajor {
		return nil
	}
	return fmt.Errorf("%s runs Redis %s: %w: use Redis %d.0 or Valkey 7.2, or later",
		addr, s.version, ErrUnsupported, minRedisMajor)
}
