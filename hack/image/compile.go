// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// release is what the operator and the image say of their origin.
type release struct{ version, commit string }

// build is the operator for a platform.
type build struct {
	platform v1.Platform
	binary   string // path
}

// compile builds the operator as the Dockerfile does: static, without symbols and local paths.
func compile(ctx context.Context, s settings, platform, binary string) (build, error) {
	parsed, err := v1.ParsePlatform(platform)
	if err != nil {
		return build{}, fmt.Errorf("the platform %q: %w", platform, err)
	}
	command := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags",
		fmt.Sprintf("-s -w -X main.version=%s -X main.commit=%s", s.release.version, s.release.commit),
		"-o", binary, "./cmd/operator")
	command.Dir = s.source
	command.Env = append(os.Environ(),
		"CGO_ENABLED=0", "GOOS="+parsed.OS, "GOARCH="+parsed.Architecture)
	if output, err := command.CombinedOutput(); err != nil {
		return build{}, fmt.Errorf("compiling the operator for %s: %w\n%s", platform, err, output)
	}
	return build{platform: *parsed, binary: binary}, nil
}
