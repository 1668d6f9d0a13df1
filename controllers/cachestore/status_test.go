// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachestore

import (
	"testing"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/registry"
)

// What was found of a former Redis says nothing about the one that is declared now.
func TestAStoreWithANewDeclarationIsConnecting(t *testing.T) {
	first := controllertest.MadeStore("a", "127.0.0.1:1")
	last := &stores.ProbeResult{Version: stores.VersionOf(first), Health: controllertest.Healthy("a")}
	for name, test := range map[string]struct {
		store *v1.CacheStore
		want  string
	}{
		"as probed":              {first, "True Connected"},
		"changed":                {controllertest.Changed(first, "127.0.0.1:2"), "False Connecting"},
		"deleted and made again": {controllertest.MadeStore("b", "127.0.0.1:2"), "False Connecting"},
	} {
		status := statusOf(test.store, findings{last: last}, time.Now())
		if got := controllertest.Ready(status.Conditions); got != test.want {
			t.Errorf("%s: Ready is %s, want %s", name, got, test.want)
		}
	}
}

func TestWhatEndangeredAFormerRedisIsNotSaidOfTheNext(t *testing.T) {
	store := controllertest.MadeStore("a", "127.0.0.1:1")
	danger := stores.ProbeResult{Version: stores.VersionOf(store), Health: registry.Health{Version: "7.0.15", Primaries: []registry.Primary{{Addr: "127.0.0.1:1", IsReplica: true}}}}
	status := func(store *v1.CacheStore, last *stores.ProbeResult) string {
		store.Status = statusOf(store, findings{last: last}, time.Now())
		return controllertest.Condition(store.Status.Conditions, v1.ConditionAtRisk)
	}
	if got := status(store, &danger); got != "True NotPrimary" {
		t.Fatal(got)
	}
	if got := status(store, nil); got != "True NotPrimary" {
		t.Errorf("after a start of the operator: %s", got)
	}
	if got := status(controllertest.Changed(store, "127.0.0.1:2"), &danger); got != "absent" {
		t.Errorf("declared again: %s", got)
	}
	down := stores.ProbeResult{Version: stores.VersionOf(store), Err: controllertest.ErrDown, Health: danger.Health}
	if got := status(store, &down); got != "absent" {
		t.Errorf("down: %s", got)
	}
}
