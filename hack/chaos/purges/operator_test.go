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
	"github.com/cachewright/cachewright/hack/chaos/internal/kube"
	"github.com/cachewright/cachewright/hack/chaos/internal/scale"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
)

// batch is the number of purges created together: more than the operator's workers.
const batch = 10

// The operator is killed at random moments, just after Redis carried out purges, and while Redis'
// answers are lost.
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
		func() { w.untilCounted(w.ask(batch), timeout) },
		func() {
			prepared := w.prepare(batch)
			w.must(w.settle(t.Context())) // the operator is idle
			network.mute()
			w.create(prepared)
			w.untilCounted(prepared, unanswered)
		},
	}
	kills, unrecorded := scale.FromEnv(t, "CHAOS_KILLS", 6), 0
	for kill := 0; kill < kills || unrecorded == 0 && kill < missesForgiven*kills; kill++ {
		at[kill%len(at)]()
		operator.Kill()
		unrecorded += w.unrecorded()
		network.sever()
		operator = w.operate()
	}
	w.check()
	t.Logf("the kills left %d purges that Redis had counted and no status showed", unrecorded)
	if unrecorded == 0 {
		t.Error("no kill came between a count and its status: the test proves nothing")
	}
}

const (
	// missesForgiven is by how much more disturbances a test may need. On a busy machine, some come
	// too late.
	missesForgiven = 5
	// unanswered is how long purges get to be counted, while Redis' answers are lost.
	unanswered = 3 * time.Second
)

// untilCounted returns as soon as Redis has counted the first purge of an operation. It polls
// without a pause: the operator writes the status within moments.
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

// unrecorded returns how many purges Redis has counted although their status does not say so. It
// requires that no operator runs.
func (w *world) unrecorded() (purges int) {
	w.t.Helper()
	ctx, list := w.t.Context(), &v1.CacheInvalidationList{}
	w.must(w.k8s.List(ctx, list, w.own()))
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

// timesCounted returns how often Redis counted a purge on its first module. The counts of purges of
// users are not separate.
func (l *ledger) timesCounted(ctx context.Context, p *purge) (int64, error) {
	stats, err := l.cache.Stats(ctx, p.slots()[0])
	return stats.Operations[p.operation()].Invalidations, err
}

// A leader is paused, loses its lease to another replica, and resumes.
func TestNoPurgeIsLostOrDoubledWhenALeaderIsHeldUp(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), clientOf(t, server))
	w.begin()
	elect := []string{"--leader-elect", "--leader-election-namespace=" + string(w.shop)}
	leader := w.operate(elect...)
	for range scale.FromEnv(t, "CHAOS_HANDOVERS", 1) {
		w.untilLeads(leader)
		other := w.operate(elect...)
		w.ask(batch)
		w.untilBegun()
		w.must(leader.Pause())
		w.ask(batch)
		w.untilLeads(other)
		w.ask(batch)
		w.must(leader.Resume())
		<-leader.Ended() // it has lost its lease
		leader = other
	}
	w.check()
}

func (w *world) untilLeads(operator *operatortest.Process) {
	w.t.Helper()
	w.must(eventually(w.t.Context(), "lease", func(context.Context) error {
		if !strings.Contains(operator.Output(), "uccessfully acquired lease") {
			return errors.New("it is not the leader")
		}
		return nil
	}))
}

// Others write to purges all the time, which causes conflicts, and the API server restarts now and
// then.
func TestNoPurgeIsLostOrDoubledWhenTheAPIServerRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorldOf(t, kube.Start(t), server.Addr(), clientOf(t, server))
	w.begin()
	operator := w.operate()
	w.meddle()
	for range scale.FromEnv(t, "CHAOS_RESTARTS", 1) {
		w.ask(batch)
		w.untilBegun()
		w.must(w.controlPlane.ControlPlane.APIServer.Stop())
		w.must(w.controlPlane.ControlPlane.APIServer.Start())
	}
	w.ask(batch)
	w.untilConflict()
	w.check()
	select {
	case <-operator.Ended():
		t.Error("the operator ended because of a short outage of the API server")
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
				_ = w.k8s.Patch(ctx, object, client.RawPatch(types.MergePatchType, label)) // it may not exist yet
			}
			time.Sleep(time.Millisecond)
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
}

// untilConflict asks for purges until the API server has refused a write of a status, which proves
// that others wrote in between. On a busy machine, a few purges may not meet anybody.
func (w *world) untilConflict() {
	w.t.Helper()
	w.must(eventually(w.t.Context(), "conflict", func(context.Context) error {
		if conflicts := w.conflicts(); conflicts > 0 {
			w.t.Logf("the API server refused %d writes of a status because of conflicts", conflicts)
			return nil
		}
		w.ask(batch)
		return errors.New("no write of a status met one")
	}))
}

// conflictsOf finds the number of status updates of purges that an API server refused with a
// conflict.
var conflictsOf = regexp.MustCompile(`(?m)^apiserver_request_total\{code="409",.*resource="cacheinvalidations",.*subresource="status",.*\} (\d+)$`)

func (w *world) conflicts() (conflicts int) {
	w.t.Helper()
	clients, err := kubernetes.NewForConfig(w.controlPlane.Config)
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
