#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the paths of a Redis 8 and a Valkey 8, one a line, for tests on more than one server. Each is named
# redis-server, so that tests with its directory first on the PATH use it. They are packages of a newer Debian release
# than the machine may have. The script unpacks them, with the libraries and the loader of that release, into a cache of
# the user, and installs nothing. It fails with a reason on a machine that cannot run them.
set -euo pipefail

readonly RELEASE=trixie # Debian 13: Redis 8.0, Valkey 8.1
readonly SERVERS=(redis valkey)
readonly PACKAGES=(redis-server redis-tools valkey-server valkey-tools libatomic1 libc6 libcap2 libgcc-s1 libjemalloc2
  liblzf1 libssl3t64 libstdc++6 libsystemd0 libzstd1 zlib1g)
readonly LIMIT=120 # seconds for each of the two downloads

cache=${XDG_CACHE_HOME:-$HOME/.cache}/cachewright/servers
workspace=

say() { echo "servers: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

complete() {
  local server
  for server in "${SERVERS[@]}"; do
    [[ -x $1/$server/redis-server ]] || return 1
  done
}

print() { printf "$1/%s/redis-server\n" "${SERVERS[@]}"; }

clean_up() {
  if [[ -n $workspace ]]; then
    rm -rf "$workspace"
  fi
}

check_machine() {
  local tool
  for tool in apt-get dpkg dpkg-deb timeout; do
    command -v "$tool" >/dev/null || fail "Redis 8 and Valkey 8 are packages of Debian, and there is no $tool here"
  done
}

# mirror prints the mirror of this machine's Debian.
mirror() {
  local id codename
  # shellcheck disable=SC1091 # of the machine
  {
    id=$(. /etc/os-release && echo "${ID:-}")
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  }
  [[ $id == debian ]] || fail "Redis 8 and Valkey 8 are packages of Debian, and this machine runs ${id:-something else}"
  # shellcheck disable=SC2016 # apt-get puts in the values
  apt-get indextargets --no-release-info --format '$(REPO_URI)' \
    "Release: $codename" 'Component: main' 'Created-By: Packages' | head -n 1
}

# configure_apt makes apt keep lists and downloads in the workspace, and leave those of the machine alone. Otherwise the
# configuration of the machine applies: its proxy and its keys.
configure_apt() {
  local uri=$1 apt=$workspace/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $RELEASE main" >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "1";
APT::Sandbox::User "root";
CONF
  export APT_CONFIG=$apt/apt.conf
}

# quietly shows the output of a command only if it fails.
quietly() {
  timeout --kill-after=5 "$LIMIT" "$@" >"$workspace/log" 2>&1 </dev/null && return
  tail -n 5 "$workspace/log" >&2
  fail "$1 $2 failed, see above: is the Debian mirror of this machine reachable, and has it $RELEASE?"
}

fetch() {
  say "fetching Redis 8 and Valkey 8 from Debian $RELEASE, once per machine"
  quietly apt-get update --error-on=any
  cd "$workspace"
  quietly apt-get download "${PACKAGES[@]}"
  local package
  for package in *.deb; do
    dpkg-deb --extract "$package" "$workspace/root"
  done
}

# write_launcher writes a program that starts a server with the loader and the libraries it was built for.
write_launcher() {
  local server=$1 launcher=$workspace/root/$1/redis-server
  mkdir "$workspace/root/$server"
  cat >"$launcher" <<LAUNCHER
#!/bin/bash
root=\$(cd "\$(dirname "\${BASH_SOURCE[0]}")/.." && pwd)
for loader in "\$root"/usr/lib/*/ld-linux*.so.*; do
  exec "\$loader" --library-path "\$(dirname "\$loader")" "\$root/usr/bin/$server-server" "\$@"
done
LAUNCHER
  chmod 755 "$launcher"
  "$launcher" --version >"$workspace/log" 2>&1 && return
  tail -n 5 "$workspace/log" >&2
  fail "$server of Debian $RELEASE does not run on this machine, see above"
}

# publish puts the complete servers in place with a rename. Another process may have been faster.
publish() {
  complete "$1" && return
  rm -rf "$1"
  mv --no-target-directory "$workspace/root" "$1" 2>/dev/null || complete "$1" || fail "$1 cannot be written"
}

prepare() {
  local target=$1 uri server
  uri=$(mirror)
  [[ -n $uri ]] || fail "the configuration of apt names no Debian mirror that has Redis 8 and Valkey 8"
  mkdir -p "$cache"
  find "$cache" -maxdepth 1 -name '.fetching-*' -mmin +60 -exec rm -rf {} + # of processes that were killed
  trap clean_up EXIT
  workspace=$(mktemp -d "$cache/.fetching-XXXXXX")
  configure_apt "$uri"
  fetch
  for server in "${SERVERS[@]}"; do
    write_launcher "$server"
  done
  publish "$target"
}

main() {
  check_machine
  local target
  target=$cache/$RELEASE-$(dpkg --print-architecture)
  complete "$target" || prepare "$target"
  print "$target"
}

main "$@"
