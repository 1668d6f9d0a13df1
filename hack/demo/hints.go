// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
)

// hints are lines to paste, in their order, into another terminal.
func (s *stage) hints() []string {
	_, port, _ := net.SplitHostPort(s.redis.Addr()) // the demo made the address
	hints := []string{
		"cd " + s.root,
		"export KUBECONFIG=" + s.kubeconfig + " PATH=" + s.toolPath() + ":$PATH",
		"kubectl get cpol,cinv -n " + namespace + " -o wide",
		"kubectl explain cachepolicy.spec.operations",
		"sed 's/name: .*/generateName: by-hand-/' " +
			"config/samples/purges/cacheinvalidation_module.yaml |\n" +
			"  kubectl create -n " + namespace + " -f -",
		"redis-cli -p " + port + " FCALL_RO cw_stats 1 'cw:{" + namespace + "/users}'",
		"tail " + filepath.Join(s.dir, "operator.log"),
	}
	if _, err := exec.LookPath("curl"); err == nil { // minimal systems have none
		hints = append(hints,
			"curl --fail "+s.appURL+"/users/user-7",
			"curl --fail -H 'X-User: user-7' "+s.appURL+"/profile")
	}
	return hints
}

// toolPath has the folders of kubectl and redis-cli, which make found or built.
func (s *stage) toolPath() string {
	folders := []string{filepath.Dir(s.kubectlPath)}
	if redisCLI, err := exec.LookPath("redis-cli"); err == nil {
		folders = append(folders, filepath.Dir(redisCLI))
	}
	return strings.Join(folders, ":")
}

func (s *stage) showHints() {
	say("\nAll of it is still running. In another terminal:\n")
	for _, hint := range s.hints() {
		say("  %s", strings.ReplaceAll(hint, "\n", "\n  "))
	}
	say("\nCtrl-C ends it.")
}

// tryHints pastes the hints, so that none is printed that does not work.
func (s *stage) tryHints(ctx context.Context) error {
	script := "set -euo pipefail\n" + strings.Join(s.hints(), "\n")
	if output, err := exec.CommandContext(ctx, "bash", "-c", script).CombinedOutput(); err != nil {
		return fmt.Errorf("the hints that are printed without DEMO_EXIT: %w\n%s", err, output)
	}
	say("Every hint that is printed without DEMO_EXIT works, too.")
	return nil
}
