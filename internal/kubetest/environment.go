// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// processTimeout is generous: on a busy machine with few cores the API server needs far more than its usual seconds.
const processTimeout = 2 * time.Minute

// WithoutCRDs leaves the API server without the CRDs of this repository, for those who install them in a way of their own.
func WithoutCRDs(e *envtest.Environment) { e.CRDDirectoryPaths, e.ErrorIfCRDPathMissing = nil, false }

// Start runs etcd and kube-apiserver on free loopback ports, with the CRDs of this repository in place. The
// environment's Config reaches it as administrator, KubeConfig is the same for kubectl, whose path is
// ControlPlane.KubectlPath. The caller ends it with Stop. configure may change the environment before it is started.
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
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: processTimeout,
		ControlPlaneStopTimeout:  processTimeout,
	}
	for _, change := range configure {
		change(environment)
	}
	if _, err := environment.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane of %s: %w", assets, err), environment.Stop())
	}
	return environment, nil
}
