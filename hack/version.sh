#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Sets the version that the next release has, in every file that names it: hack/version.sh v1.2.3. Without a version it
# prints the one that is set.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

old=$(sed -n 's/^ *newTag: //p' config/image/kustomization.yaml)
if (($# == 0)); then
  echo "$old"
  exit
fi
if [[ ! $1 =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.]+)?$ ]]; then
  echo "$1 is no version such as v1.2.3 or v1.2.3-rc.1" >&2
  exit 1
fi
sed -i "s/\b${old//./\\.}\b/$1/g" config/image/kustomization.yaml config/gitops/operator/*.yaml docs/gitops.md docs/install.md
sed -i "s/^version: .*/version: ${1#v}/; s/^appVersion: .*/appVersion: $1/" charts/cachewright/Chart.yaml
