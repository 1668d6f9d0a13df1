#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of Chromium (110 or later), for tests of pages. If it is missing, the system's package manager installs
# it.
set -euo pipefail

readonly NAME=Chromium
readonly REMEDY="install Chromium so that chromium is on the PATH: package chromium on Debian, Alpine, Fedora and Homebrew"

. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

find_server() {
  local name
  for name in chromium chromium-browser google-chrome; do
    PATH=$PATH:$PROGRAMS command -v "$name" && return
  done
}

main() {
  local browser
  browser=$(find_or_install chromium chromium chromium chromium)
  check_major "$browser" "$("$browser" --version 2>/dev/null | sed -n 's/[^0-9]*\([0-9][0-9.]*\).*/\1/p' | head -n 1)" 110
  echo "$browser"
}

main "$@"
