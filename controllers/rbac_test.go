// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Where config/default puts the operator.
const (
	installNamespace = "cachewright-system"
	installAccount   = "cachewright-controller-manager"
)

var _ = Describe("The operator's own account", func() {
	It("may do all that is needed, and no more", func(ctx SpecContext) {
		on := newStage(ctx)
		kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-k", filepath.Join("..", "config", "default"))
		config := accountConfig(ctx)

		o := on.operate(config, on.quick(on.cache), func(options *manager.Options) {
			options.Cache = cache.Options{} // every namespace, as installed
			options.LeaderElection = true
			options.LeaderElectionID = "operator.cachewright.io"
			options.LeaderElectionNamespace = installNamespace
			options.LeaderElectionReleaseOnCancel = true
		})
		policy := usersPolicy()
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		on.fill(ctx, "users", "list", "", 1200)
		purge := purgeOf(v1.InvalidationTarget{Module: "users"})
		purge.Spec.TTLSecondsAfterFinished = new(int32(0))
		on.create(ctx, purge)
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(purge), purge) }).
			Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
		Eventually(on.told(ctx, "users")).Should(ContainElement("Normal Applied"))
		Eventually(on.told(ctx, purge.Name)).Should(ContainElement("Normal Invalidated"))
		lease := &coordinationv1.Lease{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: installNamespace, Name: "operator.cachewright.io"}, lease)).To(Succeed())

		By("being refused what it does not need")
		account, err := client.New(config, client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		Expect(apierrors.IsForbidden(account.List(ctx, &corev1.SecretList{}))).To(BeTrue(), "it may read Secrets")
		Expect(apierrors.IsForbidden(account.Delete(ctx, policy))).To(BeTrue(), "it may delete policies")
		Expect(apierrors.IsForbidden(account.Create(ctx, purge))).To(BeTrue(), "it may purge of its own accord")

		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(policy), policy) }).
			Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
		Eventually(on.told(ctx, "users")).Should(ContainElement("Normal Withdrawn"))
		o.stop()
		Expect(o.logs.String()).NotTo(ContainSubstring("forbidden"))
	})
})

// accountConfig is the configuration of a client that acts as the installed operator.
func accountConfig(ctx SpecContext) *rest.Config {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: installNamespace, Name: installAccount}}
	request := &authenticationv1.TokenRequest{}
	Expect(k8s.SubResource("token").Create(ctx, account, request)).To(Succeed())
	config := rest.AnonymousClientConfig(adminConfig)
	config.BearerToken = request.Status.Token
	return config
}
