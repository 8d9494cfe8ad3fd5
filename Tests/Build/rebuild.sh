#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A changed BPF source must reach the program. SwiftPM does not see that by itself: the hash in
# Sources/CEvent/generated/objects.h makes it.
set -euo pipefail
cd "$(dirname "$0")/../.."

source=bpf/mpscope.bpf.c
program=.build/release/mpscope
mark="mark-$$-$RANDOM$RANDOM"
backup=$(mktemp)
cp -p "$source" "$backup"
trap 'cp -p "$backup" "$source"; rm -f "$backup"' EXIT

fail() {
	echo "rebuild: $1" >&2
	exit 1
}

printf '\nchar rebuild_mark[] SEC("license.mark") = "%s";\n' "$mark" >>"$source"
make build >/dev/null
grep -q "$mark" "$program" || fail "a changed BPF source did not reach $program"

cp "$backup" "$source"
make build >/dev/null
grep -q "$mark" "$program" && fail "an old BPF object stayed in $program"

before=$(stat -c %Y.%s "$program")
make build >/dev/null
[ "$before" = "$(stat -c %Y.%s "$program")" ] || fail "nothing changed and $program was made anew"
echo "rebuild: 3 passed, 0 failed"
