// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubetest runs a real Kubernetes control plane, etcd and kube-apiserver, for tests and for
// the demo.
package kubetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var errNoModule = errors.New(
	"this is not run inside the cachewright repository: there is no hack/control-plane.sh " +
		"in the working directory or above")

// AssetsDir returns the absolute path of a directory with kube-apiserver, etcd and kubectl. It is
// KUBEBUILDER_ASSETS if that is set and complete. Otherwise hack/control-plane.sh finds, downloads
// or builds the files. The first build takes minutes and shows its progress on standard error.
func AssetsDir() (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	command := exec.Command(filepath.Join(root, "hack", "control-plane.sh"))
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("finding kube-apiserver, etcd and kubectl with %s: %w", command.Path, err)
	}
	return strings.TrimSpace(string(output)), nil
}

// ModuleRoot returns the absolute path of the root of the repository around the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the root of the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack", "control-plane.sh")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoModule
		}
		dir = parent
	}
}
