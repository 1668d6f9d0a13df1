// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
)

// batch is how many purges are asked for at a time: more than the operator carries out at once.
const batch = 10

// However often the operator dies over its work.
func TestNoPurgeIsLostOrDoubledWhenTheOperatorIsKilled(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), server.Client())
	w.begin()
	kills, amidst := often(t, "CHAOS_KILLS", 5), 0
	operator := w.operate()
	for range kills {
		w.ask(batch)
		if rand.IntN(2) == 0 {
			w.untilBegun()
		}
		time.Sleep(rand.N(50 * time.Millisecond))
		operator.Kill()
		if open, _ := w.unfinished(); open > 0 {
			amidst++
		}
		operator = w.operate()
	}
	w.check()
	t.Logf("killed %d times, %d of them before all purges were seen to be Complete", kills, amidst)
	if amidst == 0 {
		t.Error("all purges were Complete whenever the operator was killed: the test shows nothing")
	}
}

// A leader that is held up, by whatever, loses its lease to another, wakes up and goes on.
func TestNoPurgeIsLostOrDoubledWhenALeaderIsHeldUp(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), server.Client())
	w.begin()
	elect := []string{"--leader-elect", "--leader-election-namespace=" + namespace}
	leader := w.operate(elect...)
	for range often(t, "CHAOS_HANDOVERS", 1) {
		w.untilLeads(leader)
		other := w.operate(elect...)
		w.ask(batch)
		w.untilBegun()
		w.must(leader.Pause())
		w.ask(batch)
		w.untilLeads(other)
		w.ask(batch)
		w.must(leader.Resume())
		<-leader.Ended() // it found out
		leader = other
	}
	w.check()
}

func (w *world) untilLeads(operator *operatortest.Process) {
	w.t.Helper()
	w.must(eventually(w.t.Context(), "lease", func(context.Context) error {
		if !strings.Contains(operator.Output(), "uccessfully acquired lease") {
			return errors.New("it does not lead")
		}
		return nil
	}))
}

// Others write to purges all the time, so that the operator's writes meet conflicts, and the API server is away now and
// then.
func TestNoPurgeIsLostOrDoubledWhenTheAPIServerRestarts(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), server.Client())
	w.begin()
	operator := w.operate()
	w.meddle()
	for range often(t, "CHAOS_RESTARTS", 1) {
		w.ask(batch)
		w.untilBegun()
		w.must(w.environment.ControlPlane.APIServer.Stop())
		w.must(w.environment.ControlPlane.APIServer.Start())
	}
	w.ask(batch)
	w.check()
	select {
	case <-operator.Ended():
		t.Error("the operator ended because the API server was away for a moment")
	default:
	}
}

// meddle labels purges until the test ends.
func (w *world) meddle() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			number := rand.IntN(w.purgesAsked() + 1)
			p := &purge{number: number, kind: kindOf(number)}
			object := &v1.CacheInvalidation{}
			object.Namespace, object.Name = p.namespace(), p.name()
			label := []byte(`{"metadata":{"labels":{"meddled":"` + strconv.Itoa(rand.Int()) + `"}}}`)
			_ = w.k8s.Patch(ctx, object, client.RawPatch(types.MergePatchType, label)) // it may not be there
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
}
