#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of redis-server (7.0 or later). If it is missing, the system's package manager installs it.
set -euo pipefail

readonly REMEDY="install Redis 7.0 or later so that redis-server is on the PATH: package redis-server on Debian and \
Ubuntu, redis on Alpine, Fedora and Homebrew"

as_root=()
policy=/usr/sbin/policy-rc.d
guarded=

say() { echo "redis: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

# find_server also searches the directories of root's programs, which the PATH of a user may lack.
find_server() {
  PATH=$PATH:/usr/local/bin:/usr/bin:/usr/sbin:/opt/homebrew/bin command -v redis-server
}

become_root() {
  ((EUID == 0)) && return
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
    return
  fi
  fail "redis-server is missing and installing it needs root: $REMEDY"
}

# run runs a command as root, with nothing but messages as output.
run() { ${as_root[@]+"${as_root[@]}"} "$@" >&2 </dev/null; }

install_with_apt() {
  run apt-get update --quiet || say "the package lists could not be updated, trying those at hand"
  keep_services_down
  run env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends redis-server || return
  run update-rc.d redis-server disable || say "the service redis-server may start at the next boot"
}

# keep_services_down stops the package from starting a server on port 6379.
keep_services_down() {
  trap allow_services EXIT
  if [[ ! -e $policy ]]; then
    guarded=yes
    printf '#!/bin/sh\nexit 101\n' | ${as_root[@]+"${as_root[@]}"} tee "$policy" >/dev/null
    run chmod 755 "$policy"
  fi
}

allow_services() {
  if [[ -n $guarded ]]; then
    run rm -f "$policy"
    guarded=
  fi
}

install() {
  say "redis-server is not on the PATH: installing it with the system's package manager"
  if command -v brew >/dev/null; then
    brew install redis >&2 </dev/null
  elif command -v apt-get >/dev/null; then
    become_root && install_with_apt
  elif command -v apk >/dev/null; then
    become_root && run apk add --no-cache redis
  elif command -v dnf >/dev/null; then
    become_root && run dnf install --assumeyes redis
  else
    fail "redis-server is missing and there is no package manager that this script knows: $REMEDY"
  fi
}

check_version() {
  local version major
  version=$("$1" --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
  major=${version%%.*}
  [[ -n $major ]] || fail "$1 --version is not understood: $REMEDY"
  ((major >= 7)) || fail "$1 is version $version, too old: $REMEDY"
}

main() {
  local server
  if ! server=$(find_server); then
    install || fail "the installation failed: $REMEDY"
    server=$(find_server) || fail "redis-server is still missing after the installation: $REMEDY"
  fi
  check_version "$server"
  echo "$server"
}

main "$@"
