// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/hack/chaos/internal/kube"
	"github.com/cachewright/cachewright/hack/chaos/internal/scale"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
	"github.com/cachewright/cachewright/registry"
)

const (
	// mostMemory is the limit for the operator, below the 256 MiB of its manifest.
	mostMemory = 200 << 20
	// enough is the time that a purge or a change of a policy may always take, however fast it is
	// alone. A short run has too few samples for more than this: nobody waits for a store that hangs,
	// which would take seconds.
	enough        = 100 * time.Millisecond
	enoughInShort = 500 * time.Millisecond
)

func TestMain(m *testing.M) { os.Exit(kube.Main(m, 1)) }

// Tenants choose servers that answer anything. The operator keeps running within its memory, and
// other namespaces notice nothing. What it shows of these servers is printable, and their resources
// can be deleted.
func TestHostileStoresHarmNobody(t *testing.T) {
	samples := scale.FromEnv(t, "CHAOS_SAMPLES", 40)
	w := newWorld(t, samples)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-w.operator.Ended(); cancel(errors.New("the operator ended")) }()
	tenant, err := operatortest.NewTenant(ctx, w.k8s, "neighbour", registry.New(w.redis.Client()))
	w.must(err)
	_, err = tenant.Measure(ctx, samples/10) // warm-up
	w.must(err)
	alone, err := tenant.Measure(ctx, samples)
	w.must(err)

	hostiles := w.besideMisbehaving(ctx, tenant, alone, samples)
	deleted := make(chan error, 1)
	go func() { deleted <- hostiles.Delete(ctx) }() // takes a minute, as most stores are unreachable
	w.besideHanging(ctx, tenant, alone, samples)
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	w.checkMemory()
	w.checkWrites()
	w.checkAlive()
}

// world is an API server, the operator, its own Redis, and the Redis behind the hostile servers.
type world struct {
	t               *testing.T
	k8s             client.WithWatch
	redis           *redistest.Server
	hostileUpstream string
	operator        *operatortest.Process
}

func newWorld(t *testing.T, samples int) *world {
	t.Helper()
	w := &world{t: t, redis: redistest.Start(t)}
	upstream := redistest.Start(t, "--maxclients", "4000")
	upstream.AddUser(operatortest.HostileUser, operatortest.HostilePassword, "~*", "&*", "+@all")
	w.hostileUpstream = upstream.Addr()
	controlPlane := kube.Shared(t)
	w.k8s = controlPlane.Client
	w.operator = controlPlane.Operate(t, w.redis.Addr(), intervals(samples)...)
	return w
}

// besideMisbehaving times a neighbour beside servers that answer wrongly, in one call after the
// other. It returns the servers with their resources.
func (w *world) besideMisbehaving(
	ctx context.Context, tenant *operatortest.Tenant, alone operatortest.Latencies, samples int,
) *operatortest.Hostiles {
	w.t.Helper()
	hostiles, err := operatortest.NewHostiles(ctx, w.k8s, "hostile")
	w.must(err)
	w.t.Cleanup(hostiles.Close)
	calls, err := hostiles.Learn(ctx, w.hostileUpstream)
	w.must(err)
	faults := hostile.FaultsOf(calls)
	began := time.Now()
	w.must(hostiles.Add(ctx, w.hostileUpstream, faults, scale.FromEnv(w.t, "CHAOS_STORES", 60)))
	turns := min(scale.FromEnv(w.t, "CHAOS_TURNS", 1), hostiles.Turns())
	var beside operatortest.Latencies
	for range turns + 1 {
		w.awaitAsked(hostiles, samples)
		took, err := tenant.Measure(ctx, max(samples/(turns+1), 1))
		w.must(err)
		beside.Invalidations = append(beside.Invalidations, took.Invalidations...)
		beside.Policies = append(beside.Policies, took.Policies...)
		w.checkTexts(hostiles)
		w.must(hostiles.Rotate(ctx))
	}
	w.t.Logf("%d hostile stores, %d turns, %s", hostiles.Count(), turns+1, time.Since(began).Round(time.Second))
	w.compare("beside stores that misbehave", alone, beside)
	return hostiles
}

// besideHanging times a neighbour beside servers that accept connections and never answer.
func (w *world) besideHanging(ctx context.Context, tenant *operatortest.Tenant, alone operatortest.Latencies, samples int) {
	w.t.Helper()
	hanging, err := operatortest.NewHanging(ctx, w.k8s, "hanging", scale.FromEnv(w.t, "CHAOS_HANGING", 30))
	w.must(err)
	w.t.Cleanup(hanging.Close)
	beside, err := tenant.Measure(ctx, samples)
	w.must(err)
	w.t.Logf("%d connections hang", hanging.Connections())
	w.compare("beside stores that hang", alone, beside)
	if err := hanging.Delete(ctx); err != nil {
		w.t.Error(err)
	}
}

// intervals returns no flags where the 99th percentile counts, so the operator uses its defaults.
// Otherwise it shortens the intervals, so that the operator makes all its calls sooner.
func intervals(samples int) []string {
	if samples >= samplesForP99 {
		return nil
	}
	return []string{"--store-check-interval=1s", "--stats-interval=2s"}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.checkAlive()
		w.t.Fatal(err)
	}
}

// samplesForP99 is enough for a 99th percentile. With fewer, a single slow sample would decide.
const samplesForP99 = 500

// compare compares the latencies of a neighbour with those of the same neighbour alone.
func (w *world) compare(where string, alone, beside operatortest.Latencies) {
	w.t.Helper()
	w.compareOne("purges "+where, alone.Invalidations, beside.Invalidations)
	w.compareOne("changes of policies "+where, alone.Policies, beside.Policies)
}

func (w *world) compareOne(what string, alone, beside []time.Duration) {
	w.t.Helper()
	percent, least := 99, enough
	if min(len(alone), len(beside)) < samplesForP99 {
		percent, least = 50, enoughInShort
	}
	took, usual := operatortest.Percentile(beside, percent), operatortest.Percentile(alone, percent)
	w.t.Logf("%s: p50 %s, p99 %s of %d; alone p50 %s, p99 %s of %d", what,
		operatortest.Percentile(beside, 50), operatortest.Percentile(beside, 99), len(beside),
		operatortest.Percentile(alone, 50), operatortest.Percentile(alone, 99), len(alone))
	if bound := max(3*usual, least); took > bound {
		w.t.Errorf("%s took %s (p%d), more than %s", what, took, percent, bound)
	}
}

// awaitAsked waits until the operator has made the calls in which servers misbehave. Some calls are
// made only after others succeeded. In long runs it also waits until the burst is over in which all
// resources change. Bursts have a test with its own bound.
func (w *world) awaitAsked(hostiles *operatortest.Hostiles, samples int) {
	w.t.Helper()
	timeout, burst := 5*time.Second, time.Duration(0)
	if samples >= samplesForP99 {
		timeout, burst = 40*time.Second, 10*time.Second
	}
	deadline := time.Now().Add(timeout)
	for len(hostiles.Unasked()) > 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Logf("%d servers have not yet received the call in which they misbehave", len(hostiles.Unasked()))
	time.Sleep(burst)
}

// checkMemory checks the operator's peak memory, if the system reports it.
func (w *world) checkMemory() {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.operator.PID()))
	if err != nil {
		w.t.Logf("reading the memory of the operator: %v", err)
		return
	}
	peak := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(status)
	if peak == nil {
		w.t.Fatalf("no VmHWM in:\n%s", status)
	}
	kibibytes, err := strconv.Atoi(string(peak[1]))
	w.must(err)
	w.t.Logf("the operator used up to %d MiB", kibibytes>>10)
	if kibibytes<<10 > mostMemory {
		w.t.Errorf("the operator used up to %d MiB of memory", kibibytes>>10)
	}
}

// refusedWrite matches the log of a write that the API server refused because of a schema rule.
var refusedWrite = regexp.MustCompile(`"error":"(?:[^"\\]|\\.)* is invalid: (?:[^"\\]|\\.)*"`)

// checkWrites fails if the API server refused a write: texts of servers must fit into a status.
func (w *world) checkWrites() {
	w.t.Helper()
	if refused := refusedWrite.FindString(w.operator.Output()); refused != "" {
		w.t.Errorf("the API server refused a write: %s", refused)
	}
}

// checkAlive fails the test if the operator has ended.
func (w *world) checkAlive() {
	w.t.Helper()
	select {
	case <-w.operator.Ended():
		w.t.Error("the operator ended")
	default:
	}
}

// Matches JSON of text that must not reach a terminal or a web page.
var unshowable = regexp.MustCompile(`\\u(00[01][0-9a-f]|007f|00[89][0-9a-f]|fffd)|\x{fffd}|[\x{80}-\x{9f}]`)

// checkTexts checks the texts that people see about hostile stores.
func (w *world) checkTexts(hostiles *operatortest.Hostiles) {
	w.t.Helper()
	texts, err := hostiles.Texts(w.t.Context())
	w.must(err)
	for object, text := range texts {
		if strings.Contains(text, hostile.Canary) {
			w.t.Errorf("%s shows the answer of a foreign service: %s", object, text)
		}
		if at := unshowable.FindStringIndex(text); at != nil {
			w.t.Errorf("%s shows control bytes: %s", object, text[max(0, at[0]-300):min(len(text), at[1]+100)])
		}
	}
}
