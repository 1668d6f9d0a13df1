// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// write writes an OCI layout. Beside it are its digest, and a bill of materials for each platform.
func write(index v1.ImageIndex, builds []build, output string) error {
	if err := os.MkdirAll(filepath.Dir(output), 0o750); err != nil {
		return err
	}
	base, isFile := strings.CutSuffix(output, ".tar")
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	//nolint:gosec // others publish it
	if err := os.WriteFile(base+".digest", []byte(digest.String()+"\n"), 0o644); err != nil {
		return err
	}
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
	if err := addAll(w, os.DirFS(dir)); err != nil {
		return err
	}
	return w.Close()
}

// addAll adds the files of a folder in the order of their names. Times and owners are left out, so
// that equal contents make equal files.
func addAll(w *tar.Writer, dir fs.FS) error {
	return fs.WalkDir(dir, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(dir, path)
		if err != nil {
			return err
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Size: int64(len(content)),
			ModTime: epoch,
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
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
