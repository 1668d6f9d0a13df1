#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of redis-server (7.0 or later). If it is missing, the system's package manager installs it.
set -euo pipefail

readonly NAME=redis-server
readonly REMEDY="install Redis 7.0 or later so that redis-server is on the PATH: package redis-server on Debian and \
Ubuntu, redis on Alpine, Fedora and Homebrew"

. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

find_server() { PATH=$PATH:$PROGRAMS command -v redis-server; }

main() {
  local server
  server=$(find_or_install redis-server redis redis redis redis-server)
  check_major "$server" "$("$server" --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')" 7
  echo "$server"
}

main "$@"
