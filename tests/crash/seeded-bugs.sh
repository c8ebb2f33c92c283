#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Each mistake of common/store/bug.h, built into the store, is found by the
# test of power cuts: it fails, and names the seed, which is enough to see it
# fail again.  BUILD is the build folder.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build/gcc}
# A mistake that hides for so long counts as not found.
SEEDS=500
unset SEED FIRST_SEED
export SEEDS
[ -d "$build/bugs" ] || {
    echo "SKIP: the store with mistakes is not built here (make bugs)"
    exit 77
}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
missed=0 found=0

bugs=$(sed -n 's/^#define \(BUG_[A-Z_]*\) [1-9].*/\1/p' common/store/bug.h)
for bug in $bugs; do
    "$build/bugs/$bug/test_power_cut" >"$out" 2>&1
    code=$?
    seed=$(grep -o -m1 'SEED=[0-9]*' "$out")
    if [ $code -ne 0 ] && [ -n "$seed" ] &&
        ! env "$seed" "$build/bugs/$bug/test_power_cut" >/dev/null 2>&1; then
        found=$((found + 1))
        printf '%-28s found by %s: %s\n' "$bug" "$seed" \
            "$(grep -B1 -m1 'SEED=' "$out" | head -n 1)"
    else
        missed=$((missed + 1))
        printf '%-28s NOT FOUND (exit %d)\n' "$bug" $code
        tail -n 5 "$out"
    fi
done
[ $missed -eq 0 ] && [ $found -gt 0 ]
