// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/pages"
)

// followed lists the pages with commands, in an order in which a reader can follow them:
// operations.md creates namespace shop.
var followed = []string{"README.md", "operator.md", "operations.md", "cachepolicy.md", "cachestore.md", "cacheinvalidation.md", "gitops.md"}

// elsewhere lists the pages whose lines another test follows.
var elsewhere = map[string]string{"install.md": "TestTheInstallPageWorksInItsOrder of cmd/operator"}

// notRun lists the lines that this test does not run, with the reason.
var notRun = map[string]string{
	"kubectl delete crd cachepolicies.cachewright.io cacheinvalidations.cachewright.io cachestores.cachewright.io": "the other pages need the CRDs",
	"kubectl delete -f dist/install.yaml --ignore-not-found":                                                       "make build-installer writes that file",
	"kubectl port-forward deployment/redis 6379 >/dev/null &":                                                      "no node runs the Redis",
}

// fragments are parts of commands in running text, without the arguments that would make them
// complete.
var fragments = []string{"kubectl create -f", "kubectl wait --for=condition=Complete"}

// TestDocumentedCommandsWork follows the pages on an empty cluster. It installs by the README, then
// runs every kubectl line of every page. No operator runs there: the test sets everything to ready.
func TestDocumentedCommandsWork(t *testing.T) {
	r := newReader(t)
	r.saveFiles(t, "README.md")
	ran, namespaces := 0, map[string]bool{}
	for _, name := range followed {
		for _, command := range commandsOf(t, name) {
			isThere := strings.HasPrefix(command, "kubectl create namespace ") && namespaces[command]
			if notRun[command] != "" || isThere {
				continue
			}
			namespaces[command] = true
			if output, err := r.run(t, command); err != nil {
				t.Errorf("%s: %s\n%v\n%s", name, command, err, output)
			}
			ran++
		}
		if deploys(commandsOf(t, name)) {
			r.wantImage(t, name)
		}
	}
	if ran < 20 {
		t.Errorf("ran %d commands; the pages show more, so this looks in the wrong place", ran)
	}
}

func TestEveryPageWithCommandsIsFollowed(t *testing.T) {
	var all []string
	for _, path := range allPages(t) {
		name := filepath.Base(path)
		commands := commandsOf(t, name)
		if len(commands) > 0 && !slices.Contains(followed, name) && elsewhere[name] == "" {
			t.Errorf("%s gives commands that nobody runs: %q", name, commands)
		}
		all = append(all, commands...)
	}
	for command := range notRun {
		if !slices.Contains(all, command) {
			t.Errorf("no page gives the command %q", command)
		}
	}
}

// TestTheFirstCommandShowsTheOperatorsEvents runs the first command of operations.md for events.
func TestTheFirstCommandShowsTheOperatorsEvents(t *testing.T) {
	team := namespace(t, "events-")
	for controller, reason := range map[string]string{controllers.EventSource: "OfOurs", "kubelet": "OfOthers"} {
		event := &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: team}, EventTime: metav1.NowMicro(), Type: corev1.EventTypeNormal,
			Reason: reason, Action: "Test", ReportingController: controller, ReportingInstance: "test",
			Regarding: corev1.ObjectReference{Kind: "CachePolicy", Namespace: team, Name: "users"},
		}
		if err := cluster.Create(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range commandsOf(t, "operations.md") {
		if !strings.HasPrefix(command, "kubectl get events ") {
			continue
		}
		shown := kubectl(t, strings.Fields(command)[1:]...)
		if !strings.Contains(shown, "OfOurs") || strings.Contains(shown, "OfOthers") {
			t.Errorf("%s printed\n%s\nwant the operator's events and no others", command, shown)
		}
		return
	}
	t.Error("operations.md does not say how to see the operator's events")
}

var inlineCode = regexp.MustCompile("`(kubectl [^`]+)`")

// commandsOf returns the kubectl commands of a page, and those that install: the lines of blocks,
// and the commands in running text.
func commandsOf(t *testing.T, name string) (commands []string) {
	t.Helper()
	text := page(t, pathOf(name))
	for _, block := range pages.Blocks(text) {
		lines := strings.ReplaceAll(block.Text, "\\\n", "")
		for line := range strings.Lines(lines) {
			line, prompted := strings.CutPrefix(strings.TrimSpace(line), "$ ")
			if (block.Language == "sh" || prompted) && isForTheCluster(line) {
				commands = append(commands, line)
			}
		}
	}
	for _, found := range inlineCode.FindAllStringSubmatch(pages.Prose(text), -1) {
		command := strings.Join(strings.Fields(found[1]), " ")
		if strings.Count(command, " ") > 1 && !slices.Contains(fragments, command) {
			commands = append(commands, command)
		}
	}
	return commands
}

func pathOf(name string) string {
	if name == "README.md" {
		return "../README.md"
	}
	return "../docs/" + name
}

func isForTheCluster(line string) bool {
	return strings.HasPrefix(line, "kubectl ") || strings.HasPrefix(line, "make ") && (strings.Contains(line, "deploy") || strings.HasPrefix(line, "make install"))
}

// reader follows the pages in the root of a copy of the repository, with its own cluster.
type reader struct {
	client.WithWatch
	folder, path string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	environment, err := kubetest.Start(kubetest.WithoutCRDs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := client.NewWithWatch(environment.Config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{WithWatch: c, folder: t.TempDir(), path: t.TempDir()}
	r.write(t, r.folder, "kubeconfig", string(environment.KubeConfig))
	for _, file := range []string{"password", "ca.crt", "tls.crt", "tls.key"} {
		r.write(t, r.folder, file, "secret")
	}
	if err := os.CopyFS(filepath.Join(r.folder, "config"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	root, err := kubetest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, r.path, "kubectl", fmt.Sprintf("#!/bin/sh\nexec %q --kubeconfig %q \"$@\"\n", environment.ControlPlane.KubectlPath, filepath.Join(r.folder, "kubeconfig")))
	// There is no registry for an image, and the tree must not change.
	r.write(t, r.path, "make", fmt.Sprintf("#!/bin/bash\nPATH=${PATH#*:} exec make -C %q -o manifests KUBECTL=%q \"${@/#docker-*/--silent}\"\n",
		root, filepath.Join(r.path, "kubectl")))
	// Pages that mention Argo CD and Prometheus expect their namespaces.
	for _, name := range []string{"argocd", "monitoring"} {
		if err := r.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *reader) write(t *testing.T, folder, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}

var namedFile = regexp.MustCompile(`^# (\S+\.yaml)\n`)

// saveFiles writes the manifests of a page that begin with the name of a file.
func (r *reader) saveFiles(t *testing.T, name string) {
	t.Helper()
	for _, manifest := range manifests(t, pathOf(name)) {
		if found := namedFile.FindStringSubmatch(manifest); found != nil {
			r.write(t, r.folder, found[1], manifest)
		}
	}
}

// run runs a line as a shell does, after it has prepared what the line refers to.
func (r *reader) run(t *testing.T, line string) (string, error) {
	t.Helper()
	r.prepare(t, line)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", line)
	command.Dir = r.folder
	command.Env = append(os.Environ(), "PATH="+r.path+string(os.PathListSeparator)+os.Getenv("PATH"))
	output, err := command.CombinedOutput()
	return string(output), err
}

// examples names the page whose first manifest has the file name of a command.
var examples = map[string]string{"users.yaml": "cachepolicy.md", "main.yaml": "cachestore.md", "purge.yaml": "cacheinvalidation.md"}

var purgeName = regexp.MustCompile(`\busers-\w+-\w{5}\b`)

// prepare writes the file that a command names, creates the purge that it refers to, and sets
// everything to ready.
func (r *reader) prepare(t *testing.T, line string) {
	t.Helper()
	for file, name := range examples {
		if strings.Contains(line, " "+file) {
			r.write(t, r.folder, file, manifests(t, pathOf(name))[0])
		}
	}
	if name := purgeName.FindString(line); name != "" {
		purge := &v1.CacheInvalidation{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       v1.CacheInvalidationSpec{Targets: []v1.InvalidationTarget{{Module: "users"}}},
		}
		if err := client.IgnoreAlreadyExists(r.Create(t.Context(), purge)); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case strings.HasPrefix(line, "kubectl wait "):
		r.finishEverything(t)
	case strings.Contains(line, " rollout status "):
		r.rollOut(t)
	}
}
