// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// built is the image for this machine, as a registry returns it, and what was written beside.
func built(t *testing.T) (image v1.Image, dir string) {
	t.Helper()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	dir = t.TempDir()
	reference := strings.TrimPrefix(server.URL, "http://") + "/cachewright/operator:v1.2.3"
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, []byte("certificates\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := parse([]string{
		"-source", "../..", "-output", filepath.Join(dir, "layout"), "-push", reference, "-ca-certificates", roots,
		"-version", "v1.2.3", "-commit", "abc", "-platforms", "linux/" + runtime.GOARCH,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	image, err = remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		t.Fatal("pulling:", err)
	}
	return image, dir
}

// What a registry returns runs as nobody in particular, holds the operator and what it needs, and
// nothing else. Its binary starts.
func TestTheImageHoldsTheOperatorAlone(t *testing.T) {
	image, dir := built(t)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Config; c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/operator"}) || len(c.Cmd) != 0 ||
		config.OS != "linux" || config.Architecture != runtime.GOARCH ||
		c.Labels["org.opencontainers.image.version"] != "v1.2.3" || c.Labels["org.opencontainers.image.revision"] != "abc" {
		t.Errorf("the configuration is %+v for %s/%s", c, config.OS, config.Architecture)
	}
	files := filesOf(t, image)
	if want := []string{"etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "operator"}; !slices.Equal(keys(files), want) {
		t.Errorf("the image holds %q, want %q", keys(files), want)
	}
	if got := string(files["etc/ssl/certs/ca-certificates.crt"]); got != "certificates\n" {
		t.Errorf("the certificates are %q", got)
	}
	binary := filepath.Join(dir, "pulled")
	if err := os.WriteFile(binary, files["operator"], 0o700); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), binary, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(output), "v1.2.3") {
		t.Errorf("the operator says %q, %v", output, err)
	}
	wantBill(t, filepath.Join(dir, "layout-linux-"+runtime.GOARCH+".spdx.json"))
	if _, err := layout.FromPath(filepath.Join(dir, "layout")); err != nil {
		t.Error("the layout:", err)
	}
}

// wantBill reads a bill of materials as a scanner does.
func wantBill(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var of bill
	if err := json.Unmarshal(text, &of); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{of.SPDXID: true}
	names := map[string]bool{}
	for _, p := range of.Packages {
		if ids[p.SPDXID] || p.Name == "" || !strings.HasPrefix(p.ExternalRefs[0].ReferenceLocator, "pkg:golang/") {
			t.Errorf("the part %+v", p)
		}
		ids[p.SPDXID], names[p.Name] = true, true
	}
	for _, r := range of.Relationships {
		if !ids[r.From] || !ids[r.To] {
			t.Errorf("%+v names what is not there", r)
		}
	}
	for _, want := range []string{"github.com/cachewright/cachewright", "stdlib", "sigs.k8s.io/controller-runtime", "github.com/redis/go-redis/v9"} {
		if !names[want] {
			t.Errorf("the bill lacks %s: it has %d parts", want, len(names))
		}
	}
}

// Images of the same binaries are the same, whenever they are made. Each platform has its own.
func TestImagesCanBeMadeAgain(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "operator")
	if err := os.WriteFile(binary, []byte("a binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	var builds []build
	for _, architecture := range []string{"amd64", "arm64"} {
		builds = append(builds, build{v1.Platform{OS: "linux", Architecture: architecture}, binary})
	}
	var digests []string
	for range 2 {
		index, err := indexOf(builds, []byte("certificates"), release{"v1", "abc"})
		if err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
		manifest, err := index.IndexManifest()
		if err != nil || len(manifest.Manifests) != 2 || manifest.Manifests[1].Platform.Architecture != "arm64" ||
			manifest.Manifests[0].Digest == manifest.Manifests[1].Digest {
			t.Errorf("the index is %+v, %v", manifest, err)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("two digests of one thing: %q", digests)
	}
}

// An engine loads a layout in one file, with its index at the root.
func TestALayoutCanBeOneFile(t *testing.T) {
	from, output := t.TempDir(), filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(filepath.Join(from, "index.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := archive(from, output); err != nil {
		t.Fatal(err)
	}
	content, err := os.Open(output)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	if header, err := tar.NewReader(content).Next(); err != nil || header.Name != "index.json" {
		t.Errorf("the file begins with %+v, %v", header, err)
	}
}

func TestWhatCannotBeBuiltIsRefused(t *testing.T) {
	dir := t.TempDir()
	for what, args := range map[string][]string{
		"nowhere to write to":            {"-version", "v1"},
		"an output that exists":          {"-output", dir},
		"no certificates":                {"-output", filepath.Join(dir, "new"), "-ca-certificates", filepath.Join(dir, "none")},
		"a platform that does not exist": {"-output", filepath.Join(dir, "new"), "-ca-certificates", os.DevNull, "-platforms", "linux/none", "-source", "../.."},
	} {
		s, err := parse(args)
		if err == nil {
			err = run(t.Context(), s)
		}
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// The Dockerfile makes the same image, for those who have a container engine.
func TestTheDockerfileMakesTheSameImage(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := string(text)
	config := configOf(empty.Image, v1.Platform{OS: "linux"}, release{}).Config
	for _, want := range []string{"USER " + config.User, `ENTRYPOINT ["` + config.Entrypoint[0] + `"]`, "-trimpath", "CGO_ENABLED=0", "-s -w"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	for _, label := range regexp.MustCompile(`(org\.opencontainers\.\S+)="([^"]*)"`).FindAllStringSubmatch(dockerfile, -1) {
		if config.Labels[label[1]] != label[2] {
			t.Errorf("the Dockerfile labels %s %q, the image %q", label[1], label[2], config.Labels[label[1]])
		}
	}
}

func filesOf(t *testing.T, image v1.Image) map[string][]byte {
	t.Helper()
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	files := map[string][]byte{}
	for r := tar.NewReader(content); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func keys(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for path := range files {
		names = append(names, path)
	}
	slices.Sort(names)
	return names
}
