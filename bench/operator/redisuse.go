// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// inFunctions has the commands that only the function library runs. The operator itself sends none
// of them. What both run, such as EXISTS, counts as sent by the operator.
var inFunctions = func() map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq(`append getrange hdel hexists hget hgetall hincrby hlen hset
		hstrlen lindex llen lpop lrange lrem lset memory|usage mget pexpire pexpireat pexpiretime
		psetex pttl rename rpush set setrange time unlink zadd zcard zcount zpopmin zrange zrem
		zremrangebyrank`) {
		names[name] = true
	}
	return names
}()

// redisUse is what stores were asked for, and what it cost them.
type redisUse struct {
	calls int
	cpu   time.Duration
}

// redisUse adds up all stores.
func (l *lab) redisUse(ctx context.Context) (total redisUse, err error) {
	for _, s := range l.stores {
		info, err := s.redis.Info(ctx, "commandstats", "cpu").Result()
		if err != nil {
			return total, err
		}
		use, err := useIn(info)
		if err != nil {
			return total, fmt.Errorf("reading INFO of %s: %w", s.address, err)
		}
		total.calls += use.calls
		total.cpu += use.cpu
	}
	return total, nil
}

// useIn reads what INFO says.
func useIn(info string) (use redisUse, err error) {
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch command, ofCommand := strings.CutPrefix(name, "cmdstat_"); {
		case ofCommand && !inFunctions[command]:
			count, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			calls, err := strconv.Atoi(count)
			if err != nil {
				return use, err
			}
			use.calls += calls
		case name == "used_cpu_sys" || name == "used_cpu_user":
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return use, err
			}
			use.cpu += time.Duration(seconds * float64(time.Second))
		}
	}
	return use, nil
}

// since makes the row of what was used in a time. The share is that of one core.
func (u redisUse) since(before redisUse, took time.Duration) row {
	return row{
		Name: "idle-redis-calls", OpsPerSec: tenths(float64(u.calls-before.calls) / took.Seconds()),
		CPUPercent: hundredths(100 * (u.cpu - before.cpu).Seconds() / took.Seconds()),
	}
}
