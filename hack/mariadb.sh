#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of mariadbd (10 or later). mariadb-install-db is beside it or on the PATH. If it is missing, the
# system's package manager installs it.
set -euo pipefail

readonly NAME=mariadbd
readonly REMEDY="install MariaDB 10 or later so that mariadbd is on the PATH: package mariadb-server on Debian, Ubuntu \
and Fedora, mariadb on Alpine and Homebrew"

. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

find_server() { PATH=$PATH:$PROGRAMS:/usr/libexec command -v mariadbd; }

main() {
  local server
  server=$(find_or_install mariadb-server mariadb mariadb-server mariadb mariadb)
  check_major "$server" "$("$server" --version | sed -n 's/.* Ver \([0-9.]*\).*/\1/p')" 10
  echo "$server"
}

main "$@"
