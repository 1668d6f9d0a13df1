// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	replicationTimeout = 30 * time.Second
	replicationPoll    = 10 * time.Millisecond
)

// StartReplica runs a replica of a server until the test ends. It returns when the replica has all
// data.
func StartReplica(tb testing.TB, primary *Server, config ...string) *Server {
	tb.Helper()
	config = append([]string{"--replicaof", fmt.Sprintf("%s %d", loopback, primary.launch.port)},
		config...)
	replica := start(tb, launch{dir: tb.TempDir(), tls: primary.launch.tls, config: config})
	replica.wait("is a replica in sync", func(info string) bool {
		return strings.Contains(info, "master_link_status:up")
	})
	return replica
}

// PauseReplication disconnects a primary's replicas. Later writes reach none of them, while
// everything else works. It changes the ACL of the default user, which replicas log in with.
func (s *Server) PauseReplication() {
	s.do("ACL", "SETUSER", "default", "-psync", "-sync")
	s.do("CLIENT", "KILL", "TYPE", "replica")
	s.wait("has no replica", func(info string) bool {
		return strings.Contains(info, "connected_slaves:0")
	})
}

// ResumeReplication lets replicas connect again. SYNC stays forbidden. A replica whose PSYNC was
// refused would try SYNC next, and then never report its offset.
func (s *Server) ResumeReplication() { s.do("ACL", "SETUSER", "default", "+psync") }

// WaitReplicated waits until all writes have reached every connected replica.
func (s *Server) WaitReplicated() {
	s.wait("has replicas that have everything", func(info string) bool {
		offset := field(info, "master_repl_offset")
		return strings.Count(info, ",offset="+offset+",") == strings.Count(info, "state=online") &&
			strings.Contains(info, "state=online")
	})
}

// cutOffFor returns how long ago a replica last heard from its primary.
func (s *Server) cutOffFor() time.Duration {
	client := s.newClient("", "")
	defer func() { _ = client.Close() }()
	seconds, err := strconv.Atoi(field(client.Info(context.Background(), "replication").Val(),
		"master_link_down_since_seconds"))
	if err != nil {
		return 0 // it is connected, or not running
	}
	return time.Duration(seconds+1) * time.Second
}

// wait waits until INFO replication meets a condition.
func (s *Server) wait(what string, done func(info string) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), replicationTimeout)
	defer cancel()
	client := s.newClient("", "")
	defer func() { _ = client.Close() }()
	info := ""
	for ctx.Err() == nil {
		if info = client.Info(ctx, "replication").Val(); done(info) {
			return
		}
		time.Sleep(replicationPoll)
	}
	s.fail(fmt.Errorf("redis-server %s: waited %s until it %s; it says:\n%s", s.Addr(),
		replicationTimeout, what, info))
}

// field returns one field of INFO.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
