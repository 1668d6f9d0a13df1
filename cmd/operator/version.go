// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// version is set by the release build: -ldflags "-X main.version=v1.2.3".
var version string

// commit is set if the build does not see the repository, as in the image. Otherwise Go records it.
var commit string

// versionText returns the version, the commit it was built from and the version of Go.
func versionText() string {
	name, revision, golang := version, cmp.Or(commit, "unknown"), "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		golang = info.GoVersion
		if name == "" {
			name = info.Main.Version
		}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" && commit == "" {
				revision = setting.Value
			}
		}
	}
	return fmt.Sprintf("%s (commit %s, %s)", name, revision, golang)
}
