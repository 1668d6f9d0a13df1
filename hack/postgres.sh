#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the directory of the programs of PostgreSQL (13 or later), among them initdb and postgres. If they are missing,
# the system's package manager installs them. Debian has them off the PATH.
set -euo pipefail

readonly NAME=postgres
readonly REMEDY="install PostgreSQL 13 or later: package postgresql on Debian, Ubuntu and Homebrew, postgresql16 on \
Alpine, postgresql-server on Fedora"

. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

# find_server prefers the newest of those off the PATH, which are complete.
find_server() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres /usr/libexec/postgresql*/postgres | sort --version-sort |
    tail -n 1)
  if [[ -x $newest ]]; then
    echo "$newest"
    return
  fi
  PATH=$PATH:$PROGRAMS command -v postgres
}

main() {
  local server
  server=$(find_or_install postgresql postgresql16 postgresql-server postgresql postgresql)
  check_major "$server" "$("$server" --version | sed -n 's/.* \([0-9][0-9.]*\).*/\1/p')" 13
  dirname "$server"
}

main "$@"
