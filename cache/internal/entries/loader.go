// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"github.com/cachewright/cachewright/cache/internal/source"
)

// loader is the loader of a caller, for one entry or for many.
type loader struct {
	single  source.Load
	several source.Many
}

func (l loader) many() source.Many {
	if l.single != nil {
		return source.One(l.single)
	}
	return l.several
}

// at returns the loader of one entry.
func (l loader) at(at int) source.Load {
	if l.single != nil {
		return l.single
	}
	return l.several.At(at)
}
