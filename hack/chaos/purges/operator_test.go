// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
)

// batch is how many purges are asked for at a time: more than the operator carries out at once.
const batch = 10

// However often the operator dies over its work: at any point of it, when Redis has just done it, and when Redis has
// done it but the operator was not told.
func TestNoPurgeIsLostOrDoubledWhenTheOperatorIsKilled(t *testing.T) {
	server := redistest.Start(t)
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.begin()
	operator := w.operate()
	at := []func(){
		func() {
			w.ask(batch)
			time.Sleep(rand.N(100 * time.Millisecond))
		},
		func() { w.untilCounted(w.ask(batch), patience) },
		func() {
			prepared := w.prepare(batch)
			w.must(w.settle(t.Context())) // it is there and at rest
			network.mute()
			w.create(prepared)
			w.untilCounted(prepared, away)
		},
	}
	kills, unrecorded := often(t, "CHAOS_KILLS", 6), 0
	for kill := 0; kill < kills || unrecorded == 0 && kill < missesForgiven*kills; kill++ {
		at[kill%len(at)]()
		operator.Kill()
		unrecorded += w.unrecorded()
		network.sever()
		operator = w.operate()
	}
	w.check()
	t.Logf("killed, it left %d purges that Redis had counted and no status told of", unrecorded)
	if unrecorded == 0 {
		t.Error("all that Redis had counted was recorded whenever the operator was killed: the test shows nothing")
	}
}

// missesForgiven: a machine that is very busy lets kills that are aimed come too late.
const missesForgiven = 5

// untilCounted returns as soon as Redis counted the first purge of an operation. It does not rest: there are moments
// until an operator has written the status.
func (w *world) untilCounted(purges []*purge, atMost time.Duration) {
	w.t.Helper()
	p := purges[slices.IndexFunc(purges, func(p *purge) bool { return p.kind == operation })]
	for deadline := time.Now().Add(atMost); time.Now().Before(deadline); {
		times, err := w.timesCounted(w.t.Context(), p)
		w.must(err)
		if times > 0 {
			return
		}
	}
}

// unrecorded is how many purges Redis counted of which no status says so. No operator may be running.
func (w *world) unrecorded() (purges int) {
	w.t.Helper()
	ctx, list := w.t.Context(), &v1.CacheInvalidationList{}
	w.must(w.k8s.List(ctx, list))
	for i := range list.Items {
		p := w.purges[list.Items[i].Name]
		if p == nil || p.kind == user || list.Items[i].Status.EffectiveTime != nil {
			continue
		}
		times, err := w.timesCounted(ctx, p)
		w.must(err)
		if times > 0 {
			purges++
		}
	}
	return purges
}

// timesCounted is how often Redis counted a purge on its first module. Purges of users it does not tell from each other.
func (l *ledger) timesCounted(ctx context.Context, p *purge) (int64, error) {
	stats, err := l.cache.Stats(ctx, p.slots()[0])
	return stats.Operations[p.operation()].Invalidations, err
}

// A leader that is held up, by whatever, loses its lease to another, wakes up and goes on.
func TestNoPurgeIsLostOrDoubledWhenALeaderIsHeldUp(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), clientOf(t, server))
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
	w := newWorld(t, server.Addr(), clientOf(t, server))
	w.begin()
	operator := w.operate()
	w.meddle()
	conflicts := 0
	for range often(t, "CHAOS_RESTARTS", 1) {
		w.ask(batch)
		w.untilBegun()
		conflicts += w.conflicts() // the next API server begins to count anew
		w.must(w.environment.ControlPlane.APIServer.Stop())
		w.must(w.environment.ControlPlane.APIServer.Start())
	}
	w.ask(batch)
	w.check()
	conflicts += w.conflicts()
	t.Logf("the API server refused %d writes of a status for a conflict", conflicts)
	if conflicts == 0 {
		t.Error("nobody's write met a conflict: that others write shows nothing")
	}
	select {
	case <-operator.Ended():
		t.Error("the operator ended because the API server was away for a moment")
	default:
	}
}

// meddle labels purges that are not Complete, until the test ends.
func (w *world) meddle() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, p := range w.unsettled() {
				object := &v1.CacheInvalidation{}
				object.Namespace, object.Name = p.namespace(), p.name()
				label := []byte(`{"metadata":{"labels":{"meddled":"` + strconv.Itoa(rand.Int()) + `"}}}`)
				_ = w.k8s.Patch(ctx, object, client.RawPatch(types.MergePatchType, label)) // it may not be there
			}
			time.Sleep(time.Millisecond)
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
}

// conflictsOf finds in the figures of an API server how many updates of the status of a purge it refused for a conflict.
var conflictsOf = regexp.MustCompile(`(?m)^apiserver_request_total\{code="409",.*resource="cacheinvalidations",.*subresource="status",.*\} (\d+)$`)

func (w *world) conflicts() (conflicts int) {
	w.t.Helper()
	clients, err := kubernetes.NewForConfig(w.environment.Config)
	w.must(err)
	figures, err := clients.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(w.t.Context())
	w.must(err)
	for _, match := range conflictsOf.FindAllSubmatch(figures, -1) {
		n, err := strconv.Atoi(string(match[1]))
		w.must(err)
		conflicts += n
	}
	return conflicts
}
