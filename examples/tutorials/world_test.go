// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
)

// published replaces what pages fetch. This checkout stands for a release. Packages of npm are those of
// nest/package-lock.json. Redis listens on this machine.
const published = `go() {
  if [[ $1 == build ]]; then command go build -overlay="$OVERLAY" "${@:2}"; return; fi
  if [[ $1 != get ]]; then command go "$@"; return; fi
  command go mod edit -require=github.com/cachewright/cachewright@v0.0.0 -replace=github.com/cachewright/cachewright="$CHECKOUT"
  cp "$CHECKOUT/go.sum" .
}
kubectl() {
  if [[ $1 != port-forward ]]; then command kubectl "$@"; fi
}
git() {
  if [[ $1 != clone ]]; then command git "$@"; return; fi
  ln -s "$CHECKOUT" "${@: -1}"
}
npm() {
  local name
  if [[ $1 != install ]]; then command npm "$@"; return; fi
  for name in "${@:2}"; do
    if [[ $name == -* ]]; then continue; fi
    name="${name%@[0-9]*}"
    grep -qF "\"$name\": \"" "$CHECKOUT/examples/tutorials/nest/package.json"
  done
  ln -sfn "$CHECKOUT/examples/tutorials/nest/node_modules" node_modules
}
`

// startEverything starts what the page asks its reader for, and returns the variables that lead there.
func startEverything(t *testing.T) (env []string) {
	t.Helper()
	cluster, err := kubetest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Stop() })
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, cluster.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(redistest.Start(t).Addr())
	env = []string{"KUBECONFIG=" + kubeconfig, "REDIS_HOST=" + host, "REDIS_PORT=" + port}
	binary, err := operatortest.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := operatortest.Start(binary, env, "--metrics-bind-address=0", "--health-probe-bind-address=0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		operator.Kill()
		if t.Failed() {
			t.Log(operator.Output())
		}
	})
	return append(env, "PATH="+filepath.Dir(cluster.ControlPlane.KubectlPath)+":"+os.Getenv("PATH"))
}
