#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Checks that generated files and formatting are up to date, by generating them in a copy of the tree and comparing.
# Also checks go.mod and go.sum of each module, and that the manifests build. Changes nothing. Uncommitted changes are
# checked like committed ones.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
failed=()

# check runs a command that fails and prints what is wrong.
check() {
  local what=$1 remedy=$2 output
  shift 2
  if output=$("$@" 2>&1); then
    echo "ok      $what"
    return
  fi
  failed+=("$what")
  printf 'FAILED  %s: %s\n%s\n' "$what" "$remedy" "$(head -n 100 <<<"$output")"
}

# copy_tree copies the files that are committed or could be.
copy_tree() {
  mkdir "$1"
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [[ -e $file ]]; then
      printf '%s\0' "$file"
    fi
  done | tar --create --null --files-from=- | tar --extract --directory="$1"
}

regenerated() {
  copy_tree "$copies/is"
  cp -R "$copies/is" "$copies/should"
  make --silent --no-print-directory -C "$copies/should" generate manifests chart || return
  diff --recursive --unified "$copies/is" "$copies/should"
}

formatted() {
  local files
  files=$(go tool -modfile=hack/tools/go.mod gofumpt -l .)
  echo "$files"
  [[ -z $files ]]
}

# tidy may download modules. These messages are no difference.
tidy() {
  go -C "$1" mod tidy -diff 2>"$copies/messages" || {
    grep -v '^go: downloading' "$copies/messages"
    return 1
  }
}

built() { go tool -modfile=hack/tools/go.mod kustomize build "$1" >/dev/null; }

check "generated files" "run make generate manifests chart" regenerated
check "formatting" "run make fmt" formatted
for file in $(git ls-files --cached --others --exclude-standard -- go.mod '*/go.mod'); do
  module=$(dirname "$file")
  check "go.mod and go.sum of $module" "run go mod tidy in $module" tidy "$module"
done
for kustomization in config/default config/namespaced config/watched-namespace config/release-finalizers config/people config/samples config/samples/purges config/samples/store config/samples/hold; do
  check "$kustomization" "kustomize build $kustomization must work" built "$kustomization"
done

if ((${#failed[@]} > 0)); then
  echo "verify failed: ${#failed[@]} of the checks above"
  exit 1
fi
