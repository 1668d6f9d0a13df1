// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// write writes an OCI layout, and a bill of materials for each platform beside it.
func write(index v1.ImageIndex, builds []build, output string) error {
	if err := os.MkdirAll(filepath.Dir(output), 0o750); err != nil {
		return err
	}
	base, isFile := strings.CutSuffix(output, ".tar")
	for _, b := range builds {
		platform := strings.ReplaceAll(b.platform.String(), "/", "-")
		if err := writeBill(b, base+"-"+platform+".spdx.json"); err != nil {
			return fmt.Errorf("the bill of materials for %s: %w", b.platform.String(), err)
		}
	}
	if !isFile {
		_, err := layout.Write(output, index)
		return err
	}
	dir, err := os.MkdirTemp("", "layout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := layout.Write(dir, index); err != nil {
		return err
	}
	return archive(dir, output)
}

// archive writes a folder into one file.
func archive(dir, output string) (err error) {
	target, err := os.Create(output)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := target.Close(); err == nil {
			err = closeErr
		}
	}()
	w := tar.NewWriter(target)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return w.Close()
}

// push uploads the images of all platforms, and then their index.
func push(ctx context.Context, index v1.ImageIndex, reference string) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return fmt.Errorf("the name to push: %w", err)
	}
	err = remote.WriteIndex(ref, index, remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	return nil
}
