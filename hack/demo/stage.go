// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const namespace = "shop"

// stage holds everything that the demo runs.
type stage struct {
	root         string
	dir          string
	kubectlPath  string
	kubeconfig   string
	controlPlane *envtest.Environment
	redis        *redistest.Server
	ofTeam       *redistest.Server // nil: not started yet
	registry     *registry.Registry
	operatorURL  string
	appURL       string
	processes    []*exec.Cmd
	stopRedis    context.CancelFunc
}

// build starts everything but the application.
func build(ctx context.Context) (_ *stage, err error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cachewright-demo-")
	if err != nil {
		return nil, err
	}
	s := &stage{root: root, dir: dir}
	defer func() {
		if err != nil {
			s.showLogs()
			s.tearDown()
		}
	}()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"building the operator and the applications; SQLite takes a minute, once", s.compile},
		{"starting etcd and kube-apiserver", s.startControlPlane},
		{"starting redis-server", s.startRedis},
		{"installing the resources and starting the operator", s.startOperator},
	} {
		say("… %s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return s, nil
}

func moduleRoot() (string, error) {
	output, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("looking for go.mod: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(output))), nil
}

func (s *stage) compile(ctx context.Context) error {
	for _, program := range []struct{ name, module, pkg string }{
		{"operator", ".", "./cmd/operator"},
		{"app", ".", "./examples/users"},
		{databaseApp, "examples/database", "."},
		{cacheAside, "examples/database", "./cacheaside"},
	} {
		command := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(s.dir, program.name),
			program.pkg)
		command.Dir = filepath.Join(s.root, program.module)
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
	}
	return nil
}

func (s *stage) startControlPlane(context.Context) error {
	controlPlane, err := kubetest.Start(kubetest.WithoutCRDs)
	if err != nil {
		return err
	}
	s.controlPlane, s.kubectlPath = controlPlane, controlPlane.ControlPlane.KubectlPath
	s.kubeconfig = filepath.Join(s.dir, "kubeconfig")
	return os.WriteFile(s.kubeconfig, s.controlPlane.KubeConfig, 0o600)
}

func (s *stage) startRedis(ctx context.Context) error {
	ctx, s.stopRedis = context.WithCancel(context.WithoutCancel(ctx))
	server, err := redistest.Run(ctx, filepath.Join(s.dir, "redis"), 0)
	if err != nil {
		return err
	}
	s.redis, s.registry = server, registry.New(server.Client())
	return nil
}

func (s *stage) startOperator(ctx context.Context) error {
	for _, args := range [][]string{
		{"apply", "-k", "config/crd"},
		{
			"wait", "--for=condition=Established", "crd/cachepolicies.cachewright.io",
			"crd/cacheinvalidations.cachewright.io", "crd/cachestores.cachewright.io",
		},
		{"create", "namespace", namespace},
	} {
		if output, err := s.quietly(ctx, "", args...); err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
	}
	probe, err := freeAddr()
	if err != nil {
		return err
	}
	s.operatorURL = "http://" + probe
	if err := s.start("operator", "--metrics-bind-address=0", "--health-probe-bind-address="+probe,
		"--stats-interval=2s", "--store-check-interval=1s"); err != nil {
		return err
	}
	return eventually(ctx, "the operator to be ready", func() error {
		return get(ctx, s.operatorURL+"/readyz", nil)
	})
}

func (s *stage) startApp(ctx context.Context) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	s.appURL = "http://" + addr
	if err := s.start("app", "--addr="+addr); err != nil {
		return err
	}
	return eventually(ctx, "the application to listen", func() error {
		return get(ctx, s.appURL+"/queries", nil)
	})
}

// start runs a compiled program, with its log in a file.
func (s *stage) start(name string, args ...string) error {
	_, err := s.startOn(s.redis.Addr(), name, args...)
	return err
}

// startOn runs a compiled program that finds Redis at an address.
func (s *stage) startOn(redis, name string, args ...string) (*os.Process, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"),
		os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	host, port, err := net.SplitHostPort(redis)
	if err != nil {
		return nil, err
	}
	command := exec.Command(filepath.Join(s.dir, name), args...)
	command.Env = append(command.Environ(),
		"KUBECONFIG="+s.kubeconfig, "REDIS_HOST="+host, "REDIS_PORT="+port, "NAMESPACE="+namespace)
	command.Stdout, command.Stderr = log, log
	// Ctrl-C reaches only the demo, which ends its programs in order.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, err
	}
	s.processes = append(s.processes, command)
	return command.Process, nil
}

func (s *stage) tearDown() {
	for _, process := range s.processes {
		_ = process.Process.Signal(syscall.SIGTERM)
		time.AfterFunc(10*time.Second, func() { _ = process.Process.Kill() })
		_ = process.Wait()
	}
	if s.stopRedis != nil {
		s.stopRedis()
	}
	if s.controlPlane != nil {
		_ = s.controlPlane.Stop()
	}
	for _, server := range []*redistest.Server{s.redis, s.ofTeam} {
		if server != nil {
			server.Kill()
		}
	}
	_ = os.RemoveAll(s.dir)
}

// showLogs shows the logs after a failed step.
func (s *stage) showLogs() {
	const tail = 4000
	for _, name := range []string{"operator", "app", databaseApp, cacheAside} {
		log, err := os.ReadFile(filepath.Join(s.dir, name+".log"))
		if err != nil {
			continue
		}
		log = log[max(0, len(log)-tail):]
		fmt.Fprintf(os.Stderr, "\nThe end of the log of the %s:\n%s\n", name, log)
	}
}

func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// eventually waits until check succeeds. Its error names what it waited for.
func eventually(ctx context.Context, what string, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

var errNotYet = errors.New("not yet")

func statusError(response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("%s answers %s", response.Request.URL.Path, response.Status)
}
