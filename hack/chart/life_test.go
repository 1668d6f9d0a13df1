// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/redistest"
)

// A hold lasts longer than these tests, whatever the machine does beside them.
const longHold = 10 * time.Minute

// lifetime is that of a release of the chart, from its installation to its end.
type lifetime struct {
	*plane
	redis        *redistest.Server
	system, shop string // namespaces
}

// installVersion installs the chart as a release of that version packages it.
func installVersion(t *testing.T, version string) *lifetime {
	t.Helper()
	p := newCluster(t)
	redis, host, port := newRedis(t)
	i := &lifetime{plane: p, redis: redis, system: p.namespace(t, "system"), shop: p.namespace(t, "shop")}
	p.helm(t, "install", name, i.packaged(t, version), "-n", i.system, "-f",
		write(t, "redis: {host: %q, port: %s, username: %s, password: %s}", host, port, redisUser, redisPassword))
	return i
}

// packaged returns the archive of a version of the chart.
func (i *lifetime) packaged(t *testing.T, version string) string {
	t.Helper()
	folder := t.TempDir()
	i.helm(t, "package", chartPath, "--version", version, "--app-version", "v"+version, "--destination", folder)
	return filepath.Join(folder, name+"-"+version+".tgz")
}

// policies creates policies for so many modules, and waits until all are in force.
func (i *lifetime) policies(t *testing.T, count int) []*v1.CachePolicy {
	t.Helper()
	policies := make([]*v1.CachePolicy, count)
	for n := range policies {
		policies[n] = policyOf(i.shop, nil)
		policies[n].Name = fmt.Sprintf("module-%d", n)
		policies[n].Spec.Module = policies[n].Name
		i.create(t, policies[n])
	}
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)
	for _, policy := range policies {
		g.Eventually(i.isReady).WithArguments(t.Context(), policy).Should(gomega.BeTrue(), policy.Name)
	}
	return policies
}

// purge creates a purge of a module. It holds it for a time, if that is not zero.
func (i *lifetime) purge(t *testing.T, module string, hold time.Duration) *v1.CacheInvalidation {
	t.Helper()
	purge := purgeOf(i.shop, "purge-"+module, nil)
	purge.Spec.Targets[0].Module = module
	if hold > 0 {
		purge.Spec.HoldFor = &metav1.Duration{Duration: hold}
	}
	i.create(t, purge)
	return purge
}

func (i *lifetime) wantState(t *testing.T, purge *v1.CacheInvalidation, want v1.InvalidationState) {
	t.Helper()
	gomega.NewWithT(t).Eventually(func() (v1.InvalidationState, error) {
		err := i.Get(t.Context(), client.ObjectKeyFromObject(purge), purge)
		return purge.Status.State, err
	}, timeout).Should(gomega.Equal(want), purge.Name)
}

// An upgrade by Helm keeps all policies in force. A purge that waits is completed by the new
// version, and a hold under way goes on.
func TestAnUpgradeLosesNoPolicyAndNoPurge(t *testing.T) {
	i := installVersion(t, "0.0.9")
	old := i.startPod(t, i.system, i.podSpec(t, i.system))
	policies := i.policies(t, 10)
	held := i.purge(t, "module-0", longHold)
	i.wantState(t, held, v1.StateHolding)
	before := conditionsOf(policies)
	for _, policy := range policies {
		fetch(t, i.redis, i.shop, policy.Spec.Module, "before")
	}

	old.Kill()
	waiting := i.purge(t, "module-1", 0)
	i.helm(t, "upgrade", name, i.packaged(t, "0.1.0"), "-n", i.system, "--reset-then-reuse-values")
	spec := i.podSpec(t, i.system)
	if image := spec.Containers[0].Image; !strings.HasSuffix(image, ":v0.1.0") {
		t.Errorf("the new version runs the image %s", image)
	}
	i.startPod(t, i.system, spec)

	i.wantState(t, waiting, v1.StateComplete)
	for n, policy := range policies {
		i.get(t, policy)
		if got := conditionsOf(policies[n : n+1])[0]; got != before[n] {
			t.Errorf("the policy for %s was %+v before the upgrade, and then %+v", policy.Spec.Module, before[n], got)
		}
	}
	i.wantCached(t, map[string]string{"module-0": "after", "module-1": "after", "module-2": "before", "module-9": "before"})
	i.get(t, held)
	if held.Status.State != v1.StateHolding {
		t.Errorf("the hold is %s after the upgrade", held.Status.State)
	}
	if err := i.Delete(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	gomega.NewWithT(t).Eventually(i.isGone, timeout).WithArguments(t, held).Should(gomega.BeTrue(), "the hold ends early")
	fetch(t, i.redis, i.shop, "module-0", "again")
	i.wantCached(t, map[string]string{"module-0": "again"})
}

// conditionsOf returns what each policy says of itself, and since when.
func conditionsOf(policies []*v1.CachePolicy) []metav1.Condition {
	conditions := make([]metav1.Condition, len(policies))
	for i, policy := range policies {
		conditions[i] = *meta.FindStatusCondition(policy.Status.Conditions, v1.ConditionReady)
	}
	return conditions
}

// wantCached compares what applications get by then with the values given.
func (i *lifetime) wantCached(t *testing.T, values map[string]string) {
	t.Helper()
	for module, want := range values {
		if got := fetch(t, i.redis, i.shop, module, "after"); got != want {
			t.Errorf("an application gets %q from %s, want %q", got, module, want)
		}
	}
}

func (i *lifetime) isGone(t *testing.T, object client.Object) bool {
	return apierrors.IsNotFound(i.Get(t.Context(), client.ObjectKeyFromObject(object), object))
}

// After helm uninstall, a namespace full of policies can be deleted: nothing waits for an operator
// that is gone. The resources stay until somebody deletes them.
func TestUninstallingLetsEverythingGo(t *testing.T) {
	i := installVersion(t, "0.1.0")
	i.startPod(t, i.system, i.podSpec(t, i.system))
	policies := i.policies(t, 100)
	held := i.purge(t, "module-0", longHold)
	i.wantState(t, held, v1.StateHolding)

	uninstalled := make(chan error, 1)
	go func() {
		_, err := i.run(t.Context(), "helm", "uninstall", name, "-n", i.system)
		uninstalled <- err
	}()
	i.runHook(t)
	if err := <-uninstalled; err != nil {
		t.Fatal(err)
	}

	for _, policy := range policies {
		i.get(t, policy)
	}
	for _, kind := range []client.Object{&v1.CachePolicy{}, &v1.CacheInvalidation{}} {
		if err := i.DeleteAllOf(t.Context(), kind, client.InNamespace(i.shop)); err != nil {
			t.Fatal(err)
		}
	}
	g := gomega.NewWithT(t)
	for _, object := range append(objects(policies), held) {
		g.Eventually(i.isGone, timeout).WithArguments(t, object).Should(gomega.BeTrue(), object.GetName())
	}
}

func objects(policies []*v1.CachePolicy) []client.Object {
	all := make([]client.Object, len(policies))
	for i, policy := range policies {
		all[i] = policy
	}
	return all
}

// runHook does what the cluster does for the Job that runs before helm uninstall.
func (i *lifetime) runHook(t *testing.T) {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: i.system, Name: name + "-release-finalizers"}}
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)
	g.Eventually(func() error { return i.Get(t.Context(), client.ObjectKeyFromObject(job), job) }).Should(gomega.Succeed())
	process := i.startPod(t, i.system, job.Spec.Template.Spec)
	g.Eventually(process.Ended()).Should(gomega.BeClosed())
	if !strings.Contains(process.Output(), "Released all") {
		t.Fatalf("the Job failed:\n%s", process.Output())
	}
	job.Status = kubetest.Completed()
	if err := i.Status().Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}
