// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strconv"
	"syscall"
	"time"
)

// ownCPU returns the CPU time that this process has used.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // cannot fail with these arguments
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// redisCPU returns the CPU time that the lab's servers have used. Only the measured one is busy.
func (l *lab) redisCPU(ctx context.Context) (time.Duration, error) {
	var total time.Duration
	for _, client := range l.clocks {
		info := client.InfoMap(ctx, "cpu")
		if err := info.Err(); err != nil {
			return 0, err
		}
		for _, item := range []string{"used_cpu_sys", "used_cpu_user"} {
			seconds, err := strconv.ParseFloat(info.Item("CPU", item), 64)
			if err != nil {
				return 0, err
			}
			total += time.Duration(seconds * float64(time.Second))
		}
	}
	return total, nil
}
