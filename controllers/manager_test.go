// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// logBook keeps what an operator logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = GinkgoWriter.Write(line)
	return l.text.Write(line)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// operator is a running manager with our controllers.
type operator struct {
	logs     *logBook
	registry *prometheus.Registry
	stop     func()
}

// quick are the options of specs: intervals that make a spec fast.
func (s *stage) quick(store calls.Store) Options {
	return Options{
		Store: store, StoreAddress: s.server.Addr(), Cluster: ourCluster,
		StoreCheckInterval: 50 * time.Millisecond, StatsInterval: 200 * time.Millisecond, reclaimSlice: 5 * time.Millisecond,
		replayMargin: time.Millisecond,
	}
}

// operate runs an operator until the spec ends or it is stopped. It serves the stage's
// namespace only, unless change says otherwise.
func (s *stage) operate(config *rest.Config, options Options, change ...func(*manager.Options)) *operator {
	GinkgoHelper()
	o := &operator{logs: &logBook{}, registry: prometheus.NewRegistry()}
	managerOptions := manager.Options{
		Scheme:     scheme,
		Logger:     zap.New(zap.UseDevMode(true), zap.WriteTo(o.logs)),
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}},
		Client:     client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
		// Each operator would ask for all kinds of the API server.
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return k8s.RESTMapper(), nil },
	}
	for _, c := range change {
		c(&managerOptions)
	}
	mgr, err := manager.New(config, managerOptions)
	Expect(err).NotTo(HaveOccurred())
	options.Registerer = o.registry
	Expect(Setup(mgr, options)).To(Succeed())

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		Eventually(ended).Should(Receive(BeNil()))
	})
	DeferCleanup(o.stop)
	return o
}

// Eventually-able views of an object.

func (s *stage) policy(ctx context.Context, name string) func(Gomega) *v1.CachePolicy {
	return func(g Gomega) *v1.CachePolicy {
		policy := &v1.CachePolicy{}
		g.Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, policy)).To(Succeed())
		return policy
	}
}

func (s *stage) invalidation(ctx context.Context, invalidation *v1.CacheInvalidation) func(Gomega) *v1.CacheInvalidation {
	return func(g Gomega) *v1.CacheInvalidation {
		fresh := &v1.CacheInvalidation{}
		g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(invalidation), fresh)).To(Succeed())
		return fresh
	}
}

func beReady(want string) OmegaMatcher {
	return WithTransform(func(obj client.Object) string {
		c := controllertest.ConditionedOf(obj)
		if c.ObservedGeneration != c.Generation {
			return fmt.Sprintf("generation %d not observed", c.Generation)
		}
		return controllertest.Ready(c.Conditions)
	}, Equal(want))
}

func beIn(state v1.InvalidationState) OmegaMatcher {
	return HaveField("Status.State", state)
}

// eventsOf returns the reasons of the events about an object.
func (s *stage) eventsOf(ctx context.Context, name string) func(Gomega) []string {
	return func(g Gomega) []string {
		list := &eventsv1.EventList{}
		g.Expect(k8s.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
		var reasons []string
		for _, e := range list.Items {
			if e.Regarding.Name == name {
				reasons = append(reasons, e.Type+" "+e.Reason)
			}
		}
		return reasons
	}
}

var _ = Describe("The operator", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) { on = newStage(ctx) })

	It("plays the main story", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)

		By("putting the policy in force")
		kubectl(ctx, "wait", "--for=condition=Ready", "cpol/users", "-n", on.namespace, "--timeout=60s")
		on.fill(ctx, "users", "list", "", 5)
		on.fill(ctx, "users", "list", "u1", 5)

		By("obeying a changed TTL at the next fill")
		policy = change(ctx, policy, func(p *v1.CachePolicy) {
			p.Spec.Operations[1].TTL = controllertest.Minutes(1)
		})
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		lease, err := on.cache.Lease(ctx, registry.Key{Slot: on.slot("users"), Operation: "list", ID: "new"})
		Expect(err).NotTo(HaveOccurred())
		filled, err := on.cache.Set(ctx, registry.Key{Slot: on.slot("users"), Operation: "list", ID: "new"}, nil, lease.Token)
		Expect(err).NotTo(HaveOccurred())
		Expect(filled.TTL).To(Equal(time.Minute))

		By("purging one user and nobody else")
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{UserID: "u1"})
		on.create(ctx, invalidation)
		kubectl(ctx, "wait", "--for=condition=Complete", "cinv/"+invalidation.Name, "-n", on.namespace, "--timeout=60s")
		Expect(*current(ctx, invalidation).Status.KeysInvalidated).To(BeEquivalentTo(5))
		Expect(on.cached(ctx, "users", "list", "u1", 5)).To(BeZero())
		Expect(on.cached(ctx, "users", "list", "", 5)).To(Equal(5))

		By("showing statistics")
		Eventually(on.policy(ctx, "users")).Should(HaveField("Status.Stats.Keys", BeEquivalentTo(6)))
		Eventually(on.eventsOf(ctx, "users")).Should(ContainElement("Normal Applied"))
		Eventually(on.eventsOf(ctx, invalidation.Name)).Should(ConsistOf("Normal Invalidated"))

		By("withdrawing the policy with its resource")
		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(policy), policy) }).
			Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
		Expect(on.cached(ctx, "users", "list", "", 5)).To(BeZero())
	})

	It("reaches modules whose policy was retained, though Redis evicted the list of modules", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		retained := controllertest.UsersPolicy()
		retained.Name, retained.Spec.Module, retained.Spec.DeletionPolicy = "retained", "retained", v1.DeletionRetain
		on.create(ctx, controllertest.UsersPolicy())
		on.create(ctx, retained)
		Eventually(on.policy(ctx, "retained")).Should(beReady("True Applied"))
		on.fill(ctx, "retained", "list", "u1", 5)
		Expect(k8s.Delete(ctx, retained)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(retained), retained) }).Should(beGone())

		Expect(on.redis.Del(ctx, "cw:{"+on.namespace+"}:modules").Val()).To(BeEquivalentTo(1))
		// A probe that still knew the policy may write its module, too.
		Eventually(func() ([]string, error) {
			modules, err := on.cache.Modules(ctx, on.namespace)
			if slices.Contains(modules, "retained") {
				on.redis.Del(ctx, "cw:{"+on.namespace+"}:modules")
			}
			return modules, err
		}).Should(ConsistOf("users"), "not written again")
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{UserID: "u1"})
		on.create(ctx, invalidation)

		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		Expect(on.cached(ctx, "retained", "list", "u1", 5)).To(BeZero())
	})

	It("counts policies that are not ready, and of purges that are pending, while they are", func(ctx SpecContext) {
		operator := on.operate(adminConfig, on.quick(nil))
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, invalidation)
		names := []string{"cachewright_policies_not_ready", "cachewright_pending_invalidations", "cachewright_oldest_pending_invalidation_seconds"}
		for _, name := range names {
			Eventually(operator.series).WithArguments(name, "").ShouldNot(BeEmpty(), name)
		}

		on.create(ctx, controllertest.StoreTo("main", on.server.Addr()))

		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		for _, name := range names {
			Eventually(operator.series).WithArguments(name, "").Should(BeEmpty(), name)
		}
	})

	It("begins the counters of a namespace at 0 where it finds all policies in place", func(ctx SpecContext) {
		first := on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		first.stop()

		restarted := on.operate(adminConfig, on.quick(on.cache))
		Eventually(restarted.series).WithArguments("cachewright_invalidations_total", "").Should(Equal("0"))
	})

	It("forgets a namespace in which there is nothing any more", func(ctx SpecContext) {
		operator := on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		shown := func() string {
			families, err := operator.registry.Gather()
			Expect(err).NotTo(HaveOccurred())
			return fmt.Sprint(families)
		}
		Eventually(shown).Should(ContainSubstring("cachewright_invalidations_total"))

		By("deleting what was there")
		Expect(k8s.Delete(ctx, invalidation)).To(Succeed())
		Consistently(shown, 5*on.quick(on.cache).StatsInterval).Should(ContainSubstring("cachewright_invalidations_total"))
		Expect(k8s.Delete(ctx, on.policy(ctx, "users")(Default))).To(Succeed())

		Eventually(shown).ShouldNot(ContainSubstring(on.namespace))
	})

	It("obeys the TTL of a purge from when no GitOps tool manages it", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.TTLSecondsAfterFinished = new(int32(0))
		invalidation.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps"}
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))

		on.patch(ctx, invalidation, `{"metadata":{"labels":null}}`)

		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(invalidation), &v1.CacheInvalidation{}) }).Should(beGone())
	})

	It("makes the samples ready and complete", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))

		kubectl(ctx, "apply", "-k", filepath.Join("..", "config", "samples"), "-n", on.namespace)

		kubectl(ctx, "wait", "--for=condition=Ready", "cpol", "--all", "-n", on.namespace, "--timeout=60s")
		kubectl(ctx, "apply", "-k", filepath.Join("..", "config", "samples", "purges"), "-n", on.namespace)
		kubectl(ctx, "wait", "--for=condition=Complete", "cinv", "--all", "-n", on.namespace, "--timeout=60s")
		Expect(on.cache.Modules(ctx, on.namespace)).To(ConsistOf("auth", "posts", "users"))
	})

	It("goes on when Redis is killed and comes back empty", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		on.server.Kill()
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreUnreachable"))
		Expect(status.Ready(on.policy(ctx, "users")(Default).Status.Conditions).Message).To(ContainSubstring(on.server.Addr()))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(And(beIn(v1.StatePending), beReady("False StoreUnreachable")))

		on.server.Restart()
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		on.fill(ctx, "users", "list", "", 1)
		Eventually(on.eventsOf(ctx, "users")).Should(ContainElements("Warning StoreUnreachable", "Warning Restored"))
	})

	It("repairs Redis after FLUSHALL, and a list of modules that was evicted", func(ctx SpecContext) {
		options := on.quick(on.cache)
		options.StatsInterval = time.Hour // the sweep alone must find out
		on.operate(adminConfig, options)
		for _, module := range []string{"users", "posts"} {
			policy := controllertest.UsersPolicy()
			policy.Name, policy.Spec.Module = module, module
			on.create(ctx, policy)
			Eventually(on.policy(ctx, module)).Should(beReady("True Applied"))
		}
		hashes := func() ([]string, error) {
			return on.cache.PolicyHashes(ctx, []registry.Slot{on.slot("users"), on.slot("posts")})
		}

		Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())
		Eventually(hashes).Should(HaveEach(Not(BeEmpty())))

		Expect(on.redis.Del(ctx, "cw:{"+on.namespace+"}:modules").Err()).To(Succeed())
		Eventually(func() ([]string, error) { return on.cache.Modules(ctx, on.namespace) }).Should(ConsistOf("posts", "users"))

		Expect(on.redis.FunctionFlush(ctx).Err()).To(Succeed())
		Eventually(func() (registry.Health, error) { return on.cache.Check(ctx) }).
			Should(HaveField("LibraryVersion", registry.LibraryVersion))
	})

	It("says that the password is wrong, and never says it", func(ctx SpecContext) {
		const right, wrong = "correct-horse", "battery-staple"
		Expect(on.redis.ConfigSet(ctx, "requirepass", right).Err()).To(Succeed())
		wrongClient := redis.NewClient(&redis.Options{
			Addr: on.server.Addr(), Password: wrong,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		DeferCleanup(wrongClient.Close)
		o := on.operate(adminConfig, on.quick(registry.New(wrongClient)))
		on.create(ctx, controllertest.UsersPolicy())

		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreUnauthorized"))
		policy := on.policy(ctx, "users")(Default)
		Expect(status.Ready(policy.Status.Conditions).Message).To(And(ContainSubstring("REDIS_PASSWORD"), ContainSubstring(on.server.Addr())))
		Eventually(on.eventsOf(ctx, "users")).Should(ConsistOf("Warning StoreUnauthorized"))

		By("correcting the ACL at the server")
		admin := redis.NewClient(&redis.Options{Addr: on.server.Addr(), Password: right})
		DeferCleanup(admin.Close)
		Expect(admin.ConfigSet(ctx, "requirepass", wrong).Err()).To(Succeed())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		o.stop()
		Expect(o.logs.String()).To(ContainSubstring("WRONGPASS"))
		Expect(o.logs.String()).NotTo(ContainSubstring(wrong))
	})

	It("stalls on a Redis that is too old, and goes on once it is replaced", func(ctx SpecContext) {
		store := controllertest.NewBrittleStore(on.cache)
		store.FailBefore("Check", controllertest.ErrOld)
		on.operate(adminConfig, on.quick(store))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreUnsupported"))
		Expect(controllertest.Condition(on.policy(ctx, "users")(Default).Status.Conditions, v1.ConditionStalled)).To(Equal("True StoreUnsupported"))

		store.FailBefore("Check", nil)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
	})

	It("writes nothing at rest", func(ctx SpecContext) {
		store := controllertest.NewBrittleStore(on.cache)
		on.operate(adminConfig, on.quick(store))
		on.create(ctx, controllertest.UsersPolicy())
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		// Entries, and one read of their statistics.
		on.fill(ctx, "users", "list", "", 20)
		Eventually(on.policy(ctx, "users")).Should(HaveField("Status.Stats.Keys", BeEquivalentTo(20)))
		policyBefore, purgeBefore := on.policy(ctx, "users")(Default), current(ctx, invalidation)

		reads, checks := store.Count("StatsOf"), store.Count("Check")
		Eventually(func() int { return store.Count("StatsOf") - reads }).Should(BeNumerically(">=", 5))
		Eventually(func() int { return store.Count("Check") - checks }).Should(BeNumerically(">=", 20))

		Expect(on.policy(ctx, "users")(Default).ResourceVersion).To(Equal(policyBefore.ResourceVersion))
		Expect(current(ctx, invalidation).ResourceVersion).To(Equal(purgeBefore.ResourceVersion))
	})

	It("purges a user with 5,000 entries and leaves the others", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		on.fill(ctx, "users", "getById", "heavy", 5000)
		on.fill(ctx, "users", "getById", "light", 50)
		on.fill(ctx, "users", "getById", "", 50)

		invalidation := controllertest.Invalidation(v1.InvalidationTarget{UserID: "heavy"})
		on.create(ctx, invalidation)

		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		Expect(*current(ctx, invalidation).Status.KeysInvalidated).To(BeEquivalentTo(5000))
		Expect(*current(ctx, invalidation).Status.KeysReclaimed).To(BeEquivalentTo(5000))
		Expect(on.cached(ctx, "users", "getById", "heavy", 5000)).To(BeZero())
		Expect(on.cached(ctx, "users", "getById", "light", 50)).To(Equal(50))
		Expect(on.cached(ctx, "users", "getById", "", 50)).To(Equal(50))
	})

	It("purges a module of 20,000 keys at once, and shows how it frees the memory", func(ctx SpecContext) {
		options := on.quick(on.cache)
		options.StatsInterval = time.Hour // the purge alone must reclaim
		o := on.operate(adminConfig, options)
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		on.fill(ctx, "users", "list", "", 20000)

		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, invalidation)

		Eventually(on.invalidation(ctx, invalidation)).Should(HaveField("Status.EffectiveTime", Not(BeNil())))
		Expect(on.cached(ctx, "users", "list", "", 100)).To(BeZero())
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		Expect(*current(ctx, invalidation).Status.KeysReclaimed).To(BeEquivalentTo(20000))
		Eventually(func() int { return on.seen.versionsOf(invalidation.Name) }).Should(BeNumerically(">=", 4), "no progress was seen")
		Eventually(o.series).WithArguments("cachewright_invalidated_keys_total", "").Should(Equal("20000"))
	})

	It("deletes a purge that asks for it", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.TTLSecondsAfterFinished = new(int32(0))
		on.create(ctx, invalidation)

		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(invalidation), invalidation) }).
			Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
	})

	It("promotes a policy when the one that governs goes", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		older, younger := controllertest.UsersPolicy(), controllertest.UsersPolicy()
		older.Name, younger.Name = "a-users", "b-users"
		on.create(ctx, older)
		on.create(ctx, younger)
		Eventually(on.policy(ctx, "a-users")).Should(beReady("True Applied"))
		Eventually(on.policy(ctx, "b-users")).Should(beReady("False Conflicted"))

		Expect(k8s.Delete(ctx, older)).To(Succeed())

		Eventually(on.policy(ctx, "b-users")).Should(beReady("True Applied"))
	})

	It("takes up, after a pause, what happened meanwhile, and doubles nothing", func(ctx SpecContext) {
		first := on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		done := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, done)
		Eventually(on.invalidation(ctx, done)).Should(beIn(v1.StateComplete))
		doneBefore := current(ctx, done)
		first.stop()

		Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())
		missed := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, missed)
		late := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		late.Spec.ActiveDeadlineSeconds = new(int64(1))
		on.create(ctx, late)
		Eventually(time.Now).Should(BeTemporally(">", late.CreationTimestamp.Add(time.Second)))

		store := controllertest.NewBrittleStore(on.cache)
		on.operate(adminConfig, on.quick(store))

		Eventually(on.invalidation(ctx, missed)).Should(beIn(v1.StateComplete))
		Eventually(on.invalidation(ctx, late)).Should(beIn(v1.StateFailed))
		Eventually(func() ([]string, error) { return on.cache.PolicyHashes(ctx, []registry.Slot{on.slot("users")}) }).
			Should(HaveEach(Not(BeEmpty())))
		Expect(store.Count("Invalidate")).To(Equal(1))
		Expect(current(ctx, done).ResourceVersion).To(Equal(doneBefore.ResourceVersion))
	})

	It("counts for Prometheus", func(ctx SpecContext) {
		o := on.operate(adminConfig, on.quick(on.cache))
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		on.fill(ctx, "users", "list", "", 7)

		keys := func() string { return o.series("cachewright_operation_keys", "list") }
		Eventually(keys).Should(Equal("7"))
		Expect(o.series("cachewright_store_up", "")).To(Equal("1"))
		families, err := o.registry.Gather()
		Expect(err).NotTo(HaveOccurred())
		Expect(promlint.NewWithMetricFamilies(families).Lint()).To(BeEmpty())

		By("ending the series with their policy")
		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		Eventually(keys).Should(BeEmpty())
	})
})

// series returns the value of the first series of a name, of an operation where one is given;
// empty where there is none.
func (o *operator) series(name, operation string) string {
	GinkgoHelper()
	families, err := o.registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := metric.GetLabel()
			if family.GetName() != name || operation != "" && labels[1].GetValue() != operation && labels[2].GetValue() != operation {
				continue
			}
			if metric.GetCounter() != nil {
				return fmt.Sprint(metric.GetCounter().GetValue())
			}
			return fmt.Sprint(metric.GetGauge().GetValue())
		}
	}
	return ""
}

// kubectl runs kubectl as administrator.
func kubectl(ctx context.Context, args ...string) {
	GinkgoHelper()
	kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, environment.KubeConfig, 0o600)).To(Succeed())
	command := exec.CommandContext(ctx, environment.ControlPlane.KubectlPath, append([]string{"--kubeconfig", kubeconfig}, args...)...)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}
