// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
)

func TestAServerThatDoesNotSayWhoItIsCanBeUsedAndIsWarnedOf(t *testing.T) {
	renamed := redistest.Start(t, "--rename-command", "INFO", "renamed")
	misbehaving := hostile.Start(t, redistest.Start(t).Addr(), hostile.Standalone, hostile.FaultOf(t, "INFO", "no identity"))
	for name, addr := range map[string]string{
		"INFO renamed":                          renamed.Addr(),
		"INFO without run_id and master_replid": misbehaving.Addr(),
	} {
		t.Run(name, func(t *testing.T) {
			r := operatorOf(t, Connection{Addresses: []string{addr}})
			if _, err := r.Install(t.Context()); err != nil {
				t.Fatal(err)
			}
			health, err := r.Check(t.Context())
			if err != nil || health.LibraryVersion != LibraryVersion {
				t.Fatalf("it is not used: library %d (%v)", health.LibraryVersion, err)
			}
			if got := kinds(health); !strings.Contains(got, "LossUnseen") {
				t.Errorf("warns of %q", got)
			}
			serving, err := r.Serving(t.Context(), health, []Slot{users})
			if err != nil || serving[0] != "" {
				t.Errorf("it is served by %q (%v), which nobody knows", serving, err)
			}
		})
	}
}

// Where nobody notices a loss, no warning promises that somebody does.
func TestNoWarningPromisesThatAnUnseenLossIsDetected(t *testing.T) {
	for anonymous, want := range map[bool]string{false: "which is detected", true: "which stays undetected"} {
		health := Health{Primaries: []Primary{{Addr: "r:6379", AppendOnly: true, Anonymous: anonymous}}}
		warnings := health.Warnings()
		if got := warnings[len(warnings)-1].Message; !strings.Contains(got, want) {
			t.Errorf("anonymous %v: %s", anonymous, got)
		}
	}
}
