// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// processTimeout is long: on a busy machine with few cores, the API server needs far more than its
// usual seconds.
const processTimeout = 2 * time.Minute

// WithoutCRDs starts the API server without the CRDs of this repository, for callers that install
// them.
func WithoutCRDs(e *envtest.Environment) {
	e.CRDDirectoryPaths, e.ErrorIfCRDPathMissing = nil, false
}

// Start runs etcd and kube-apiserver on free loopback ports, with the CRDs of this repository.
// Config of the environment connects as administrator. KubeConfig does the same for kubectl, whose
// path is ControlPlane.KubectlPath. configure may change the environment before its start. The
// caller ends it with Stop. If the caller's process is killed, both programs end, too.
func Start(configure ...func(*envtest.Environment)) (*envtest.Environment, error) {
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	assets, err := AssetsDir()
	if err != nil {
		return nil, err
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: processTimeout,
		ControlPlaneStopTimeout:  processTimeout,
	}
	programs := filepath.Join(root, "internal", "kubetest", "programs")
	environment.ControlPlane.Etcd = &envtest.Etcd{Path: filepath.Join(programs, "etcd")}
	environment.ControlPlane.GetAPIServer().Path = filepath.Join(programs, "kube-apiserver")
	environment.ControlPlane.KubectlPath = filepath.Join(assets, "kubectl")
	for _, change := range configure {
		change(environment)
	}
	if err := findCRDs(environment); err != nil {
		return nil, err
	}
	if _, err := environment.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane of %s: %w", assets, err),
			environment.Stop())
	}
	return environment, nil
}

// findCRDs fails where a directory of CRDs is missing. Start would find out only after it started
// both programs.
func findCRDs(environment *envtest.Environment) error {
	for _, directory := range environment.CRDDirectoryPaths {
		if _, err := os.Stat(directory); err != nil {
			return fmt.Errorf("finding the CRDs: %w", err)
		}
	}
	return nil
}
