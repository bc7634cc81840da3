#!/usr/bin/env bash
# Checks formatting, lints and documentation, and runs the tests on two drivers: the machine's own, and the newest
# software Vulkan (scripts/newest-software-vulkan), which has f16, 64-bit words and matrix units. Needs Rust. On Debian
# and Ubuntu it installs what is missing: a C compiler, and a software Vulkan driver if there is no device. The last
# lines say what ran, and what could not run here and why.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

lint() {
    cargo clippy "${everything[@]}" --all-targets -- -D warnings
    # With the examples, because cargo then uses the dependencies that clippy has checked. Without the examples, their
    # features differ, and most are checked again.
    RUSTDOCFLAGS="-D warnings" cargo doc "${everything[@]}" --no-deps --lib --examples
    # The library by itself, as an engine uses it.
    cargo clippy --locked -p octconv --lib --no-default-features -- -D warnings
}

# Runs everything on the first driver. On the others only the tests that need a device run.
test_on_drivers() {
    local i last=$((${#titles[@]} - 1))
    run_tests "${titles[0]}" "${runners[0]}"
    for ((i = 1; i <= last; i++)); do
        run_device_tests "${titles[i]}" "${runners[i]}"
    done
    OCTCONV_CHECKED=1 run_tests "${titles[last]}, some with checks in the shaders" "${runners[last]}" \
        --test device -- "${checked_tests[@]}"
}

install_tools
set_environment
rm -rf "$reports"
mkdir -p "$reports"

say "formatting"
cargo fmt --all --check
say "building"
cargo test "${everything[@]}" --no-run
say "lints and documentation"
lint
find_drivers
test_on_drivers
print_summary
