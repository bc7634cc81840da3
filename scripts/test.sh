#!/usr/bin/env bash
# Passes the tests on a machine with Rust: formatting, lints, documentation, and the whole suite, with kernels made
# unchecked and checked. On Debian and Ubuntu it installs what is missing: a C linker for Rust, and a software Vulkan
# driver where there is no Vulkan device.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

install() {
    if ! command -v apt-get >/dev/null; then
        echo "error: missing $*, and no apt-get to install it; install it by hand" >&2
        exit 1
    fi
    local sudo=()
    [[ $(id -u) == 0 ]] || sudo=(sudo)
    say "installing $*"
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -qq -y --no-install-recommends "$@"
}

command -v cargo >/dev/null || { echo "error: cargo not found; install Rust from https://rustup.rs" >&2; exit 1; }
command -v cc >/dev/null || install gcc libc6-dev

say "formatting"
cargo fmt --check
say "building"
cargo test --locked --no-run
octconv=${CARGO_TARGET_DIR:-target}/debug/octconv
if [[ $(uname) == Linux ]]; then
    # Not whatever answers first: an OpenGL device is often there too, and is not what this library is for.
    export WGPU_BACKEND=${WGPU_BACKEND:-vulkan}
    "$octconv" info >/dev/null 2>&1 || install libvulkan1 mesa-vulkan-drivers
fi
"$octconv" info --json >/dev/null
"$octconv" info | sed -n 1,4p

say "lints, documentation"
cargo clippy --locked --all-targets -- -D warnings
cargo clippy --locked --no-default-features -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Without one Mesa's device selection complains on standard error.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}
# Mesa's software devices spend most of a test on compiling its kernels: they skip LLVM's optimisations here. What they
# compute is the same; `octconv verify` runs them optimised.
export GALLIVM_PERF=${GALLIVM_PERF:-nopt}
say "tests"
cargo test --locked
# The longest files are left to whoever runs all of it: OCTCONV_CHECKED=1 cargo test
say "tests on the device once more, with bounds checks in the kernels"
OCTCONV_CHECKED=1 cargo test --locked --test pool --test upsample --test add --test embedding
