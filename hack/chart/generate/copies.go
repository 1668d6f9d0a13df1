// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const chart = "charts/cachewright"

// errNothing: a pattern below names files that were moved.
var errNothing = errors.New("there is no such file")

// sources maps files of the repository to the folder of the chart that holds their copies. A chart
// can read no file outside its folder.
var sources = []struct{ pattern, folder string }{
	{"config/crd/bases/*.yaml", "config/crd/bases"},
	{"config/rbac/role.yaml", "config/rbac"},
	{"config/rbac/leader_election_role.yaml", "config/rbac"},
	{"config/rbac/identity/*_role.yaml", "config/rbac/identity"},
	{"config/rbac/people/*_role.yaml", "config/rbac/people"},
	{"config/metrics/*_role.yaml", "config/metrics"},
	{"config/prometheus/alerts.yaml", "config/prometheus"},
	{"docs/dashboards/*.json", "dashboards"},
}

// copyFiles replaces the copies in the chart, so that a file that is gone has none.
func copyFiles(root string) error {
	target := filepath.Join(root, chart, "files")
	if err := os.RemoveAll(target); err != nil {
		return fmt.Errorf("removing former copies: %w", err)
	}
	for _, source := range sources {
		found, err := filepath.Glob(filepath.Join(root, source.pattern))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("copying %s: %w", source.pattern, errors.Join(err, errNothing))
		}
		for _, path := range found {
			if err := copyFile(path, filepath.Join(target, source.folder)); err != nil {
				return fmt.Errorf("copying %s: %w", path, err)
			}
		}
	}
	return nil
}

func copyFile(path, folder string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // files of a repository
		return err
	}
	//nolint:gosec // files of a repository are for everyone
	return os.WriteFile(filepath.Join(folder, filepath.Base(path)), content, 0o644)
}
