#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Gathers a release in DIST: manifests, binaries, the chart, the image with its bills of materials, checksums. The same
# commit makes the same files. Publishes nothing, unless PUSH names the image in a registry. docs/releasing.md says what follows.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(hack/version.sh)
if [[ ${VERSION:-$version} != "$version" ]]; then
  echo "The manifests name $version, so this checkout is no $VERSION: run hack/version.sh $VERSION, and commit" >&2
  exit 1
fi
dist=$(realpath --canonicalize-missing "${DIST:-dist}")
commit=${COMMIT:-$(git rev-parse HEAD)}
platforms=${PLATFORMS:-linux/amd64,linux/arm64}

rm -rf "$dist"
mkdir -p "$dist"
make --silent build-installer DIST="$dist"
go -C hack/image run . -source "$PWD" -output "$dist/operator.tar" -binaries "$dist" -platforms "$platforms" \
  -version "$version" -commit "$commit" ${PUSH:+-push "$PUSH"}

# archive writes a tar archive that does not depend on when, where and by whom it is made.
archive() {
  tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=ustar "$@" |
    gzip --no-name
}

# Other programs, such as a command line, come beside the operator.
for binary in "$dist"/operator-linux-*; do
  if [[ $binary == *.json ]]; then
    continue
  fi
  archive --directory="$dist" --transform="s/^${binary##*/}$/operator/" "${binary##*/}" --directory="$PWD" LICENSE \
    >"$binary.tar.gz"
  rm "$binary"
done
# As helm package does, which writes the time into it.
archive --directory=charts cachewright >"$dist/cachewright-${version#v}.tgz"
sums=$(cd "$dist" && LC_ALL=C sha256sum -- *)
echo "$sums" >"$dist/checksums.txt"
echo "$version is in $dist:"
ls "$dist"
