// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/registry"
)

// keyLog notes every key of ours that a client sends to Redis.
type keyLog struct {
	mu   sync.Mutex
	keys []string
}

func (l *keyLog) note(commands ...redis.Cmder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, command := range commands {
		for _, arg := range keyArgs(command.Args()) {
			if text, ok := arg.(string); ok && strings.HasPrefix(text, "cw:") {
				l.keys = append(l.keys, text)
			}
		}
	}
}

// keyArgs leaves away the arguments of functions: text in them is a value, however much like a key
// it looks.
func keyArgs(args []any) []any {
	if name, ok := args[0].(string); ok && strings.HasPrefix(name, "fcall") {
		const firstKey = 3
		return args[firstKey : firstKey+args[firstKey-1].(int)]
	}
	return args
}

func (l *keyLog) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.keys)
}

func (l *keyLog) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *keyLog) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		l.note(command)
		return next(ctx, command)
	}
}

func (l *keyLog) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		l.note(commands...)
		return next(ctx, commands)
	}
}

// Text that would lead elsewhere if any of it were taken for a part of a key.
func hostile(other string) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringN(1, 40, 120),
		rapid.SampledFrom([]string{"}", "{" + other + "}", "{" + other + "/users}", "/" + other, "users}:x", "cw:{" + other + "/users}", "../" + other, "*"}),
	)
}

// arbitraryTarget is any purge that somebody may think of; the API server refuses some.
func arbitraryTarget(t *rapid.T, other string) v1.InvalidationTarget {
	text := func(label string) string {
		return rapid.OneOf(rapid.Just(""), rapid.SampledFrom([]string{"users", "list"}), hostile(other)).Draw(t, label)
	}
	target := v1.InvalidationTarget{Module: text("module"), Operation: text("operation"), UserID: text("userID")}
	if target.Module == "" || rapid.Bool().Draw(t, "a target that is legal but for its text") {
		target.Operation = ""
	}
	target.All = target == v1.InvalidationTarget{} || rapid.IntRange(0, 9).Draw(t, "all") == 0
	return target
}

// arbitraryStoreRef is none, or leads to the store of another namespace if any of it were taken for
// a path.
func arbitraryStoreRef(t *rapid.T, other string) *v1.StoreReference {
	name := rapid.SampledFrom([]string{"", "theirs", other + "/theirs", "../" + other + "/theirs", other}).Draw(t, "storeRef")
	if name == "" || rapid.IntRange(0, 2).Draw(t, "in the operator's own Redis") == 0 {
		return nil
	}
	return &v1.StoreReference{Name: name}
}

func arbitraryPolicy(t *rapid.T, other string) *v1.CachePolicy {
	policy := controllertest.UsersPolicy()
	policy.Name, policy.GenerateName = "", "any-"
	policy.Spec.Module = rapid.OneOf(rapid.StringMatching(`[a-z][a-z._-]{0,8}[a-z]`), hostile(other)).Draw(t, "module")
	policy.Spec.Revision = hostile(other).Draw(t, "revision")
	policy.Spec.Operations[0].Name = rapid.OneOf(rapid.StringMatching(`[a-z][a-z:/._-]{0,8}[a-z]`), hostile(other)).Draw(t, "operation")
	return policy
}

// try makes a number of checks with what rapid draws: some, or with FAIRNESS_SCALE=full as many as
// rapid makes by default.
func try(check func(*rapid.T)) {
	GinkgoHelper()
	checks := flag.Lookup("rapid.checks")
	before := checks.Value.String()
	Expect(checks.Value.Set(strconv.Itoa(scaled(40, 100)))).To(Succeed())
	defer func() { _ = checks.Value.Set(before) }()
	rapid.Check(GinkgoTB(), check)
}

var _ = Describe("A namespace", func() {
	It("reaches nothing of another one, whatever its resources say", func(ctx SpecContext) {
		on := newStage(ctx)
		neighbour := newStage(ctx)
		other := neighbour.namespace
		neighbour.create(ctx, controllertest.StoreTo("theirs", neighbour.server.Addr()))
		keys := &keyLog{}
		watched := redis.NewClient(&redis.Options{
			Addr: on.server.Addr(), MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		DeferCleanup(watched.Close)
		watched.AddHook(keys)
		on.operate(adminConfig, on.quick(registry.New(watched)), ofStages(on, neighbour))
		Eventually(neighbour.store(ctx, "theirs")).Should(beReady("True Connected"))

		var invalidations, astray []*v1.CacheInvalidation
		policies := 0
		enough := HaveEach(BeNumerically(">", 3))
		accepted := func() []int { return []int{policies, len(invalidations), len(astray)} }
		create := func(t *rapid.T) {
			invalidation, policy := controllertest.Invalidation(arbitraryTarget(t, other)), arbitraryPolicy(t, other)
			policy.Namespace, invalidation.Namespace = on.namespace, on.namespace
			policy.Spec.StoreRef, invalidation.Spec.StoreRef = arbitraryStoreRef(t, other), arbitraryStoreRef(t, other)
			if k8s.Create(ctx, policy) == nil {
				policies++
			}
			if k8s.Create(ctx, invalidation) != nil {
				return
			}
			if invalidation.Spec.StoreRef == nil {
				invalidations = append(invalidations, invalidation)
			} else {
				astray = append(astray, invalidation)
			}
		}
		for range 5 { // of few that are drawn, fewer are accepted
			try(create)
			if found, _ := enough.Match(accepted()); found {
				break
			}
		}
		Expect(accepted()).To(enough, "the API server refused nearly all: this tries nothing")
		for _, invalidation := range invalidations {
			Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		}
		for _, invalidation := range astray {
			Eventually(on.invalidation(ctx, invalidation)).Should(beReady("False StoreNotFound"))
		}
		Eventually(func() ([]string, error) { return on.cache.Modules(ctx, on.namespace) }).ShouldNot(BeEmpty())

		own := Or(HavePrefix("cw:{"+on.namespace+"/"), HavePrefix("cw:{"+on.namespace+"}"))
		Expect(keys.seen()).To(And(Not(BeEmpty()), HaveEach(own)))
		Expect(neighbour.redis.Keys(ctx, "*").Val()).To(BeEmpty())
	})

	It("reaches no Secret of another one, and in a store that it declares no key of another", func(ctx SpecContext) {
		on, neighbour := newStage(ctx), newStage(ctx)
		other := neighbour.namespace
		const password = "theirs"
		neighbour.create(ctx, secret("theirs", map[string]string{"password": password}))
		Expect(neighbour.redis.ConfigSet(ctx, "requirepass", password).Err()).To(Succeed())
		options := on.quick(nil)
		options.StoreAddress = "" // it has no Redis of its own
		on.operate(adminConfig, options, ofStages(on, neighbour))
		on.create(ctx, controllertest.StoreTo("main", on.server.Addr()))
		Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))

		accepted := 0
		for i, name := range []string{"theirs", other + "/theirs", "../" + other + "/theirs", other + "%2ftheirs", other + ".theirs"} {
			astray := controllertest.StoreTo(fmt.Sprint("astray-", i), neighbour.server.Addr())
			astray.Namespace = on.namespace
			astray.Spec.CredentialsSecretRef = &v1.SecretReference{Name: name}
			if k8s.Create(ctx, astray) == nil {
				accepted++
				Eventually(on.store(ctx, astray.Name)).Should(beReady("False StoreSecretInvalid"))
			}
		}
		Expect(accepted).To(BeNumerically(">", 0), "the API server refused all: this tries nothing")

		try(func(t *rapid.T) {
			invalidation, policy := controllertest.Invalidation(arbitraryTarget(t, other)), arbitraryPolicy(t, other)
			policy.Namespace, invalidation.Namespace = on.namespace, on.namespace
			policy.Spec.StoreRef, invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}, &v1.StoreReference{Name: "main"}
			_, _ = k8s.Create(ctx, policy), k8s.Create(ctx, invalidation)
		})
		var invalidations v1.CacheInvalidationList
		Expect(k8s.List(ctx, &invalidations, client.InNamespace(on.namespace))).To(Succeed())
		Expect(invalidations.Items).NotTo(BeEmpty())
		for i := range invalidations.Items {
			Eventually(on.invalidation(ctx, &invalidations.Items[i])).Should(beIn(v1.StateComplete))
		}
		Eventually(func() []string { return on.redis.Keys(ctx, "*").Val() }).Should(HaveEach(Or(
			HavePrefix("cw:{"+on.namespace+"/"), HavePrefix("cw:{"+on.namespace+"}"),
		)))
		Expect(on.redis.Keys(ctx, "cw:{*:policy").Val()).NotTo(BeEmpty())
	})
})
