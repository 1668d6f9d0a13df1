# Copyright The Cachewright Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Room for the files of a run, for bash to source. Where a disk has too little, they go into memory.

# What a run on a fresh machine needs, in MiB: for temporary files, for what Go builds, and for
# modules.
readonly TEMPORARY_NEED=6000 BUILD_NEED=9000 MODULES_NEED=3000
# What processes need of memory, in MiB.
readonly PROCESSES_NEED=5000
# A phase that begins with less than this, in MiB, may fail for lack of room.
readonly SHORT=3000

declare -A promised=() # MiB by disk, to what has its place there
in_memory=             # the folder in memory, if there is one

free_mib() { df -Pk "$1" | awk 'END { print int($4 / 1024) }'; }
size_mib() { du -sk "$1" | awk 'END { print int($1 / 1024) }'; }
disk_of() { df -Pk "$1" | awk 'END { print $6 }'; }

# left_mib prints what is free on the disk of a folder and not promised.
left_mib() { echo $(($(free_mib "$1") - ${promised[$(disk_of "$1")]:-0})); }

# memory_mib prints how many MiB of files memory can hold: 0 if programs cannot be run there.
memory_mib() {
  local program=/dev/shm/cachewright-$$ files=0 memory
  if { printf '#!/bin/sh\n' >"$program" && chmod +x "$program" && "$program"; } 2>/dev/null; then
    memory=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    files=$(left_mib /dev/shm)
    memory=$((memory - PROCESSES_NEED - ${promised[/dev/shm]:-0}))
    files=$((files < memory ? files : memory))
  fi
  rm -f "$program"
  echo $((files > 0 ? files : 0))
}

# place exports a variable that names a folder, and promises it room there. It names a folder in
# memory instead if the disk has too little room and memory has enough, or has more where the disk
# has next to none.
place() {
  local variable=$1 need=$(($2 > 0 ? $2 : 0)) left memory
  mkdir -p "${!variable}"
  left=$(left_mib "${!variable}")
  if ((left < need)) && memory=$(memory_mib) &&
    ((memory >= need || (left < need / 4 && memory > left))); then
    in_memory=${in_memory:-$(mktemp -d /dev/shm/cachewright-XXXXXX)}
    echo "=== room: $variable is in memory, as ${!variable} has $left MiB left of the $need that it may need"
    printf -v "$variable" %s "$in_memory/$variable"
    mkdir "${!variable}"
  fi
  if (($(free_mib "${!variable}") < need / 4)); then
    echo "=== room: ${!variable} has $left MiB left of the $need that $variable may need. Free some, or let $variable name a folder on a larger disk" >&2
    exit 1
  fi
  export "${variable?}"
  promised[$(disk_of "${!variable}")]=$((${promised[$(disk_of "${!variable}")]:-0} + need))
}

# make_room places all files of a run. What is there already needs no further room.
make_room() {
  TMPDIR=${TMPDIR:-/tmp} GOCACHE=$(go env GOCACHE) GOMODCACHE=$(go env GOMODCACHE)
  trap rm_room EXIT
  unset GOTMPDIR # it would have a place of its own
  place TMPDIR "$TEMPORARY_NEED"
  mkdir -p "$GOCACHE" "$GOMODCACHE"
  place GOMODCACHE $((MODULES_NEED - $(size_mib "$GOMODCACHE")))
  place GOCACHE $((BUILD_NEED - $(size_mib "$GOCACHE")))
}

show_room() {
  echo "free: $(free_mib "$TMPDIR") MiB for temporary files, $(free_mib "$GOCACHE") for builds"
}

# rm_room removes the folder in memory. Modules are read-only.
rm_room() {
  if [[ -n $in_memory ]]; then
    chmod -R u+w "$in_memory" || true
    rm -rf "$in_memory"
  fi
}

# keep_room empties Go's cache if its disk is nearly full: building again takes minutes, and no run
# fails for it.
keep_room() {
  if (($(free_mib "$GOCACHE") < SHORT && $(size_mib "$GOCACHE") > SHORT)); then
    echo "=== room: emptying $GOCACHE, as its disk has only $(free_mib "$GOCACHE") MiB left"
    go clean -cache
  fi
}
