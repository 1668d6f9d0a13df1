#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Installs servers for tests with the system's package manager, and keeps them from starting. To be sourced by scripts
# that set NAME, what they find, and REMEDY, what to do by hand.

# What the PATH of a user may lack.
readonly PROGRAMS=/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/opt/homebrew/bin

as_root=()
policy=/usr/sbin/policy-rc.d
guarded=

say() { echo "$NAME: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

become_root() {
  ((EUID == 0)) && return
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
    return
  fi
  fail "$NAME is missing and installing it needs root: $REMEDY"
}

# run runs a command as root, with nothing but messages as output.
run() { ${as_root[@]+"${as_root[@]}"} "$@" >&2 </dev/null; }

# install_with_apt installs a package, and disables the services that are named behind it.
install_with_apt() {
  local package=$1 service
  shift
  run apt-get update --quiet || say "the package lists could not be updated, trying those at hand"
  keep_services_down
  run env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "$package" || return
  for service in "$@"; do
    run update-rc.d "$service" disable || say "the service $service may start at the next boot"
  done
}

# keep_services_down stops packages from starting their servers.
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

# install_package takes the names of a package for apt, apk, dnf and brew, and of services to disable.
install_package() {
  local apt=$1 apk=$2 dnf=$3 brew=$4
  shift 4
  say "installing it with the system's package manager"
  if command -v brew >/dev/null; then
    brew install "$brew" >&2 </dev/null
  elif command -v apt-get >/dev/null; then
    become_root && install_with_apt "$apt" "$@"
  elif command -v apk >/dev/null; then
    become_root && run apk add --no-cache "$apk"
  elif command -v dnf >/dev/null; then
    become_root && run dnf install --assumeyes "$dnf"
  else
    fail "$NAME is missing and there is no package manager that this script knows: $REMEDY"
  fi
}

# find_or_install prints what the function find finds, after an installation if it finds nothing.
find_or_install() {
  local found
  if ! found=$(find_server); then
    install_package "$@" || fail "the installation failed: $REMEDY"
    found=$(find_server) || fail "$NAME is still missing after the installation: $REMEDY"
  fi
  echo "$found"
}

# check_major fails unless a version, such as 10.11.6, has at least a major number.
check_major() {
  local server=$1 version=$2 least=$3
  [[ ${version%%.*} =~ ^[0-9]+$ ]] || fail "$server --version is not understood: $REMEDY"
  ((${version%%.*} >= least)) || fail "$server is version $version, too old: $REMEDY"
}
