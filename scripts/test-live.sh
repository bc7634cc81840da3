#!/usr/bin/env bash
# Checks and tests the application in examples/live, without a screen. Needs Rust. On Debian and Ubuntu it installs what
# is missing: a C compiler, and a software Vulkan driver if there is no device. It compiles hundreds of crates.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

# Whether this machine has a Vulkan device, or a software one could be installed. Only Linux needs Vulkan.
find_vulkan() {
    [[ $(uname) != Linux || -n ${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-} ]] ||
        compgen -G "/usr/share/vulkan/icd.d/*.json" >/dev/null || compgen -G "/etc/vulkan/icd.d/*.json" >/dev/null ||
        install libvulkan1 mesa-vulkan-drivers
}

install_tools
set_environment
find_vulkan || fail "no Vulkan device, and none could be installed: install mesa-vulkan-drivers"

cd examples/live
say "formatting and lints of the application"
cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
say "tests of the application"
cargo test --locked
doing=
