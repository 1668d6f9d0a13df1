// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	// maxReplicas of a primary that are looked at.
	maxReplicas = 1024
	// maxInfoBytes of INFO are looked at: many times what Redis says.
	maxInfoBytes = 1 << 20
	// maxInfoField bounds a value. Longer ones are clipped.
	maxInfoField = 256
	// maxSeconds bounds times that INFO tells, so that they can be computed with.
	maxSeconds = 100 * 365 * 24 * 60 * 60
)

// info is what a server says of itself: the values of the fields that are read, by name. The text is a stranger's: it need
// have no sections, may repeat fields, and hold any bytes. Of fields that are repeated the first counts.
type info map[string]string

var infoFields = map[string]bool{
	"redis_version": true, "redis_mode": true, "run_id": true, "uptime_in_seconds": true,
	"role": true, "connected_slaves": true, "master_replid": true, "master_replid2": true, "master_repl_offset": true,
	"used_memory": true, "mem_not_counted_for_evict": true, "maxmemory": true, "maxmemory_policy": true,
	"evicted_keys": true, "aof_enabled": true, "rdb_saves": true, "rdb_last_load_keys_loaded": true,
}

func parseInfo(text string) info {
	fields := info{}
	for line := range strings.SplitSeq(text[:min(len(text), maxInfoBytes)], "\n") {
		name, value, found := strings.Cut(line, ":")
		if _, known := fields[name]; !found || known || !infoFields[name] && !isReplicaField(name) {
			continue
		}
		fields[strings.Clone(name)] = printable(strings.TrimSuffix(value, "\r"), maxInfoField)
	}
	return fields
}

// isReplicaField says whether a field tells of a replica that is looked at: slave0 and so on.
func isReplicaField(name string) bool {
	digits, found := strings.CutPrefix(name, "slave")
	if !found {
		return false
	}
	n, err := strconv.Atoi(digits)
	return err == nil && n >= 0 && n < maxReplicas && strconv.Itoa(n) == digits
}

// number returns a field that is a number from 0 to most; 0 where it is absent, which it is in some versions, or no number.
func (f info) number(name string, most int64) int64 { return boundedNumber(f[name], most) }

func (f info) seconds(name string) time.Duration {
	return time.Duration(f.number(name, maxSeconds)) * time.Second
}

func boundedNumber(text string, most int64) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return max(0, min(n, most))
}

// replicas are those that are connected, as the fields slave0 and so on tell. offset is that of the primary.
func (f info) replicas(offset int64) []Replica {
	var replicas []Replica
	for i := range f.number("connected_slaves", maxReplicas) {
		line, found := f[fmt.Sprint("slave", i)]
		if !found {
			break
		}
		replicas = append(replicas, parseReplica(line, offset))
	}
	return replicas
}

// parseReplica reads ip=127.0.0.1,port=6380,state=online,offset=42,lag=0.
func parseReplica(line string, offset int64) Replica {
	fields := map[string]string{}
	for field := range strings.SplitSeq(line, ",") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	return Replica{
		Addr:   fields["ip"] + ":" + fields["port"],
		Online: fields["state"] == "online",
		Lag:    time.Duration(boundedNumber(fields["lag"], maxSeconds)) * time.Second,
		Behind: max(0, offset-boundedNumber(fields["offset"], math.MaxInt64)),
	}
}
