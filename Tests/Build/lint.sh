#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the formatter does not look at.
set -euo pipefail
cd "$(dirname "$0")/../.."
failed=0

complain() {
	echo "lint: $1" >&2
	failed=1
}

# Every source says its licence in its first lines.
while read -r file; do
	head -3 "$file" | grep -q 'SPDX-License-Identifier: ' || complain "$file: no SPDX line"
done < <(git ls-files '*.swift' '*.c' '*.h' '*.S' '*.sh' '*.py' Makefile)

# The BPF programs may be used under either licence, all of them.
while read -r file; do
	head -1 "$file" | grep -q 'GPL-2.0-only OR BSD-2-Clause' || complain "$file: not dual-licensed"
done < <(git ls-files 'bpf/*')

# No forced anything, and no Foundation, in the program.
if git grep -nE 'try!|as!|^import Foundation' -- 'Sources/*.swift'; then
	complain "forced casts, forced try or Foundation in Sources"
fi

# Generated files and machine paths don't belong in the repository.
if git ls-files | grep -E '\.build/|Package\.resolved|\.bpf\.o$|/generated/'; then
	complain "generated files are committed"
fi

exit $failed
