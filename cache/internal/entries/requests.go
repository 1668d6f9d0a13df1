// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import "sync"

// requests are those of one caller. They are used again. Otherwise they would be a large part of
// the garbage of a FetchMany.
type requests []request

// maxPooledRequests is how many requests are kept for the next caller, so that a few large ones do
// not hold memory.
const maxPooledRequests = 256

var pooledRequests = sync.Pool{New: func() any { return new(requests) }}

// newRequests returns empty requests. Release them when nothing uses them any more.
func newRequests(count int) *requests {
	r := pooledRequests.Get().(*requests)
	if cap(*r) < count {
		*r = make(requests, count)
	}
	*r = (*r)[:count]
	return r
}

func (r *requests) release() {
	clear(*r)
	if cap(*r) <= maxPooledRequests {
		pooledRequests.Put(r)
	}
}
