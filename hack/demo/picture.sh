#!/usr/bin/env bash
# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Draws docs/pictures/demo.png: what the demo says, as a browser shows it. It runs the demo.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly PICTURE=$PWD/docs/pictures/demo.png
readonly LINE_HEIGHT=19 # of the style below, in pixels

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

DEMO_EXIT=1 NO_COLOR=1 make --silent demo | grep -v '^…' | cut -c1-130 >"$folder/said"
{
  echo '<!doctype html><meta charset="utf-8"><title>Demo</title>'
  echo '<style>body {margin: 20px; background: #1e2430; color: #e6e6e6; font: 14px/19px monospace}</style><pre>'
  sed 's/&/\&amp;/g; s/</\&lt;/g' "$folder/said"
  echo '</pre>'
} >"$folder/demo.html"
"$(hack/chromium.sh)" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$folder/profile" \
  --window-size="1180,$((LINE_HEIGHT * $(wc -l <"$folder/said") + 80))" --screenshot="$PICTURE" \
  "file://$folder/demo.html" 2>"$folder/complaints" || {
  cat "$folder/complaints" >&2
  exit 1
}
echo "$PICTURE"
