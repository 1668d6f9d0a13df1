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

// commit is set where the build does not see the repository, as in the image's. Otherwise Go notes it by itself.
var commit string

// versionText names the version, the commit it was built from and the Go it was built with.
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
