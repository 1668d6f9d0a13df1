// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/internal/redistest"
)

// behindTLS are the servers of a store that wants a client certificate.
type behindTLS struct {
	spec               v1.CacheStoreSpec
	servers, sentinels []*redistest.Server
}

func standaloneTLS(certificates *redistest.Certificates) behindTLS {
	server := redistest.StartTLS(GinkgoTB(), certificates)
	return behindTLS{spec: controllertest.StoreTo("main", server.Addr()).Spec, servers: []*redistest.Server{server}}
}

func sentinelTLS(certificates *redistest.Certificates) behindTLS {
	group := redistest.StartSentinelTLS(GinkgoTB(), certificates, 1, 1)
	return behindTLS{
		spec: v1.CacheStoreSpec{
			Mode: v1.StoreSentinel, MasterName: redistest.MasterName, Addresses: addressesOf(group.Addrs()...),
		},
		servers: group.Servers(), sentinels: group.Sentinels(),
	}
}

func clusterTLS(certificates *redistest.Certificates) behindTLS {
	cluster := redistest.StartClusterTLS(GinkgoTB(), certificates, 3)
	return behindTLS{
		spec:    v1.CacheStoreSpec{Mode: v1.StoreCluster, Addresses: addressesOf(cluster.Addrs()[0])},
		servers: cluster.Servers(),
	}
}

func contentOf(file string) string {
	GinkgoHelper()
	bytes, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	return string(bytes)
}

func clientCertificate(certificates *redistest.Certificates) *corev1.Secret {
	GinkgoHelper()
	return secret("redis-client", map[string]string{
		"tls.crt": contentOf(certificates.ClientCertFile), "tls.key": contentOf(certificates.ClientKeyFile),
	})
}

var _ = Describe("CacheStore behind TLS", func() {
	var on *stage
	var operator *operator
	var certificates *redistest.Certificates

	BeforeEach(func(ctx SpecContext) {
		on = newStage(ctx)
		operator = on.operate(adminConfig, on.quick(nil))
		certificates = redistest.NewCertificates(GinkgoTB())
	})

	// use has a policy in force in a store.
	use := func(ctx context.Context, spec v1.CacheStoreSpec) *v1.CacheStore {
		GinkgoHelper()
		on.create(ctx, secret("redis-ca", map[string]string{"ca.crt": contentOf(certificates.CAFile)}))
		on.create(ctx, clientCertificate(certificates))
		store := controllertest.StoreTo("main", "")
		store.Spec = spec
		store.Spec.TLS = &v1.StoreTLS{
			CASecretRef:                &v1.SecretReference{Name: "redis-ca"},
			ClientCertificateSecretRef: &v1.SecretReference{Name: "redis-client"},
			ServerName:                 redistest.ServerName,
		}
		on.create(ctx, store)
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		return store
	}

	DescribeTable("is reached with a client certificate, and with another without a restart",
		func(ctx SpecContext, start func(*redistest.Certificates) behindTLS) {
			redis := start(certificates)
			use(ctx, redis.spec)
			on.invalidated(ctx, "users")

			By("refusing the certificate")
			certificates.RenewClient(redis.servers, redis.sentinels)
			Eventually(on.store(ctx, "main")).Should(beReady("False StoreUnreachable"))
			refused := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
			refused.Spec.StoreRef = &v1.StoreReference{Name: "main"}
			on.create(ctx, refused)

			By("giving the operator one that is accepted")
			given := clientCertificate(certificates)
			given.Namespace = on.namespace
			Expect(k8s.Update(ctx, given)).To(Succeed())
			Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
			Eventually(on.invalidation(ctx, refused)).Should(beIn(v1.StateComplete))
			on.invalidated(ctx, "users")
			Expect(operator.logs.String()).To(ContainSubstring("Reconnected, as Secrets or the resource changed"))
		},
		Entry("Standalone", standaloneTLS),
		Entry("Sentinel", sentinelTLS),
		Entry("Cluster", clusterTLS),
	)

	It("is not reached where its servers show another name", func(ctx SpecContext) {
		store := use(ctx, standaloneTLS(certificates).spec)
		on.patch(ctx, store, `{"spec":{"tls":{"serverName":"elsewhere.test"}}}`)
		Eventually(on.store(ctx, "main")).Should(beReady("False StoreUnreachable"))
		Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).To(ContainSubstring("elsewhere.test"))
	})
})
