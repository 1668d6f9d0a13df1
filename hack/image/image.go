// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is the one that the operator runs as. Kubernetes compares the number with runAsNonRoot.
const user = "65532:65532"

// accounts has that user, and root, who owns the files. Nobody has a password.
const accounts = "root:x:0:0:root:/:/sbin/nologin\n" +
	"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"

// epoch is the time of everything, so that equal contents have equal digests.
var epoch = time.Unix(0, 0).UTC()

// indexOf returns the images of all platforms.
func indexOf(builds []build, roots []byte, of release) (v1.ImageIndex, error) {
	base, err := layer([]file{
		{name: "etc/passwd", mode: 0o644, content: []byte(accounts)},
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\nnonroot:x:65532:\n")},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: roots},
	})
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range builds {
		image, err := imageOf(b, base, of)
		if err != nil {
			return nil, fmt.Errorf("the image for %s: %w", b.platform.String(), err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &b.platform},
		})
	}
	return index, nil
}

func imageOf(b build, base v1.Layer, of release) (v1.Image, error) {
	binary, err := os.ReadFile(b.binary)
	if err != nil {
		return nil, err
	}
	operator, err := layer([]file{{name: "operator", mode: 0o755, content: binary}})
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(image, base, operator); err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, configOf(image, b.platform, of))
}

// configOf says how the image runs, on top of what its layers say.
func configOf(image v1.Image, platform v1.Platform, of release) *v1.ConfigFile {
	var config v1.ConfigFile
	if layered, err := image.ConfigFile(); err == nil {
		config = *layered.DeepCopy()
	}
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Variant = platform.Variant
	config.Created = v1.Time{Time: epoch}
	config.Config = v1.Config{
		User:       user,
		Entrypoint: []string{"/operator"},
		WorkingDir: "/",
		Env: []string{
			"PATH=/",
			"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
		},
		Labels: map[string]string{
			"org.opencontainers.image.title": "cachewright",
			"org.opencontainers.image.description": "Application-cache policy and invalidation " +
				"as Kubernetes resources",
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.version":  of.version,
			"org.opencontainers.image.revision": of.commit,
		},
	}
	return &config
}

// file is one of a layer. Its folders are added.
type file struct {
	name    string
	mode    int64
	content []byte
}

// layer archives files with their folders.
func layer(files []file) (v1.Layer, error) {
	var archive bytes.Buffer
	w, known := tar.NewWriter(&archive), map[string]bool{".": true}
	for _, f := range files {
		if err := addFolders(w, path.Dir(f.name), known); err != nil {
			return nil, err
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch,
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}

func addFolders(w *tar.Writer, name string, known map[string]bool) error {
	if known[name] {
		return nil
	}
	if err := addFolders(w, path.Dir(name), known); err != nil {
		return err
	}
	known[name] = true
	return w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: epoch,
	})
}
