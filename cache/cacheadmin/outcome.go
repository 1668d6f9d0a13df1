// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import "net/http"

// outcome is what became of a purge. Its text is fixed, as that of a problem is.
type outcome struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

var (
	purged   = outcome{"purged", "Purged: no reader gets what was cached before."}
	softened = outcome{
		"stale",
		"Made stale: readers may get it once more while it is loaded again.",
	}
	unlisted = outcome{
		"unlisted",
		"Purged, but nothing is cached under this name: no policy lists it. Check its spelling.",
	}
	queued = outcome{"queued", "Redis is away. The purge waits in this process until it is back. " +
		"Until then, other processes may serve what was cached before."}
)

var outcomes = []outcome{purged, softened, unlisted, queued}

// code is the status of the answer.
func (o outcome) code() int {
	if o == queued {
		return http.StatusAccepted
	}
	return http.StatusOK
}
