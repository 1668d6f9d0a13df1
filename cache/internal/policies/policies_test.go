// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package policies

import (
	"fmt"
	"testing"
	"time"

	"github.com/cachewright/cachewright/registry"
)

func TestRememberedPoliciesAreBounded(t *testing.T) {
	p := New(nil, nil)
	now := time.Now()
	for i := range 2*maxPolicies + 1 {
		p.remember(fmt.Sprint(i), registry.Policy{}, now)
	}
	if got := len(p.byModule); got == 0 || got > maxPolicies {
		t.Errorf("%d policies are remembered", got)
	}
	if _, known := p.known(fmt.Sprint(2*maxPolicies), now); !known {
		t.Error("the last one is not")
	}
}
