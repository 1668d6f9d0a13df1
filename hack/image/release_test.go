// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// gather makes a release for this machine.
func gather(t *testing.T, env ...string) (dist string, err error) {
	t.Helper()
	dist = filepath.Join(t.TempDir(), "dist")
	command := exec.CommandContext(t.Context(), "../release.sh")
	command.Env = append(os.Environ(), append(env, "DIST="+dist, "COMMIT=abc", "PLATFORMS=linux/"+runtime.GOARCH, "MAKEFLAGS=")...)
	output, err := command.CombinedOutput()
	t.Logf("%s", output)
	return dist, err
}

// A release has all its parts, each with its checksum, and each names its version. The same commit
// makes the same release.
func TestAReleaseIsWholeAndCanBeMadeAgain(t *testing.T) {
	dist, err := gather(t)
	if err != nil {
		t.Fatal(err)
	}
	platform, chart := "operator-linux-"+runtime.GOARCH, "cachewright-"+strings.TrimPrefix(version(t), "v")+".tgz"
	want := []string{
		chart, "checksums.txt", "crds.yaml", "install.yaml", "namespaced.yaml", platform + ".spdx.json", platform + ".tar.gz",
		"operator.digest", "operator.tar", "release-finalizers.yaml",
	}
	entries, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		files = append(files, entry.Name())
	}
	if !slices.Equal(files, want) {
		t.Errorf("it has %q, want %q", files, want)
	}
	sums := read(t, filepath.Join(dist, "checksums.txt"))
	for _, file := range want {
		if file == "checksums.txt" {
			continue
		}
		sum := sha256.Sum256(read(t, filepath.Join(dist, file)))
		if !bytes.Contains(sums, []byte(hex.EncodeToString(sum[:])+"  "+file+"\n")) {
			t.Errorf("checksums.txt has no right sum of %s:\n%s", file, sums)
		}
	}

	tag := version(t)
	for _, file := range []string{"install.yaml", "namespaced.yaml", "release-finalizers.yaml"} {
		if !bytes.Contains(read(t, filepath.Join(dist, file)), []byte("image: ghcr.io/cachewright/cachewright:"+tag+"\n")) {
			t.Errorf("%s does not install %s", file, tag)
		}
	}
	unpacked := unpack(t, filepath.Join(dist, platform+".tar.gz"), filepath.Join(dist, chart))
	says, err := exec.CommandContext(t.Context(), filepath.Join(unpacked, "operator"), "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(says), tag+" (commit abc, ") {
		t.Errorf("the binary of %s says %q, %v", tag, says, err)
	}

	about := read(t, filepath.Join(unpacked, "cachewright", "Chart.yaml"))
	for _, line := range []string{"version: " + strings.TrimPrefix(tag, "v"), "appVersion: " + tag} {
		if !bytes.Contains(about, []byte("\n"+line+"\n")) {
			t.Errorf("the chart does not say %q:\n%s", line, about)
		}
	}

	again, err := gather(t)
	if err != nil {
		t.Fatal(err)
	}
	if second := read(t, filepath.Join(again, "checksums.txt")); !bytes.Equal(sums, second) {
		t.Errorf("made again it has other files:\n%s\n%s", sums, second)
	}
}

// version is the one that the manifests name.
func version(t *testing.T) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "../version.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}

// unpack returns a folder with what is in the archives.
func unpack(t *testing.T, archives ...string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, archive := range archives {
		output, err := exec.CommandContext(t.Context(), "tar", "-xzf", archive, "-C", folder).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	return folder
}

// A tag that is not the version of the manifests releases nothing.
func TestAnotherVersionIsNotReleased(t *testing.T) {
	dist, err := gather(t, "VERSION=v99.0.0")
	if err == nil {
		t.Error("it was released")
	}
	if _, err := os.Stat(dist); err == nil {
		t.Error("it left files")
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
