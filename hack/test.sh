#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of PACKAGES, one line a package. TESTFLAGS are more flags for go test; RACE is -race
# where that works. Two runs go side by side, because many tests wait for processes:
#
#   - packages whose goroutines meet, with the race detector
#   - packages whose tests drive other processes, without it: it would only slow them down
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PROCESSES='/api/v1$|/config$|/examples/|/hack/(chaos/|demo$)|/registry/(garbage|model)$'

packages=$(go list ${PACKAGES:-./...}) || exit
mapfile -t processes < <(grep -E "$PROCESSES" <<<"$packages")
mapfile -t goroutines < <(grep -Ev "$PROCESSES" <<<"$packages")

# run runs go test with flags, for the packages behind a double dash.
run() {
  local flags=()
  while [[ $1 != -- ]]; do
    flags+=("$1")
    shift
  done
  shift
  if (($# > 0)); then
    go test -count=1 -timeout 20m "${flags[@]}" ${TESTFLAGS:-} "$@"
  fi
}

run -p 1 -- "${processes[@]}" &
other=$!
run ${RACE:-} -p 2 -- "${goroutines[@]}"
status=$?
wait "$other" && exit "$status"
