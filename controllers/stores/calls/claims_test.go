// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/cachewright/cachewright/registry"
)

// claimLog answers claims, and remembers which were made.
type claimLog struct {
	Store

	made [][]registry.Claim
	err  error
}

func (l *claimLog) OwnPolicies(_ context.Context, claims []registry.Claim) error {
	l.made = append(l.made, claims)
	return l.err
}

func TestClaimsAreRenewedOnceAnHour(t *testing.T) {
	g := NewWithT(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	log := &claimLog{}
	store := NewClaimingStore(log, clock)
	claims := []registry.Claim{{Slot: registry.Slot{Namespace: "shop", Module: "a"}, Owner: "o"}, {Slot: registry.Slot{Namespace: "shop", Module: "b"}, Owner: "o"}}
	after := func(passed time.Duration) []registry.Claim {
		clock.SetTime(clock.Now().Add(passed))
		log.made = nil
		_ = store.OwnPolicies(t.Context(), claims)
		if len(log.made) == 0 {
			return nil
		}
		return log.made[0]
	}
	g.Expect(after(0)).To(Equal(claims))
	g.Expect(after(claimAge - time.Second)).To(BeEmpty())
	g.Expect(after(time.Second)).To(Equal(claims))

	log.err = registry.SlotErrors{claims[1].Slot: &registry.ContendedError{Slot: claims[1].Slot, Owner: "other"}}
	g.Expect(after(claimAge)).To(Equal(claims))
	g.Expect(after(0)).To(Equal(claims[1:]), "what another has is not held")
}
