// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"context"
	"io"
	"net"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// What is wrong with a store is said of the store and of all that waits for it.
var _ = DescribeTable("Trouble with a CacheStore",
	func(ctx SpecContext, reason string, declare func(context.Context, *stage) *v1.CacheStore) {
		on := newStage(ctx)
		options := on.quick(on.cache)
		check, err := registry.NewDialCheck(nil)
		Expect(err).NotTo(HaveOccurred())
		options.DialCheck = check
		on.operate(adminConfig, options)
		store := declare(ctx, on)
		on.create(ctx, store)
		on.create(ctx, controllertest.UsersPolicyIn(store.Name))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: store.Name}
		on.create(ctx, invalidation)

		Eventually(on.store(ctx, store.Name)).Should(beReady("False " + reason))
		Eventually(on.policy(ctx, "users")).Should(beReady("False " + reason))
		Eventually(on.invalidation(ctx, invalidation)).Should(beReady("False " + reason))
	},
	Entry("its Secret is missing", v1.ReasonStoreSecretInvalid, func(_ context.Context, on *stage) *v1.CacheStore {
		store := controllertest.StoreTo("main", on.server.Addr())
		store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "nowhere"}
		return store
	}),
	Entry("it wants a password", v1.ReasonStoreUnauthorized, func(ctx context.Context, _ *stage) *v1.CacheStore {
		guarded := newStage(ctx)
		Expect(guarded.redis.ConfigSet(ctx, "requirepass", "correct-horse").Err()).To(Succeed())
		return controllertest.StoreTo("main", guarded.server.Addr())
	}),
	Entry("it is too old", v1.ReasonStoreUnsupported, func(_ context.Context, on *stage) *v1.CacheStore {
		return controllertest.StoreTo("main", aged(on.server.Addr()))
	}),
	Entry("its address is not allowed", v1.ReasonStoreAddressNotAllowed, func(context.Context, *stage) *v1.CacheStore {
		return controllertest.StoreTo("main", "169.254.169.254:80")
	}),
)

// A server that does not say which state of its data it holds is used, and its users can read what
// that means.
var _ = It("A CacheStore whose server does not know INFO is Ready, and AtRisk", func(ctx SpecContext) {
	on := newStage(ctx)
	on.operate(adminConfig, on.quick(on.cache))
	on.create(ctx, controllertest.StoreTo("main", redistest.Start(GinkgoTB(), "--rename-command", "INFO", "renamed").Addr()))
	on.create(ctx, controllertest.UsersPolicyIn("main"))

	Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
	Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
	Eventually(func(g Gomega) string {
		return controllertest.Condition(on.store(ctx, "main")(g).Status.Conditions, v1.ConditionAtRisk)
	}).Should(Equal("True LossUnseen"))
})

// A store whose user may not call INFO says so, and where to allow it.
var _ = It("A CacheStore whose user lacks INFO says what to allow", func(ctx SpecContext) {
	on := newStage(ctx)
	on.operate(adminConfig, on.quick(on.cache))
	on.server.AddUser("mute", "secret", "~*", "+@all", "-info")
	on.create(ctx, secret("mute", map[string]string{"username": "mute", "password": "secret"}))
	store := controllertest.StoreTo("main", on.server.Addr())
	store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "mute"}
	on.create(ctx, store)

	Eventually(on.store(ctx, "main")).Should(beReady("False StoreUnauthorized"))
	Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).To(And(ContainSubstring("'info'"), ContainSubstring("Extend the ACL")))
})

// A store of another kind than it is declared to be says so, and what to change.
var _ = It("A CacheStore that is misdeclared says what to change", func(ctx SpecContext) {
	on := newStage(ctx)
	on.operate(adminConfig, on.quick(on.cache))
	sentinel := v1.StoreAddress(redistest.StartSentinel(GinkgoTB(), 1, 1).Addrs()[0])
	server := v1.StoreAddress(on.server.Addr())
	for name, test := range map[string]struct {
		spec v1.CacheStoreSpec
		says string
	}{
		"no-cluster":     {v1.CacheStoreSpec{Mode: v1.StoreCluster, Addresses: []v1.StoreAddress{server}}, "set spec.mode: Standalone"},
		"no-sentinel":    {v1.CacheStoreSpec{Mode: v1.StoreSentinel, MasterName: "main", Addresses: []v1.StoreAddress{server}}, "it is no Sentinel"},
		"no-such-master": {v1.CacheStoreSpec{Mode: v1.StoreSentinel, MasterName: "mine", Addresses: []v1.StoreAddress{sentinel}}, "correct spec.masterName"},
		"a-sentinel":     {v1.CacheStoreSpec{Addresses: []v1.StoreAddress{sentinel}}, "is a Sentinel"},
		"no-such-db":     {v1.CacheStoreSpec{DB: 99, Addresses: []v1.StoreAddress{server}}, "correct spec.db"},
	} {
		on.create(ctx, &v1.CacheStore{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: test.spec})
		Eventually(func(g Gomega) string {
			ready := status.Ready(on.store(ctx, name)(g).Status.Conditions)
			g.Expect(ready).NotTo(BeNil())
			return ready.Message
		}).Should(And(ContainSubstring("CacheStore "+name), ContainSubstring(test.says)))
	}
})

// aged is the address of a server that says that it is Redis 6, and is the one given otherwise.
func aged(address string) string {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(listener.Close)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(client, address)
		}
	}()
	return listener.Addr().String()
}

func relay(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(agingWriter{client}, server)
}

// agingWriter writes what it is given, as of Redis 6; replies are written in one piece.
type agingWriter struct{ io.Writer }

func (w agingWriter) Write(reply []byte) (int, error) {
	for _, version := range []string{"7", "8", "9"} {
		reply = bytes.ReplaceAll(reply, []byte("redis_version:"+version), []byte("redis_version:6"))
	}
	return w.Writer.Write(reply)
}
