#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Prints the directory of kube-apiserver, etcd and kubectl for demo and tests: that of KUBEBUILDER_ASSETS, or one in the
# store that setup-envtest keeps per user. If they are missing, it downloads them, or builds them without a network.
set -euo pipefail

readonly VERSION=1.37.2
readonly RELEASE=${VERSION%.*}
readonly BINARIES=(etcd kube-apiserver kubectl)
# A download must begin soon, otherwise there is no such network. Once it has begun, it may take its time.
readonly ANSWER_SECONDS=20
readonly DOWNLOAD_SECONDS=600

hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
platform=
store=
workspace=
scratch=
group=

say() { echo "control plane: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

# store_root prints the directory of setup-envtest's store.
store_root() {
  if [[ $(uname -s) == Darwin ]]; then
    echo "$HOME/Library/Application Support/io.kubebuilder.envtest"
  else
    echo "${XDG_DATA_HOME:-$HOME/.local/share}/kubebuilder-envtest"
  fi
}

complete() {
  local binary
  for binary in "${BINARIES[@]}"; do
    [[ -f $1/$binary && -x $1/$binary ]] || return 1
  done
}

# installed prints the directory of the pinned version, or of another patch release of it.
installed() {
  local candidate
  for candidate in "$store/k8s/$VERSION-$platform" "$store/k8s/$RELEASE".*-"$platform"; do
    if complete "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

clean_up() {
  if [[ -n $group ]]; then
    kill -TERM -- "-$group" 2>/dev/null || true
    wait "$group" 2>/dev/null || true
  fi
  if [[ -n $workspace ]]; then
    discard "$workspace" ${scratch:+"$scratch"}
  fi
}

# discard removes directories, including the read-only files that setup-envtest downloads.
discard() {
  chmod -R u+w "$@" 2>/dev/null || true
  rm -rf "$@"
}

# open_workspace creates the directory in which binaries are built. It is on the file system of the store, so that a
# rename puts them in place complete. If flock exists, only one process works at a time.
open_workspace() {
  mkdir -p "$store/k8s"
  if command -v flock >/dev/null; then
    exec 9>"$store/.cachewright.lock"
    if ! flock --nonblock 9; then
      say "another process is preparing the binaries, waiting for it"
      until flock --nonblock 9; do
        sleep 1
      done
    fi
    discard "$store"/.cachewright-* # of a process that was killed
  fi
  workspace=$(mktemp -d "$store/.cachewright-XXXXXX")
  mkdir "$workspace/tmp"
}

# publish renames a complete directory into the store. Another process may have been faster.
publish() {
  local name
  name=$(basename "$1")
  local target=$store/k8s/$name
  complete "$target" && return
  discard "$target"
  chmod u+w "$1" # a directory that is read-only cannot be renamed
  mv "$1" "$target"
}

download() {
  say "not installed yet: asking setup-envtest to download $RELEASE (the first byte within $ANSWER_SECONDS s, all within $DOWNLOAD_SECONDS s)"
  local log=$workspace/download.log path
  if ! supervise "$log" "downloading" run_setup_envtest; then
    say "nothing could be downloaded: $(tail -n 1 "$log")"
    return 1
  fi
  path=$(cat "$workspace/path")
  complete "$path" && publish "$path"
}

# run_setup_envtest downloads into the workspace. The limits exclude the build of setup-envtest.
run_setup_envtest() {
  local setup_envtest pid begin
  setup_envtest=$(cd "$hack/tools" && GOWORK=off go tool -n setup-envtest) || return
  TMPDIR=$workspace/tmp "$setup_envtest" use "$RELEASE.x" --print path --bin-dir "$workspace" >"$workspace/path" &
  pid=$! begin=$SECONDS
  while kill -0 "$pid" 2>/dev/null; do
    if out_of_time $((SECONDS - begin)); then
      kill "$pid"
      echo "it took more than $((SECONDS - begin)) s"
      return 1
    fi
    sleep 0.2
  done
  wait "$pid"
}

out_of_time() { (($1 >= DOWNLOAD_SECONDS)) || { (($1 >= ANSWER_SECONDS)) && ! arriving; }; }

# arriving succeeds once a byte of the archive came: setup-envtest writes it to a temporary file first.
arriving() { [[ -n $(find "$workspace/tmp" -type f -size +0c) ]]; }

build() {
  say "building from Go modules instead: once per machine, about 5 minutes on 2 cores"
  local directory=$workspace/$VERSION-$platform
  mkdir "$directory"
  scratch=$(mktemp -d)
  build_one etcd go.etcd.io/etcd/server/v3 "$directory"
  build_one kubectl k8s.io/kubernetes/cmd/kubectl "$directory"
  build_one kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$directory"
  publish "$directory"
}

build_one() {
  local binary=$1 log=$workspace/$1.log begin=$SECONDS
  say "building $binary"
  if ! supervise "$log" "building $binary" run_go_build "$@"; then
    tail -n 20 "$log" >&2
    fail "building $binary failed: is the Go module proxy reachable, and is there memory and disk space left?"
  fi
  say "built $binary in $((SECONDS - begin)) s"
}

# run_go_build keeps what it compiles for this script only: with these flags, no other build can use it.
run_go_build() {
  local binary=$1 package=$2 directory=$3
  cd "$hack/controlplane" || return
  GOCACHE=$scratch GOOS=$(go env GOHOSTOS) GOARCH=$(go env GOHOSTARCH) CGO_ENABLED=0 GOFLAGS='' GOWORK=off \
    go build -trimpath -buildvcs=false -ldflags "-s -w $(version_flags)" -o "$directory/$binary" "$package"
}

# supervise runs a command with its output in a log, and reports regularly that it is still running. The command has its
# own process group, so that an interruption takes effect at once and ends all that the command started.
supervise() {
  local log=$1 what=$2 begin=$SECONDS shown=0 status=0
  shift 2
  set -m
  ("$@") >"$log" 2>&1 </dev/null &
  group=$!
  set +m
  while kill -0 "$group" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - begin - shown >= 20)); then
      shown=$((SECONDS - begin))
      say "$what: still at it after $shown s"
    fi
  done
  wait "$group" || status=$?
  group=
  return "$status"
}

# version_flags makes the binaries report their release, as those of a distribution do.
version_flags() {
  local package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- '-X %s.%s ' "$package" "gitVersion=v$VERSION" "$package" "gitMajor=${RELEASE%.*}" "$package" "gitMinor=${RELEASE#*.}"
  done
}

main() {
  if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
    if complete "$KUBEBUILDER_ASSETS"; then
      (cd "$KUBEBUILDER_ASSETS" && pwd)
      return
    fi
    say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks one of ${BINARIES[*]}: ignored"
  fi
  store=$(store_root)
  platform=$(go env GOHOSTOS)-$(go env GOHOSTARCH)
  installed && return

  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  open_workspace
  installed && return # another process prepared them meanwhile
  download || build
  installed || fail "no usable binaries in $store/k8s"
}

main "$@"
