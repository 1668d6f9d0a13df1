// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cachewright/cachewright/internal/manifest"
	"github.com/cachewright/cachewright/registry"
)

// FromManifests returns a Fake with the policies of CachePolicy manifests, as they are deployed.
// See WithManifests.
//
//	fake := cachetest.FromManifests(t, "../deploy/cache/*.yaml")
func FromManifests(t T, globs ...string) *Fake {
	t.Helper()
	return New(WithManifests(t, globs...))
}

// WithManifests puts the policies of CachePolicy manifests in force, and lets the test fail for
// each name that they do not list. In production such a name is a silent mistake: nothing is cached
// under it, and invalidating it does nothing.
//
// The globs are those of filepath.Glob, relative to the package of the test. A file may have
// several YAML documents, and resources of other kinds, which are skipped. A manifest that the API
// server would refuse fails the test at once. So do a glob that matches no file, globs without a
// CachePolicy, and two different policies for one module: choose the files of one environment.
//
// A name is listed if its module has a policy and, for an operation, that lists it or has a
// defaultTTL. SetPolicy adds to the policies. A name that is not listed fails the test once, on the
// call that uses it, which goes on as in production. A Fake that is used after the test reports
// nothing.
func WithManifests(t T, globs ...string) Option {
	t.Helper()
	policies, err := readManifests(globs)
	if err != nil {
		t.Fatalf("cachetest: %v", err)
	}
	return func(f *Fake) {
		for module, policy := range policies {
			f.SetPolicy(module, policy)
		}
		f.strict = newStrict(t, strings.Join(globs, ", "))
	}
}

// source is where a policy was read.
type source struct {
	file   string
	policy registry.Policy
}

func readManifests(globs []string) (map[string]registry.Policy, error) {
	files, err := filesOf(globs)
	if err != nil {
		return nil, err
	}
	sources := map[string]source{}
	for _, file := range files {
		if err := readManifest(file, sources); err != nil {
			return nil, err
		}
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("there is no CachePolicy in %s", strings.Join(files, ", "))
	}
	policies := make(map[string]registry.Policy, len(sources))
	for module, found := range sources {
		policies[module] = found.policy
	}
	return policies, nil
}

func filesOf(globs []string) ([]string, error) {
	if len(globs) == 0 {
		return nil, errors.New("name the files with CachePolicy manifests, " +
			"for example ../deploy/cache/*.yaml")
	}
	var files []string
	for _, glob := range globs {
		found, err := filepath.Glob(glob)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", glob, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s matches no file; it is relative to the package of the test", glob)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func readManifest(file string, sources map[string]source) error {
	text, err := os.ReadFile(file) //nolint:gosec // the test names it
	if err != nil {
		return err
	}
	policies, err := manifest.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, found := range policies {
		before, known := sources[found.Module]
		if known && before.policy.Hash() != found.Policy.Hash() {
			return fmt.Errorf("%s and %s have different policies for module %q: "+
				"choose the files of one environment", before.file, file, found.Module)
		}
		sources[found.Module] = source{file: file, policy: found.Policy}
	}
	return nil
}
