// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package info parses replies to INFO. It trusts no server: a reply may lack sections, repeat
// fields, and contain any bytes.
package info

import (
	"strconv"
	"strings"
	"time"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

const (
	// MaxReplicas of a primary are read.
	MaxReplicas = 1024
	// maxBytes of a reply are read: many times what Redis sends.
	maxBytes = 1 << 20
	// maxValue bounds a value. Longer ones are clipped.
	maxValue = 256
	// maxSeconds bounds durations, so that computing with them cannot overflow.
	maxSeconds = 100 * 365 * 24 * 60 * 60
)

// Fields are the values of the fields that are used, by name. Of repeated fields, the first counts.
type Fields map[string]string

var used = map[string]bool{
	"redis_version": true, "redis_mode": true, "run_id": true, "uptime_in_seconds": true,
	"role": true, "connected_slaves": true, "master_replid": true, "master_replid2": true,
	"master_repl_offset": true,
	"used_memory":        true, "mem_not_counted_for_evict": true, "maxmemory": true,
	"maxmemory_policy": true,
	"evicted_keys":     true, "aof_enabled": true, "rdb_saves": true,
	"rdb_last_load_keys_loaded": true,
}

// Parse reads a reply.
func Parse(text string) Fields {
	fields := Fields{}
	for line := range strings.SplitSeq(text[:min(len(text), maxBytes)], "\n") {
		name, value, found := strings.Cut(line, ":")
		if _, known := fields[name]; !found || known || !used[name] && !isReplica(name) {
			continue
		}
		fields[strings.Clone(name)] = fault.Printable(strings.TrimSuffix(value, "\r"), maxValue)
	}
	return fields
}

// isReplica says whether a field describes a replica: slave0 and so on.
func isReplica(name string) bool {
	digits, found := strings.CutPrefix(name, "slave")
	if !found {
		return false
	}
	n, err := strconv.Atoi(digits)
	return err == nil && n >= 0 && n < MaxReplicas && strconv.Itoa(n) == digits
}

// Number returns a field that is a number from 0 to maximum. It returns 0 if the field is missing,
// as in some versions, or not a number.
func (f Fields) Number(name string, maximum int64) int64 { return Number(f[name], maximum) }

// Number parses a number from 0 to maximum.
func Number(text string, maximum int64) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return max(0, min(n, maximum))
}

// Seconds returns a field that is a number of seconds.
func (f Fields) Seconds(name string) time.Duration { return Seconds(f[name]) }

// Seconds parses a number of seconds.
func Seconds(
	text string,
) time.Duration {
	return time.Duration(Number(text, maxSeconds)) * time.Second
}

// Replicas returns the fields of each connected replica, for example
// ip=127.0.0.1,port=6380,state=online,offset=42,lag=0.
func (f Fields) Replicas() []Fields {
	var replicas []Fields
	for i := range f.Number("connected_slaves", MaxReplicas) {
		line, found := f["slave"+strconv.FormatInt(i, 10)]
		if !found {
			break
		}
		replica := Fields{}
		for field := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(field, "=")
			replica[name] = value
		}
		replicas = append(replicas, replica)
	}
	return replicas
}
