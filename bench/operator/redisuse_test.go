// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

func TestCallsInsideFunctionsAreNotCounted(t *testing.T) {
	use, err := useIn("# CPU\r\nused_cpu_sys:0.25\r\nused_cpu_user:0.5\r\n# Commandstats\r\n" +
		"cmdstat_fcall_ro:calls=7,usec=3\r\ncmdstat_exists:calls=5,usec=3\r\ncmdstat_hget:calls=90,usec=3\r\n")
	if err != nil || use.calls != 12 || use.cpu != 750*time.Millisecond {
		t.Errorf("%+v, %v; want 12 calls and 750 ms", use, err)
	}
}
