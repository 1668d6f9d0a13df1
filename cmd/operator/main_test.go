// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// timeout is how long a test waits for what must happen. It is long because machines are busy.
const timeout = time.Minute

// binary is the operator, built once. These tests run what users run.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cachewright-operator-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		sharedDir = dir
		defer stopShared()
		binary = filepath.Join(dir, "operator")
		if output, err := exec.Command("go", "build", "-ldflags", "-s -w -X main.version=v1.2.3-test -X main.commit=0123abc", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the operator: %v\n%s", err, output)
			return 1
		}
		return m.Run()
	}())
}

// process is a running operator.
type process struct {
	command *exec.Cmd
	output  *safeBuffer
	ended   chan struct{}
	err     error // once ended
}

type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start runs the operator with the given environment only.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{command: exec.Command(binary, args...), output: &safeBuffer{}, ended: make(chan struct{})}
	p.command.Env = append([]string{"HOME=" + t.TempDir()}, env...)
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.SysProcAttr = detached.Attributes()
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("output of the operator:\n%s", p.output)
		}
	})
	return p
}

// exit waits until the operator exits, and returns its exit status and output.
func (p *process) exit(t *testing.T) (int, string) {
	t.Helper()
	select {
	case <-p.ended:
		return p.command.ProcessState.ExitCode(), p.output.String()
	case <-time.After(timeout):
		t.Fatalf("the operator did not end: %s", p.output)
		return 0, ""
	}
}

func TestHelpNamesEveryVariableThatIsRead(t *testing.T) {
	code, help := start(t, nil, "--help").exit(t)
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	var read []string
	_, err := registry.ClientFromEnv(func(name string) (string, bool) {
		read = append(read, name)
		return "", false
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(read, "KUBECONFIG", "-leader-elect", "-metrics-bind-address", "-default-store", "-watch-namespaces", "-stats-interval", "-store-check-interval") {
		if !regexp.MustCompile(`(?m)(^|[\s,])` + name + `\b`).MatchString(help) {
			t.Errorf("--help does not name %s", name)
		}
	}
}

// The page of the operator lists each flag and each variable, and no others.
func TestPageListsEveryFlagAndVariable(t *testing.T) {
	_, help := start(t, nil, "--help").exit(t)
	page := readText(t, "../../docs/operator.md")
	for what, patterns := range map[string][2]string{
		"flag":     {`(?m)^  -([a-z0-9-]+)`, "(?m)^\\| `--([a-z0-9-]+)`"},
		"variable": {`\b((?:REDIS_|KUBE)[A-Z_]+)\b`, "`((?:REDIS_|KUBE)[A-Z_]+)`"},
	} {
		there, listed := allMatches(patterns[0], help), allMatches(patterns[1], page)
		if len(there) < 9 || !slices.Equal(there, listed) {
			t.Errorf("docs/operator.md lists each %s of %q, want %q", what, listed, there)
		}
	}
}

// allMatches returns the sorted, distinct matches of the pattern's group.
func allMatches(pattern, text string) (matches []string) {
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		matches = append(matches, found[1])
	}
	slices.Sort(matches)
	return slices.Compact(matches)
}

func TestVersion(t *testing.T) {
	code, output := start(t, nil, "--version").exit(t)
	if code != 0 || !strings.HasPrefix(output, "v1.2.3-test (commit 0123abc, go") {
		t.Errorf("exit status %d: %s", code, output)
	}
}

func TestBadInputIsRefusedWithTheRemedy(t *testing.T) {
	const secret = "battery-staple"
	nobody := "https://" + operatortest.FreeAddress(t)
	tests := []struct {
		name string
		env  []string
		args []string
		says string
	}{
		{"argument", nil, []string{"run"}, `unexpected argument "run"`},
		{"flag", nil, []string{"--nonsense"}, "flag provided but not defined: -nonsense"},
		{"interval", nil, []string{"--store-check-interval=5ms"}, "--store-check-interval must be at least 100ms, not 5ms"},
		{"namespace", nil, []string{"--watch-namespaces=shop,Bad_Name"}, `"Bad_Name" is no namespace`},
		{"no namespace, which must not mean all", nil, []string{"--watch-namespaces="}, `"" is no namespace`},
		{"address", nil, []string{"--allowed-store-addresses=10.0.0.0/8,redis:6379"}, `"redis:6379" is no IP address`},
		{"no address, which must not mean all", nil, []string{"--allowed-store-addresses="}, `"" is no IP address`},
		{"kubeconfig", nil, []string{"--kubeconfig=/no/such/file"}, "check --kubeconfig"},
		{"no access", nil, nil, "no access to Kubernetes"},
		{"API server", nil, []string{"--kubeconfig=" + kubeconfig(t, nobody)}, "asking the API server at " + nobody},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, output := start(t, append(test.env, "REDIS_PASSWORD="+secret), test.args...).exit(t)
			if code == 0 || !strings.Contains(output, test.says) {
				t.Errorf("exit status %d; want %q in:\n%s", code, test.says, output)
			}
			if strings.Contains(output, secret) {
				t.Errorf("the password is in:\n%s", output)
			}
		})
	}
}

// The life of an operator on one control plane. It fails without CRDs, is not ready while Redis
// refuses it, is ready once that is corrected, and ends on SIGTERM.
func TestOperator(t *testing.T) {
	on := newCluster(t)
	args := []string{"--kubeconfig=" + on.kubeconfig, "--health-probe-bind-address=0", "--metrics-bind-address=0"}

	t.Run("names the CRDs that are missing", func(t *testing.T) {
		code, output := start(t, nil, args...).exit(t)
		if code == 0 || !strings.Contains(output, "does not know CachePolicy of cachewright.io/v1: install the CRDs first") {
			t.Errorf("exit status %d:\n%s", code, output)
		}
	})

	on.kubectl(t, "apply", "--server-side", "-k", on.config("crd"))
	on.kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")

	t.Run("names the variable that is wrong, not what is in it", func(t *testing.T) {
		const secret = "battery-staple"
		for _, env := range []string{"REDIS_URL=redis://:" + secret + "@h:port", "REDIS_PORT=tcp://10.0.0.1:port", "REDIS_TLS=maybe"} {
			code, output := start(t, []string{env}, args...).exit(t)
			variable, _, _ := strings.Cut(env, "=")
			if code == 0 || !strings.Contains(output, variable) || strings.Contains(output, secret) {
				t.Errorf("%s: exit status %d:\n%s", variable, code, output)
			}
		}
	})

	t.Run("needs no Redis of its own", func(t *testing.T) {
		probes := operatortest.FreeAddress(t)
		start(t, []string{"REDIS_PORT=not read"}, append(args, "--default-store=false", "--health-probe-bind-address="+probes)...)
		want(t, "http://"+probes+"/readyz", "", http.StatusOK, "ok")
	})

	t.Run("says why it is not ready, guards its metrics and ends in peace", func(t *testing.T) { livesAndEnds(t, on) })
}

func livesAndEnds(t *testing.T, on *cluster) {
	const right, wrong = "correct-horse", "battery-staple"
	server := redistest.Start(t)
	setPassword(t, server, "", right)
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	probes, metrics := operatortest.FreeAddress(t), operatortest.FreeAddress(t)
	operator := start(t, []string{"REDIS_HOST=" + host, "REDIS_PORT=" + port, "REDIS_PASSWORD=" + wrong},
		"--kubeconfig="+on.kubeconfig, "--health-probe-bind-address="+probes, "--metrics-bind-address="+metrics,
		"--store-check-interval=100ms", "--leader-elect", "--leader-election-namespace=default", "--zap-devel")

	want(t, "http://"+probes+"/healthz", "", http.StatusOK, "ok")
	want(t, "http://"+probes+"/readyz", "", http.StatusInternalServerError, "redis failed")
	want(t, "http://"+probes+"/readyz/redis", "", http.StatusInternalServerError,
		"Redis at "+server.Addr()+" refuses access: WRONGPASS", "REDIS_PASSWORD")

	setPassword(t, server, right, wrong)
	want(t, "http://"+probes+"/readyz", "", http.StatusOK, "ok")

	want(t, "https://"+metrics+"/metrics", "", http.StatusUnauthorized, "")
	want(t, "https://"+metrics+"/metrics", scraperToken(t, on), http.StatusOK, `cachewright_store_up{namespace="",store=""} 1`)

	if err := operator.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, output := operator.exit(t)
	if code != 0 {
		t.Errorf("ended with exit status %d after SIGTERM", code)
	}
	if strings.Contains(output, wrong) {
		t.Error("the password is in the log")
	}
}

// setPassword changes the password of a Redis.
func setPassword(t *testing.T, server *redistest.Server, from, to string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Password: from})
	defer func() { _ = client.Close() }()
	if err := client.ConfigSet(t.Context(), "requirepass", to).Err(); err != nil {
		t.Fatal(err)
	}
}

// want waits until a URL answers with a status and a body that contains every part.
func want(t *testing.T, url, token string, status int, parts ...string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // a self-signed certificate
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true,
	}}
	gomega.NewWithT(t).Eventually(func(g gomega.Gomega) {
		got, body, err := get(t.Context(), client, url, token)
		g.Expect(err).NotTo(gomega.HaveOccurred())
		g.Expect(got).To(gomega.Equal(status), body)
		for _, part := range parts {
			g.Expect(body).To(gomega.ContainSubstring(part))
		}
	}, timeout).Should(gomega.Succeed(), url)
}

// get returns the answer of a URL.
func get(ctx context.Context, client *http.Client, url, token string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.ProtoMajor != 1 {
		return 0, "", errors.New("served by " + response.Proto)
	}
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// scraperToken is the token of an account that may read /metrics and nothing else.
func scraperToken(t *testing.T, on *cluster) string {
	t.Helper()
	clients := on.clients
	ctx, named := t.Context(), metav1.ObjectMeta{Name: "scraper"}
	_, errAccount := clients.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: named}, metav1.CreateOptions{})
	_, errRole := clients.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: named, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	_, errBinding := clients.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: named,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: named.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: named.Name}},
	}, metav1.CreateOptions{})
	request, errToken := clients.CoreV1().ServiceAccounts("default").
		CreateToken(ctx, named.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err := errors.Join(errAccount, errRole, errBinding, errToken); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// kubeconfig writes one for an API server.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: server}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test"}
	config.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}
