// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads_test

import (
	"context"
	"errors"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/internal/redistest"
)

const otherSlot = "cw:{shop/posts}"

var tracks = regexp.MustCompile(` flags=\w*[tP]`)

func connections(t *testing.T, server *redistest.Server) int {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return len(tracks.FindAllString(list, -1))
}

// What goes wrong with one module is none of the others' business.
func TestTrackersShareConnectionsAndNothingElse(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	links := heads.NewLinks(client, oneServer)
	var fails atomic.Bool
	users := heads.New(links, slot, 100, func(context.Context) error {
		if fails.Load() {
			return errors.New("no policy")
		}
		return nil
	})
	posts := heads.New(links, otherSlot, 100, noPolicy)
	do(t, client, "SET", otherSlot+":m", "epoch")
	runTracker(t, users)
	runTracker(t, posts)
	ofUsers, ofPosts := stamped(t, users), stamped(t, posts)
	if got := connections(t, server); got != 2 {
		t.Errorf("there are %d connections, not one that reads and one that gets reports", got)
	}

	fails.Store(true)
	do(t, client, "HSET", slot+":policy", "json", "{}")
	becomes(t, ofUsers, false, "the stamp outlives a policy that cannot be read")
	for range 20 {
		if stamp := users.Stamp("list", "ada", "id"); stamp.Valid(time.Now()) {
			t.Fatal("a stamp is given although the policy cannot be read")
		}
		if !ofPosts.Valid(time.Now()) {
			t.Fatal("the other module's stamp ended, too")
		}
		time.Sleep(time.Millisecond) // meanwhile it tries again
	}
	do(t, client, "DEL", otherSlot+":m")
	becomes(t, ofPosts, false, "the other module's heads are not followed any more")

	fails.Store(false)
	ofUsers = stamped(t, users)
	do(t, client, "SET", slot+":m", "epoch")
	becomes(t, ofUsers, false, "it outlives the change")
}

func TestConnectionsAreThereWhileAnyTrackerIs(t *testing.T) {
	server := redistest.Start(t)
	links := heads.NewLinks(server.Client(), oneServer)
	stops := map[string]context.CancelFunc{}
	ended := make(chan struct{})
	trackers := map[string]*heads.Tracker{}
	for _, name := range []string{slot, otherSlot} {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		tracker := heads.New(links, name, 100, noPolicy)
		stops[name], trackers[name] = cancel, tracker
		go func() {
			tracker.Run(ctx, func(error) {})
			ended <- struct{}{}
		}()
		stamped(t, tracker)
	}
	stops[slot]()
	<-ended
	stamp := stamped(t, trackers[otherSlot])
	do(t, server.Client(), "SET", otherSlot+":m", "epoch")
	becomes(t, stamp, false, "it outlives the change")
	stops[otherSlot]()
	<-ended
	NewWithT(t).Eventually(func() int { return connections(t, server) }).WithTimeout(waitTimeout).Should(BeZero())
}
