#!/usr/bin/env bash
# Checks formatting, lints and documentation, and runs the tests on two drivers: the machine's own, and the newest
# software Vulkan (scripts/newest-software-vulkan), which has f16, 64-bit words and matrix units. With OCTCONV_TEST_ALL
# set, every test runs on both. Needs Rust. On Debian and Ubuntu it installs what is missing: a C compiler, and a
# software Vulkan driver if there is no device. The last lines say what ran, and what could not run here and why.
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
    # No figure in the documents differs from the reports. `cargo test` has built it.
    "$target"/debug/examples/figures --check
}

# Runs every test on the last driver, which has the most features. If the first is another software device, it runs
# everything that needs no device, but only some of the device tests: compiling their kernels takes minutes. With
# OCTCONV_TEST_ALL set, it runs all of them. The last driver's tests run beside those of the first.
test_on_drivers() {
    local last=$((${#titles[@]} - 1))
    if [[ $last -gt 0 ]]; then
        start_device_tests "${titles[last]}" "${runners[last]}"
    fi
    if [[ $last -gt 0 && -z ${OCTCONV_TEST_ALL:-} ]] && is_software "${titles[0]}"; then
        run_brief_tests "${titles[0]}" "${runners[0]}"
    else
        run_tests_on_device "${titles[0]}" "${runners[0]}"
    fi
    OCTCONV_CHECKED=1 run_tests_on_device "${titles[last]}, some with checks in the shaders" "${runners[last]}" \
        --test device -- "${checked_tests[@]}"
    if [[ $last -gt 0 ]]; then
        end_device_tests "${titles[last]}"
    fi
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
