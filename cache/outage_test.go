// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	// outageTimeout lets a slow Redis answer in time, but not in half of the time.
	outageTimeout = 190 * time.Millisecond
	slowness      = 100 * time.Millisecond
	// outageReads is the number of reads in one check of a patient, outageInterval apart.
	outageReads    = 50
	outageInterval = 50 * time.Millisecond
	// outageLooks is the number of checks before a patient fails the test: the machine may be busy.
	outageLooks = 8
)

// trouble is a kind of failure of a Redis.
type trouble struct {
	name    string
	ailment func(addr string) ailment
	dead    bool
	full    bool // for real
	// open says which breaker opens. readable says that cached entries are still served.
	open     func(cache.BreakerFigure) bool
	readable bool
}

func forReads(f cache.BreakerFigure) bool { return !f.Writes && !f.Fills }
func forFills(f cache.BreakerFigure) bool { return f.Fills }

// forAnyWrite: quick loads take no lease, so that a fill may be the first write that fails.
func forAnyWrite(f cache.BreakerFigure) bool { return f.Writes || f.Fills }

func striking(strikes func(string) bool, instead func([]byte) []byte) func(string) ailment {
	return func(string) ailment { return ailment{strikes, instead} }
}

var troubles = []trouble{
	{name: "dead", dead: true, open: forReads},
	{name: "hanging", ailment: striking(isData, never), open: forReads},
	{name: "slow", ailment: striking(isData, late(slowness)), open: forReads},
	{name: "LOADING", ailment: striking(isData, replying("LOADING Redis is loading the dataset in memory")), open: forReads},
	{name: "READONLY", ailment: striking(isWrite, replying("READONLY no writes against a read only replica.")), open: forAnyWrite, readable: true},
	{name: "full", ailment: striking(isFill, unchanged), full: true, open: forFills, readable: true},
	{name: "OOM", ailment: striking(isFill, replying("OOM command not allowed")), open: forFills, readable: true},
	{name: "MOVED to itself", ailment: func(addr string) ailment { return ailment{isData, replying("MOVED 1 " + addr)} }, open: forReads},
	{name: "MOVED to nobody", ailment: striking(isData, replying("MOVED 1 127.0.0.1:1")), open: forReads},
	{name: "healthy"},
}

// manners are the ways to use a Redis.
var manners = map[string][]cache.Option{
	"plain":       nil,
	"half duplex": {cache.WithAutoPipelining(registry.HalfDuplex)},
	"full duplex": {cache.WithAutoPipelining(registry.FullDuplex)},
	"near cache":  {cache.WithNearCache(cache.NearCache{})},
}

// mannersOf returns half of the manners for the nth trouble: those from first on. So two tests share
// all of them. It returns all for troubles that one test alone has, and with CHAOS_FAULTS=all.
func mannersOf(n, first int) []string {
	all := slices.Sorted(maps.Keys(manners))
	if troubles[n].full || troubles[n].open == nil || os.Getenv("CHAOS_FAULTS") == "all" {
		return all
	}
	half := make([]string, len(all)/2)
	for i := range half {
		half[i] = all[(first+n+i)%len(all)]
	}
	return half
}

// witness is an observer that can read the figures of a cache.
type witness struct{ figures func() cache.Figures }

func (w *witness) Watch(_ string, figures func() cache.Figures) func() {
	w.figures = figures
	return func() {}
}

func (w *witness) StartRequest(ctx context.Context, _ cache.Request) (context.Context, func(cache.Outcome, error)) {
	return ctx, func(cache.Outcome, error) {}
}

func (w *witness) StartLoad(ctx context.Context, _, _ string) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (w *witness) StartInvalidation(ctx context.Context, _ cache.Invalidation) (context.Context, func(error)) {
	return ctx, func(error) {}
}
func (w *witness) Filled(context.Context, string, string, cache.Fill)         {}
func (w *witness) Audited(context.Context, string, string, cache.AuditResult) {}

// patient is a cache over a Redis, or over one node of a cluster, that will fail.
type patient struct {
	trouble
	witness

	t       *testing.T
	manner  string
	cache   *cache.Client
	module  string
	through *ailing
	control bool            // it stays healthy: the others are compared with it
	took    []time.Duration // by the reads of the last check
	hits    int             // among them
}

func (p *patient) String() string { return p.name + ", " + p.manner + ", module " + p.module }

// fetch reads an entry, whose load takes no time.
func (p *patient) fetch(params any) (took time.Duration, loaded bool) {
	began := time.Now()
	got, err := cache.Fetch(p.t.Context(), p.cache, cache.Key{Module: p.module, Operation: "get", Params: params}, func(context.Context) (string, error) {
		loaded = true
		return "value", nil
	})
	took = time.Since(began)
	if got != "value" || err != nil {
		p.t.Errorf("%s: got %q, %v", p, got, err)
	}
	return took, loaded
}

// eventually waits for a state, while reading.
func (p *patient) eventually(what string, reached func() bool) {
	for deadline := time.Now().Add(waitTimeout); !reached(); {
		if time.Now().After(deadline) {
			p.t.Errorf("%s: %s", p, what)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *patient) warmUp() {
	p.eventually("nothing is cached", func() bool {
		_, loaded := p.fetch("warm")
		return !loaded
	})
}

func (p *patient) isOpen() bool {
	return slices.ContainsFunc(p.figures().Breakers, func(f cache.BreakerFigure) bool {
		return f.Module == p.module && f.Open && p.open(f)
	})
}

func (p *patient) fallIll(addr string) {
	switch {
	case p.dead:
		p.through.die()
	case p.ailment != nil:
		p.through.fallIll(p.ailment(addr))
	}
}

// worsen reads until the breaker opens. It also reads new entries, because cached ones need only a
// read.
func (p *patient) worsen() {
	if p.open == nil {
		return
	}
	var cold int
	p.eventually("the breaker does not open", func() bool {
		cold++
		p.fetch(fmt.Sprint("cold", cold))
		return p.isOpen()
	})
}

// look reads cached and new entries for some seconds, at intervals.
func (p *patient) look() {
	p.took, p.hits = p.took[:0], 0
	for i := range outageReads / 2 {
		time.Sleep(outageInterval)
		took, loaded := p.fetch("warm")
		p.took = append(p.took, took)
		if !loaded {
			p.hits++
		}
		if p.open == nil {
			continue
		}
		time.Sleep(outageInterval)
		took, loaded = p.fetch(fmt.Sprint("new", i, time.Now()))
		p.took = append(p.took, took)
		if !loaded {
			p.t.Errorf("%s: what was never read before was not loaded", p)
		}
	}
}

func (p *patient) p99() time.Duration {
	slices.Sort(p.took)
	return p.took[len(p.took)*99/100-1]
}

// check returns an error if a read of the last check took longer than most, or fewer than so many
// were hits.
func (p *patient) check(most time.Duration, hits int) error {
	switch {
	case (p.open == nil || p.readable) && p.hits < hits:
		return fmt.Errorf("%s: %d hits, and there should be %d", p, p.hits, hits)
	case p.open != nil && p.p99() > most:
		return fmt.Errorf("%s: 99 of 100 reads took up to %s, and may take %s", p, p.p99(), most)
	default:
		return nil
	}
}

// isLeftAlone reads a lot. It returns an error if Redis was called more often than trials may.
func (p *patient) isLeftAlone() error {
	const burst, trialsAtOnce, retries = 500, 3, 8
	before, began := p.through.struck.Load(), time.Now()
	for i := range burst {
		p.fetch(fmt.Sprint("burst", i, began))
		trials := trialsAtOnce * (1 + int64(time.Since(began)/(500*time.Millisecond)))
		if asked := p.through.struck.Load() - before; asked > retries*trials {
			return fmt.Errorf("%s: Redis was asked %d times by %d reads in %s", p, asked, i, time.Since(began))
		}
	}
	return nil
}

// ward is a group of patients that are checked together, because a check takes seconds.
type ward []*patient

func (w ward) all(do func(*patient)) {
	var group sync.WaitGroup
	for _, p := range w {
		group.Go(func() { do(p) })
	}
	group.Wait()
}

// normal returns how long reads may take, and how many must be hits, by what the healthy patients
// did.
func (w ward) normal() (most time.Duration, hits int) {
	most, hits = time.Millisecond, outageReads
	for _, p := range w {
		if p.control {
			most, hits = max(most, 3*p.p99()), min(hits, p.hits/2)
		}
	}
	return most, hits
}

func (w ward) examine() error {
	w.all((*patient).look)
	most, hits := w.normal()
	var problems []error
	for _, p := range w {
		problems = append(problems, p.check(most, hits))
	}
	return errors.Join(problems...)
}

// staysWell checks that no read of any patient is delayed or fails, however Redis fails.
func (w ward) staysWell(t *testing.T) {
	t.Helper()
	w.all((*patient).worsen)
	var err error
	for range outageLooks {
		if err = w.examine(); err == nil {
			break
		}
		t.Log("looking again:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range w {
		if p.open == nil {
			continue
		}
		if err := p.isLeftAlone(); err != nil {
			t.Error(err)
		}
	}
}

func pipelinedOrNot(manner string) (readTimeout time.Duration, retries int) {
	if manner == "half duplex" || manner == "full duplex" {
		return 200 * time.Millisecond, -1
	}
	return -1, 0
}

func (p *patient) openWith(client redis.UniversalClient) {
	p.cache = newCache(p.t, client, append([]cache.Option{cache.WithTimeout(outageTimeout), cache.WithObserver(&p.witness)}, manners[p.manner]...)...)
}

// However Redis fails, and however it is used: once the breaker is open, Redis is not called, and
// delays no read. No read fails: each loads, or gets what is cached.
func TestSickRedisCostsTheApplicationNothing(t *testing.T) {
	t.Parallel()
	server, full := redistest.Start(t), redistest.Start(t)
	for _, s := range []*redistest.Server{server, full} {
		applyPolicy(t, s.Client(), "users", hour())
	}
	var all ward
	for n, trouble := range troubles {
		upstream := server
		if trouble.full {
			upstream = full
		}
		for _, manner := range mannersOf(n, 0) {
			p := &patient{trouble: trouble, t: t, manner: manner, module: "users", through: startAiling(t, upstream.Addr()), control: trouble.open == nil}
			options := redisOptions(p.through.addr)
			options.ReadTimeout, options.MaxRetries = pipelinedOrNot(manner)
			p.openWith(redis.NewClient(options))
			all = append(all, p)
		}
	}
	all.all((*patient).warmUp)
	if err := full.Client().ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	all.all(func(p *patient) { p.fallIll(p.through.addr) })
	all.staysWell(t)
}

// The same failure of one node of a cluster. Modules on the others are still served from the cache.
func TestSickNodeOfAClusterCostsTheApplicationNothing(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	modules := modulesByNode(t, cluster)
	for _, module := range modules {
		applyPolicy(t, cluster.Client(), module, hour())
	}
	sick := cluster.Addrs()[0]
	var ill, well ward
	for n, trouble := range troubles {
		if trouble.full {
			continue // it would be the same for all others
		}
		for _, manner := range mannersOf(n, len(manners)/2) {
			p := &patient{trouble: trouble, t: t, manner: manner, module: modules[0], through: startAiling(t, sick), control: trouble.open == nil}
			options := &redis.ClusterOptions{
				Addrs: cluster.Addrs()[1:], ContextTimeoutEnabled: true,
				MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
				Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr == sick {
						addr = p.through.addr
					}
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
			}
			options.ReadTimeout, options.MaxRetries = pipelinedOrNot(manner)
			p.openWith(redis.NewClusterClient(options))
			ill = append(ill, p)
			for _, module := range modules[1:] {
				well = append(well, &patient{trouble: troubles[len(troubles)-1], t: t, manner: manner + " beside " + trouble.name, module: module, cache: p.cache})
			}
		}
	}
	all := append(slices.Clone(ill), well...)
	all.all((*patient).warmUp)
	ill.all(func(p *patient) { p.fallIll(sick) })
	all.staysWell(t)
}

// modulesByNode returns a module for each node of a cluster.
func modulesByNode(t *testing.T, cluster *redistest.Cluster) []string {
	t.Helper()
	const slots = 16384
	nodes := len(cluster.Addrs())
	modules := make([]string, nodes)
	for i := 0; slices.Contains(modules, ""); i++ {
		module := fmt.Sprint("module", i)
		slot := cluster.Servers()[0].Client().ClusterKeySlot(t.Context(), "cw:{"+namespace+"/"+module+"}").Val()
		modules[int(slot)*nodes/slots] = module
	}
	return modules
}
