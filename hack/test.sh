#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of PACKAGES and prints one line a package, with the log where tests fail. TESTFLAGS
# are more flags for go test; RACE is -race where that works. Two runs go side by side, because many
# tests wait for processes:
#
#   - packages whose goroutines meet, with the race detector
#   - packages whose tests drive other processes, or run in one goroutine, without it: it would only
#     slow them down
#
# Each begins with its longest packages. "go vet" is left to its caller. Whatever the tests started
# ends with this script, also when that is interrupted, and their files go with it.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PROCESSES='/api/v1$|/cmd/operator$|/config$|/examples/|/hack/|/internal/(kubetest|redistest|shipped)$|/registry/(garbage|model)$'
# Packages that start no goroutine, and whose tests start none. A test in internal/shipped checks that.
readonly SEQUENTIAL='/cache/internal/(redact|schema)$|/controllers/(cacheinvalidation/history|cachepolicy|cachestore)$|/controllers/internal/(convert|resource|status)$|/internal/(contain|manifest)$|/registry/internal/(fault|info|invalidation|parse)$'
# The longest packages, the longest first.
readonly LONGEST='/hack/chaos/neighbours /hack/chaos/purges /controllers /registry /cache /hack/chaos
  /cmd/operator /config /internal/redistest /registry/model /cache/cachetest'

packages=$(go list ${PACKAGES:-./...}) || exit

# in_order prints the names of its input, those of LONGEST first.
in_order() {
  local names name
  names=$(cat)
  for name in $LONGEST; do
    grep -E "cachewright$name\$" <<<"$names"
  done
  for name in $LONGEST; do
    names=$(grep -vE "cachewright$name\$" <<<"$names")
  done
  echo "$names"
}

mapfile -t processes < <(grep -E "$PROCESSES|$SEQUENTIAL" <<<"$packages" | in_order | grep .)
mapfile -t goroutines < <(grep -Ev "$PROCESSES|$SEQUENTIAL" <<<"$packages" | in_order | grep .)

files=$(mktemp -d)
mkdir "$files/tmp"
export TMPDIR=$files/tmp
sessions=()

# end_session kills what is left of a session of processes. Tests give the programs that they start
# process groups of their own, but not sessions. A pass may miss what is started meanwhile.
end_session() {
  local pass
  kill -KILL -- "-$1"
  for pass in 1 2 3 4 5; do
    end_members "$1" || return
    sleep 0.1
  done
}

# end_members kills the processes of a session, where there is /proc. It fails if there are none.
end_members() {
  local session=$1 stat fields found=1
  for stat in /proc/[0-9]*/stat; do
    { read -r fields <"$stat"; } 2>/dev/null || continue
    read -r _ _ _ fields _ <<<"${fields##*) }"
    if [[ $fields == "$session" ]]; then
      stat=${stat#/proc/}
      kill -KILL "${stat%/stat}"
      found=0
    fi
  done
  return "$found"
}

end() {
  trap - EXIT
  exec 2>/dev/null # says which processes were killed, and that others had ended
  for session in "${sessions[@]}"; do
    end_session "$session"
  done
  rm -rf "$files"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Without setsid, job control gives each run a process group.
SETSID=$(command -v setsid) || set -m

# begin starts go test with flags, for the packages behind a double dash.
begin() {
  local flags=() fifo=$files/${#sessions[@]}
  while [[ $1 != -- ]]; do
    flags+=("$1")
    shift
  done
  shift
  if (($# == 0)); then
    return
  fi
  mkfifo "$fifo"
  "$files/testlog" "${log[@]}" <"$fifo" &
  logs+=($!)
  $SETSID go test -json -count=1 -vet=off -timeout 20m "${flags[@]}" ${TESTFLAGS:-} "$@" >"$fifo" 2>&1 &
  sessions+=($!)
}

log=() logs=()
if [[ " ${TESTFLAGS:-} " == *" -v "* ]]; then
  log=(-v)
fi
go build -o "$files/testlog" ./hack/testlog || exit
if [[ $packages == */hack/chaos/* ]]; then
  go build -ldflags='-s -w' -o "$files/operator" ./cmd/operator || exit
  export OPERATOR_BINARY=$files/operator
fi

# A binary with the race detector waits a second at its end by default.
export GORACE="atexit_sleep_ms=0 ${GORACE:-}"

begin -p 2 -- "${processes[@]}"
begin ${RACE:-} -p 2 -- "${goroutines[@]}"
status=0
for run in "${sessions[@]}"; do
  wait "$run" || status=$?
done
wait "${logs[@]}"
exit "$status"
