#!/usr/bin/env bash
# Tests what runs in browsers, in headless Chromium with its software GPU: builds the page and the package for npm, drives
# the page, and gives every kernel that can run in a browser to Tint, Chromium's compiler. Needs Rust and Node 20 or later.
# On Debian it installs what is missing. Ubuntu has Chromium only as a snap: there Chromium or Chrome must be installed
# before, or CHROMIUM must name its program. Screenshots and a report stay in target/web-results.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_INCREMENTAL=0
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly tests=crates/octconv-web/tests results=$target/web-results

install_browser_and_node() {
    need_node
    for CHROMIUM in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
        CHROMIUM=$(command -v "$CHROMIUM") && break
    done || { install chromium && CHROMIUM=$(command -v chromium); } ||
        fail "Chromium is missing, and apt cannot install it here: install it or Chrome, or set CHROMIUM to its program"
    export CHROMIUM
    # The lock file has the versions and their checksums.
    (cd "$tests" && npm ci --no-audit --no-fund --silent)
}

# Packs the package, and unpacks it as npm does.
pack() {
    local packed
    packed=$(cd "$target/web" && npm pack ./npm --silent)
    rm -rf "$results/package"
    tar -xzf "$target/web/$packed" -C "$results"
}

# The package may lie elsewhere than the tests' own tsconfig.json says, which is there for editors.
check_types() {
    local own=$PWD/$tests package
    package=$(cd "$results/package" && pwd)
    cat >"$results/tsconfig.json" <<CONFIG
{
  "extends": "$own/tsconfig.json",
  "compilerOptions": { "paths": { "octconv": ["$package/octconv.d.ts"] } },
  "files": ["$own/types.ts"]
}
CONFIG
    "$tests/node_modules/.bin/tsc" -p "$results/tsconfig.json"
}

# The page's answers to the shipped pictures must be those of the native program, which also reads the page's report.
compare_with_native() {
    say "the native program on the shipped pictures, and on the page's report"
    "$octconv" classify --reference --json assets/digits/pictures >"$results/native.json"
    node "$tests/compare.js" "$results/native.json" "$results/pictures.json"
    "$octconv" report --merge "$results/report.json" "$results/report.json"
}

install_tools
install_browser_and_node
mkdir -p "$results"
say "building the native program"
cargo build "${everything[@]}" --bin octconv --example shaders
scripts/web build
say "packing for npm"
pack
say "types for TypeScript"
check_types
say "the page in $("$CHROMIUM" --version 2>/dev/null | tail -n 1)"
PACKAGE=$results/package node "$tests/page.js" "$target/web/page" . "$results"
compare_with_native
say "kernels in Tint"
rm -rf "$results/kernels"
"$target/debug/examples/shaders" "$results/kernels"
node "$tests/tint.js" "$results/kernels"
say "done"
doing=
