#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the lines of README.md for the cluster in a cluster of kind, up to its purge. Then, in another one, it runs those of
# docs/install.md, in their order, with this checkout as the release and the policy and the purge of README.md in between.
# At the end a namespace with a policy is deleted, though no operator runs. Needs docker, kind and kubectl. With --print it
# only prints what it would run.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(hack/version.sh)
export KIND_CLUSTER_NAME=cachewright-e2e # of all lines that name none

run() {
  echo "+ $1" >&2
  if [[ ${mode:-} != --print ]]; then
    bash -euo pipefail -c "$1"
  fi
}

# readme prints the commands below a heading of README.md.
readme() {
  awk -v heading="## $1" '/^## / {below = $0 == heading} /^```$/ {block = 0} block {print} below && /^```sh$/ {block = 1}' README.md
}

# save writes a YAML block of README.md into the file that its first line names.
save() {
  local text
  text=$(manifest "$1")
  run "cat >$(sed -n '1s/^# //p' <<<"$text") <<'EOM'
$text
EOM"
}

# lines prints the commands of the first block below a heading of docs/install.md, for the files in dist/.
lines() {
  awk -v heading="## $1" '$0 == heading {below = 1} below && /^```$/ {exit} block {print} below && /^```sh$/ {block = 1}' \
    docs/install.md | sed "s#https://github.com/cachewright/cachewright/releases/download/$version/#dist/#"
}

# manifest prints the first YAML block of README.md that has a kind.
manifest() {
  awk -v kind="kind: $1" '/^```yaml$/ {block = 1; text = ""; next} /^```$/ {if (block && index(text, kind)) {printf "%s", text; exit}
    block = 0} block {text = text $0 "\n"}' README.md
}

follow() {
  local line
  while IFS= read -r line; do
    run "$line"
  done < <(lines "$1")
}

create() {
  run "kubectl create -f - <<'EOM'
$(manifest "$1")
EOM"
}

# redis runs a Redis with the password of docs/install.md.
redis() {
  run "kubectl -n shop create deployment redis --image=redis:8 -- redis-server --requirepass secret"
  run "kubectl -n shop expose deployment redis --port=6379"
  run "kubectl -n shop rollout status deployment/redis --timeout=180s"
}

follow_readme() {
  run "$(readme Install)"
  save CachePolicy
  save CacheInvalidation
  run "$(readme "A first policy and a first purge")"
  run "kind delete cluster"
}

prepare() {
  run "kind create cluster --wait 120s"
  run "make docker-build IMG=ghcr.io/cachewright/cachewright:$version VERSION=$version"
  run "kind load docker-image ghcr.io/cachewright/cachewright:$version"
  run "make build-installer"
  run "kubectl create namespace shop"
  redis
}

mode=${1:-}
follow_readme
prepare
follow Install
create CachePolicy
run "kubectl -n shop wait --for=condition=Ready cachepolicy --all --timeout=60s"
create CacheInvalidation
run "kubectl -n shop wait --for=condition=Complete cacheinvalidation --all --timeout=60s"
follow Upgrade
follow "Remove the operator and keep the resources"
run "kubectl delete namespace shop --timeout=60s"
run "kind delete cluster"
