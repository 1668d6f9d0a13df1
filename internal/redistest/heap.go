// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// PeakHeap returns the largest size of objects on the heap, in bytes, during do. It samples every
// millisecond.
func PeakHeap(do func()) uint64 {
	const heap = "/memory/classes/heap/objects:bytes"
	debug.FreeOSMemory()
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var largest uint64
		sample := []metrics.Sample{{Name: heap}}
		for ticker := time.NewTicker(time.Millisecond); ; {
			metrics.Read(sample)
			largest = max(largest, sample[0].Value.Uint64())
			select {
			case <-ticker.C:
			case <-done:
				ticker.Stop()
				peak <- largest
				return
			}
		}
	}()
	do()
	close(done)
	return <-peak
}
