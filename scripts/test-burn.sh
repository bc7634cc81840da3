#!/usr/bin/env bash
# Checks formatting, lints and documentation of crates/octconv-burn, and runs its tests on a software Vulkan device: the
# newest (scripts/newest-software-vulkan) if this machine can have it, or else its own. It is a workspace of its own, because
# Burn compiles long. Needs Rust. On Debian and Ubuntu it installs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

# Prints a program that runs others on the newest software Vulkan. Prints nothing if this machine cannot have it.
newest_software() {
    local status=0
    scripts/newest-software-vulkan || status=$?
    [[ $status == 0 || $status == 3 ]] || fail "fetching the newest software Vulkan failed"
}

# Takes the machine's own driver if there is no runner.
use_device() {
    local runner
    runner=$(newest_software)
    if [[ -n $runner ]]; then
        # It has f16: a test that needs it must run.
        export "$runner_variable=$runner" OCTCONV_REQUIRE_F16=1
    elif [[ $(uname) == Linux ]] && ! compgen -G "/usr/share/vulkan/icd.d/*.json" >/dev/null; then
        install libvulkan1 mesa-vulkan-drivers || fail "no Vulkan device: install mesa-vulkan-drivers"
    fi
}

install_tools
set_environment
# Nothing is built twice, and the folder is large.
export CARGO_INCREMENTAL=0
cd crates/octconv-burn
say "formatting"
cargo fmt --check
say "building"
cargo test --locked --no-run
say "lints and documentation"
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
cd ../..
say "$newest_title"
use_device
cd crates/octconv-burn
OCTCONV_TEST_REPORT=$(mktemp)
export OCTCONV_TEST_REPORT
say "tests with operator fusion"
cargo test --locked
say "tests without operator fusion"
cargo test --locked --no-default-features --features networks --test accelerated --test networks
say "summary"
# Lines of a feature, and whether a test that needs it ran.
awk -F '\t' '$1 == "missing" && !seen[$2]++ { print "not run here: tests that need " $2; missing = 1 }
    END { if (!missing) print "every test ran" }' "$OCTCONV_TEST_REPORT"
rm -f "$OCTCONV_TEST_REPORT"
doing=
