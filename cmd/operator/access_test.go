// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// account is the service account of the operator in config/.
var account = rbacv1.Subject{Kind: "ServiceAccount", Namespace: "cachewright-system", Name: "cachewright-controller-manager"}

// The user that docs/operations.md creates for the operator in Redis.
const redisUser, redisPassword = "cachewright", "secret"

// The operator does all its work as each tree of config/ installs it, with the permissions of that
// tree only. The audit log of the API server proves two things:
//
// The permissions suffice: nothing was refused.
//
// They are minimal. RBAC only adds up, so a request is served as long as one grant allows it. Each
// grant, a verb on a resource by one role, is the only one that allows some request. Without it
// that request would be refused, and this test would fail.
func TestRolesSufficeAndAreMinimal(t *testing.T) {
	t.Run("for all namespaces", func(t *testing.T) {
		on := newCluster(t)
		on.kubectl(t, "apply", "--server-side", "-k", on.config("default"))
		shop := on.namespace(t, "shop")
		on.create(t, purgeOf(shop, fromBefore))
		metrics := operatortest.FreeAddress(t)
		operator := on.operate(t, "--metrics-bind-address="+metrics)
		want(t, "https://"+metrics+"/metrics", scraperToken(t, on), http.StatusOK, "cachewright_store_up")
		on.playEverything(t, shop)
		operator.endInPeace(t)
		on.wantMinimalGrants(t)
	})
	t.Run("for some namespaces", func(t *testing.T) {
		on := newCluster(t)
		on.kubectl(t, "apply", "--server-side", "-k", on.config("crd"))
		on.kubectl(t, "apply", "--server-side", "-k", on.config("namespaced"))
		shop := on.namespace(t, "shop")
		on.kubectl(t, "apply", "--server-side", "-k", on.config("watched-namespace"), "-n", shop)
		stranger := policyOf(on.namespace(t, "stranger"))
		on.create(t, stranger)

		watched := []string{account.Namespace, shop}
		for _, namespace := range watched {
			on.create(t, purgeOf(namespace, fromBefore))
		}
		operator := on.operate(t, "--metrics-bind-address=0", "--watch-namespaces="+strings.Join(watched, ","))
		for _, namespace := range watched {
			on.playEverything(t, namespace)
		}
		operator.endInPeace(t)

		for r := range on.wantMinimalGrants(t) {
			if !slices.Contains(watched, r.namespace) {
				t.Errorf("it asked for %s, which is none of its namespaces", r)
			}
		}
		on.get(t, stranger)
		if len(stranger.Status.Conditions) > 0 || len(stranger.Finalizers) > 0 {
			t.Errorf("it touched a policy of a namespace that is not its own: %+v", stranger)
		}
	})
}

// A namespace without permissions, from the start or later, stops no other.
func TestANamespaceThatLetsNobodyInStopsNoOther(t *testing.T) {
	on := newCluster(t)
	on.kubectl(t, "apply", "--server-side", "-k", on.config("crd"))
	on.kubectl(t, "apply", "--server-side", "-k", on.config("namespaced"))
	grant := func(verb, namespace string) {
		on.kubectl(t, verb, "-k", on.config("watched-namespace"), "-n", namespace)
	}
	shop, shut, later := on.namespace(t, "shop"), on.namespace(t, "shut"), on.namespace(t, "later")
	grant("create", shop)
	grant("create", later)
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)
	serves := func(namespace, name string) {
		t.Helper()
		policy := policyOf(namespace)
		policy.Name, policy.Spec.Module = name, name
		on.create(t, policy)
		g.Eventually(on.isReady).WithArguments(t.Context(), policy).Should(gomega.BeTrue(), namespace+"/"+name)
	}
	metrics := operatortest.FreeAddress(t)
	run := func() *process {
		return on.operate(t, "--watch-namespaces="+strings.Join([]string{shop, shut, later}, ","), "--metrics-secure=false", "--metrics-bind-address="+metrics)
	}
	operator := run()

	serves(shop, "at-first")
	serves(later, "at-first")
	want(t, "http://"+metrics+"/metrics", "", http.StatusOK, fmt.Sprintf("cachewright_namespace_accessible{namespace=%q} 0", shut))
	if said := operator.output.String(); !strings.Contains(said, "No access to a watched namespace") {
		t.Error("it does not say that it leaves out a namespace")
	}

	grant("delete", later)
	g.Eventually(operator.output.String).Should(gomega.MatchRegexp(`No access to a watched namespace.*"` + later + `"`))
	serves(shop, "without-later")
	grant("create", later)
	serves(later, "again")

	grant("create", shut)
	code, said := operator.exit(t)
	if code != 1 || !strings.Contains(said, "namespace "+shut+" grants the operator access now") {
		t.Errorf("it ended with %d", code)
	}
	run()
	serves(shut, "at-last")
}

func (c *cluster) config(tree string) string { return filepath.Join(c.root, "config", tree) }

func (c *cluster) kubectl(t *testing.T, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.environment.ControlPlane.KubectlPath, append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

func (c *cluster) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) get(t *testing.T, object client.Object) {
	t.Helper()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
}

// operate runs the operator with the installed account and short intervals.
func (c *cluster) operate(t *testing.T, args ...string) *process {
	t.Helper()
	host, port, err := net.SplitHostPort(c.redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// From an API server that cannot stream a list, as older ones cannot, clients request a list
	// and then a watch.
	older := "KUBE_FEATURE_WatchListClient=false"
	redis := []string{"REDIS_HOST=" + host, "REDIS_PORT=" + port, "REDIS_USERNAME=" + redisUser, "REDIS_PASSWORD=" + redisPassword}
	return start(t, append(redis, older), append(args, "--kubeconfig="+c.accountConfig(t),
		"--health-probe-bind-address=0", "--leader-elect", "--leader-election-namespace="+account.Namespace,
		"--store-check-interval=100ms", "--stats-interval=100ms")...)
}

// accountConfig writes a kubeconfig of the operator's account.
func (c *cluster) accountConfig(t *testing.T) string {
	t.Helper()
	token, err := c.clients.CoreV1().ServiceAccounts(account.Namespace).
		CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	admin := rest.CopyConfig(c.environment.Config)
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "account")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// endInPeace ends the operator as a pod is ended, so that it also releases its lease.
func (p *process) endInPeace(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := p.exit(t); code != 0 {
		t.Errorf("ended with exit status %d after SIGTERM", code)
	}
}

// playEverything makes the operator do everything in a namespace that sends a request to the API
// server.
func (c *cluster) playEverything(t *testing.T, namespace string) {
	t.Helper()
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)
	store := c.storeWithSecret(t, namespace)
	g.Eventually(c.isReady).WithArguments(t.Context(), store).Should(gomega.BeTrue(), "the store")

	policy := policyOf(namespace)
	elsewhere := policyOf(namespace)
	elsewhere.Name, elsewhere.Spec.Module, elsewhere.Spec.StoreRef = "posts", "posts", &v1.StoreReference{Name: store.Name}
	for _, p := range []*v1.CachePolicy{policy, elsewhere} {
		c.create(t, p)
		g.Eventually(c.isReady).WithArguments(t.Context(), p).Should(gomega.BeTrue(), p.Name)
	}
	// The same event twice, about the same version of an object, becomes a series of the first. New
	// statistics in between make another version.
	loseAgain := func() ([]string, error) {
		g.Expect(c.redis.Client().FlushAll(t.Context()).Err()).To(gomega.Succeed())
		g.Eventually(c.inForce).WithArguments(t.Context(), policy).Should(gomega.BeTrue())
		return c.seriesOf(t.Context(), policy)
	}
	g.Eventually(loseAgain).WithPolling(time.Second).Should(gomega.ContainElement("Restored"))

	purge, ofUser := purgeOf(namespace, "purge"), purgeOf(namespace, "purge-of-user")
	ofUser.Spec.StoreRef, ofUser.Spec.Targets = elsewhere.Spec.StoreRef, []v1.InvalidationTarget{{UserID: "u"}}
	purge.Spec.HoldFor = &metav1.Duration{Duration: time.Second}
	c.create(t, purge)
	c.create(t, ofUser)
	for _, p := range []*v1.CacheInvalidation{purge, ofUser, purgeOf(namespace, fromBefore)} {
		g.Eventually(c.isGone).WithArguments(t.Context(), p).Should(gomega.BeTrue(), p.Name)
	}
	for _, object := range []client.Object{store, policy, elsewhere} {
		g.Expect(c.Delete(t.Context(), object)).To(gomega.Succeed())
	}
	for _, object := range []client.Object{policy, elsewhere, store} {
		g.Eventually(c.isGone).WithArguments(t.Context(), object).Should(gomega.BeTrue(), object.GetName())
	}
}

// storeKeys are the keys on docs/operations.md that the operator's user needs for a CacheStore of
// namespace shop.
var storeKeys = regexp.MustCompile("a CacheStore of namespace `shop` needs no keys but\\s+`([^`]+)`")

// userOf creates the user in Redis for the CacheStores of a namespace: the operator's, with the
// keys of the namespace alone.
func (c *cluster) userOf(t *testing.T, namespace string) string {
	t.Helper()
	const page = "../../docs/operations.md"
	found := storeKeys.FindStringSubmatch(readText(t, page))
	if found == nil {
		t.Fatalf("%s does not name the keys of a CacheStore", page)
	}
	name := "operator-of-" + namespace
	replaced := strings.NewReplacer(" "+redisUser+" ", " "+name+" ", "~cw:{*", strings.ReplaceAll(found[1], "{shop", "{"+namespace))
	lines := redistest.ACLOf(t, page, redisUser)
	for i, line := range lines {
		lines[i] = replaced.Replace(line)
	}
	c.redis.ApplyACL(lines)
	return name
}

// storeWithSecret declares the cluster's Redis as a store with a password.
func (c *cluster) storeWithSecret(t *testing.T, namespace string) *v1.CacheStore {
	t.Helper()
	named := metav1.ObjectMeta{Namespace: namespace, Name: "main"}
	c.create(t, &corev1.Secret{ObjectMeta: named, StringData: map[string]string{"username": c.userOf(t, namespace), "password": redisPassword}})
	store := &v1.CacheStore{ObjectMeta: named, Spec: v1.CacheStoreSpec{
		Addresses: []v1.StoreAddress{v1.StoreAddress(c.redis.Addr())}, CredentialsSecretRef: &v1.SecretReference{Name: named.Name},
	}}
	c.create(t, store)
	return store
}

// policyOf is a policy for module users of a namespace.
func policyOf(namespace string) *v1.CachePolicy {
	return &v1.CachePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "users"},
		Spec: v1.CachePolicySpec{
			Module:     "users",
			Operations: []v1.OperationPolicy{{Name: "list", TTL: metav1.Duration{Duration: time.Hour}}},
		},
	}
}

// fromBefore is a purge that exists before the operator starts. A predecessor may have worked on
// it, so the operator reads it live. It need not do so for what is created later.
const fromBefore = "from-before"

// purgeOf is a purge of module users of a namespace. It is deleted once it is done.
func purgeOf(namespace, name string) *v1.CacheInvalidation {
	return &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1.CacheInvalidationSpec{Targets: []v1.InvalidationTarget{{Module: "users"}}, TTLSecondsAfterFinished: new(int32(0))},
	}
}

func (c *cluster) isReady(ctx context.Context, object client.Object) (bool, error) {
	if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return false, err
	}
	switch o := object.(type) {
	case *v1.CachePolicy:
		return meta.IsStatusConditionTrue(o.Status.Conditions, v1.ConditionReady), nil
	case *v1.CacheStore:
		return meta.IsStatusConditionTrue(o.Status.Conditions, v1.ConditionReady), nil
	default:
		return false, errors.New("not a kind that this test waits for")
	}
}

// inForce says whether Redis has the policy.
func (c *cluster) inForce(ctx context.Context, policy *v1.CachePolicy) (bool, error) {
	hashes, err := registry.New(c.redis.Client()).
		PolicyHashes(ctx, []registry.Slot{{Namespace: policy.Namespace, Module: policy.Spec.Module}})
	return err == nil && hashes[0] != "", err
}

func (c *cluster) isGone(ctx context.Context, object client.Object) bool {
	return apierrors.IsNotFound(c.Get(ctx, client.ObjectKeyFromObject(object), object))
}

// seriesOf lists the reasons of events about an object that happened more than once.
func (c *cluster) seriesOf(ctx context.Context, object client.Object) ([]string, error) {
	var list eventsv1.EventList
	err := c.List(ctx, &list, client.InNamespace(object.GetNamespace()))
	var reasons []string
	for _, e := range list.Items {
		if e.Regarding.UID == object.GetUID() && e.Series != nil {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons, err
}

// wantMinimalGrants compares the grants of the operator with its requests, which it returns.
func (c *cluster) wantMinimalGrants(t *testing.T) map[request]bool {
	t.Helper()
	asked, refused := requestsOf(t, c, "system:serviceaccount:"+account.Namespace+":"+account.Name)
	for r := range refused {
		t.Errorf("refused: %s", r)
	}
	needed := map[grant]bool{}
	granted := grantsOf(t, c.clients, account)
	for r := range asked {
		var allowing []grant
		for _, g := range granted {
			if g.allows(r) {
				allowing = append(allowing, g)
			}
		}
		if len(allowing) == 1 {
			needed[allowing[0]] = true
		}
		if r.resource == "secrets" && (r.verb != "get" || !r.named) {
			t.Errorf("it asked for %s: Secrets are read by name only", r)
		}
		if r.resource == "namespaces" && (r.verb != "get" || r.namespace != metav1.NamespaceSystem && r.namespace != account.Namespace) {
			t.Errorf("it asked for %s: of namespaces it reads the one whose UID names the cluster", r)
		}
	}
	for _, g := range granted {
		if !needed[g] {
			t.Errorf("nothing needs %s", g)
		}
	}
	return asked
}
