#!/bin/sh
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Becomes a program of the control plane, with its arguments, as in `lifeline.sh etcd --data-dir=…`.
# Before, it starts a watcher that kills the program within a second after its parent has ended.
# envtest starts the programs and lets nobody set their attributes. So they would outlive a test that
# is killed.
set -eu

assets=$("${0%/*}/../../hack/control-plane.sh")
parent=$PPID
program=$$
(
  while kill -0 "$parent" && kill -0 "$program"; do sleep 1; done
  kill -KILL "$program"
) </dev/null >/dev/null 2>&1 &

# Suites are short and memory is not: collecting garbage less often saves a quarter of the work.
export GOGC=400
name=$1
shift
exec "$assets/$name" "$@"
