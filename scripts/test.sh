#!/usr/bin/env bash
# Passes the tests on a machine with Rust: formatting, lints, documentation, and the tests on two drivers: the machine's
# own, and the newest software Vulkan (scripts/newest-software-vulkan), which has f16, 64-bit words and matrix units.
# On Debian and Ubuntu it installs what is missing: a C compiler, and a software Vulkan driver if there is no device.
# The last lines say what ran, and what could not run here and why.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

lint() {
    cargo clippy "${everything[@]}" --all-targets -- -D warnings
    # With the examples, because cargo then documents with the dependencies that clippy has checked. Without them their
    # features differ, and most are checked again.
    RUSTDOCFLAGS="-D warnings" cargo doc "${everything[@]}" --no-deps --lib --examples
    # The library by itself, as an engine takes it.
    cargo clippy --locked -p octconv --lib --no-default-features -- -D warnings
}

# Everything on the first driver. What runs on no device is not run again on the second.
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
