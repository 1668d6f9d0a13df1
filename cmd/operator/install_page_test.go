// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
)

const deployment, releaseJob = "cachewright-controller-manager", "cachewright-release-finalizers"

// The lines of docs/install.md work in their order, with the released manifests. An upgrade leaves
// policies in force and finishes purges. After the operator was removed, all policies of a namespace
// can be deleted.
func TestTheInstallPageWorksInItsOrder(t *testing.T) {
	on := newCluster(t)
	on.dropNamespace(t, account.Namespace)
	// Nobody here deletes what was in a namespace.
	former := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: releaseJob}}
	if err := on.Delete(t.Context(), former, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	tag := allMatches(`newTag: (.*)`, readText(t, "../../config/image/kustomization.yaml"))[0]
	page := &installPage{cluster: on, text: readText(t, "../../docs/install.md"), tag: tag, released: on.released(t, tag)}
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)

	page.follow(t, "Install", "v0.0.1")
	operator := on.operate(t, "--metrics-bind-address=0")
	shop := on.namespace(t, "shop")
	on.fill(t, shop)
	policy := policyOf(shop)
	on.create(t, policy)
	g.Eventually(on.isReady).WithArguments(t.Context(), policy).Should(gomega.BeTrue())
	before := *meta.FindStatusCondition(policy.Status.Conditions, v1.ConditionReady)

	page.follow(t, "Upgrade", page.tag)
	operator.endInPeace(t)
	purge := purgeOf(shop, "meanwhile")
	on.create(t, purge)
	operator = on.operate(t, "--metrics-bind-address=0")
	g.Eventually(on.isGone).WithArguments(t.Context(), purge).Should(gomega.BeTrue())
	on.get(t, policy)
	if after := meta.FindStatusCondition(policy.Status.Conditions, v1.ConditionReady); *after != before {
		t.Errorf("the upgrade turned %+v into %+v", before, after)
	}

	page.follow(t, "Remove the operator and keep the resources", page.tag)
	operator.exit(t)
	if all, waiting := on.held(t, shop); all < 20 || waiting > 0 {
		t.Errorf("%d resources are kept, and %d wait for the operator", all, waiting)
	}
	if found, err := on.inForce(t.Context(), policy); err != nil || !found {
		t.Errorf("the policy is in Redis: %t, %v", found, err)
	}
	for _, kind := range []string{"cpol", "cinv", "cstore"} {
		on.kubectl(t, "delete", kind, "--all", "-n", shop, "--timeout=60s")
	}
	on.create(t, policyOf(on.namespace(t, "other")))
	deletion := regexp.MustCompile("`(kubectl delete crd [^`]+)`").FindStringSubmatch(page.text)
	on.follow(t, deletion[1])
}

// installPage is docs/install.md, and the tag of its release. Its files, and those of an older one,
// are in folders by tag.
type installPage struct {
	*cluster
	text, tag, released string
}

// download is where a release is on the page.
var download = regexp.MustCompile(`https://github\.com/cachewright/cachewright/releases/download/(v[0-9.]+)/`)

// follow runs the lines below a heading with the files of a version. It plays the controllers of
// Deployments and Jobs.
func (p *installPage) follow(t *testing.T, heading, version string) {
	t.Helper()
	found := regexp.MustCompile("(?s)\n## " + heading + "\n.*?```sh\n(.*?)```").FindStringSubmatch(p.text)
	if found == nil {
		t.Fatalf("the page has no lines below %s", heading)
	}
	for line := range strings.Lines(found[1]) {
		if named := download.FindStringSubmatch(line); len(named) > 1 && named[1] != p.tag {
			t.Errorf("below %s is %s, want version %s", heading, line, p.tag)
		}
		switch {
		case strings.Contains(line, " rollout status "):
			p.rollOut(t, version)
		case strings.Contains(line, " wait "):
			p.finish(t)
		}
		p.cluster.follow(t, strings.TrimSpace(download.ReplaceAllString(line, p.released+"/"+version+"/")))
	}
}

// released gathers two releases, each in a folder of its own, as make does.
func (c *cluster) released(t *testing.T, tag string) string {
	t.Helper()
	folder := t.TempDir()
	for version, flags := range map[string][]string{tag: nil, "v0.0.1": {"IMG=ghcr.io/cachewright/cachewright:v0.0.1"}} {
		args := append([]string{"-C", c.root, "--silent", "build-installer", "DIST=" + filepath.Join(folder, version)}, flags...)
		command := exec.CommandContext(t.Context(), "make", args...)
		command.Env = append(os.Environ(), "MAKEFLAGS=", "MAKEOVERRIDES=")
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("make build-installer: %v\n%s", err, output)
		}
	}
	return folder
}

// rollOut tells what a controller would, and wants the image of a version.
func (p *installPage) rollOut(t *testing.T, version string) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: deployment}}
	p.get(t, d)
	if image := d.Spec.Template.Spec.Containers[0].Image; image != "ghcr.io/cachewright/cachewright:"+version {
		t.Errorf("the release of %s runs the image %s", version, image)
	}
	d.Status = kubetest.RolledOut(d)
	if err := p.Status().Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// finish runs the Job that releases finalizers.
func (p *installPage) finish(t *testing.T) {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: releaseJob}}
	p.get(t, job)
	pod := job.Spec.Template.Spec
	if pod.ServiceAccountName != account.Name {
		t.Errorf("the Job has the account %s", pod.ServiceAccountName)
	}
	admitted := &corev1.Pod{ObjectMeta: job.Spec.Template.ObjectMeta, Spec: pod}
	admitted.Namespace, admitted.Name = account.Namespace, "job"
	if err := p.Create(t.Context(), admitted, client.DryRunAll); err != nil {
		t.Errorf("its pod is refused: %v", err)
	}
	config := "--kubeconfig=" + p.accountConfig(t)
	if code, _ := start(t, nil, append(pod.Containers[0].Args, config, "--leader-election-namespace="+account.Namespace)...).exit(t); code != 0 {
		t.Errorf("the Job ended with %d", code)
	}
	job.Status = kubetest.Completed()
	if err := p.Status().Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

// dropNamespace deletes a namespace at once.
func (p *plane) dropNamespace(t *testing.T, name string) {
	t.Helper()
	gomega.NewWithT(t).Eventually(func() error {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.IgnoreNotFound(p.Delete(t.Context(), namespace)); err != nil {
			return err
		}
		p.finalize(t, name)
		return p.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace)
	}, timeout).Should(gomega.MatchError(gomega.ContainSubstring("not found")))
}
