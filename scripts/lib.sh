# shellcheck shell=bash
# What scripts/test.sh and .ci/run share. They source this file in the root of the repository; nobody runs it by itself.
#
# A run is one call of `cargo test` on one driver. Each run leaves three files in $reports: N.title, N.log (what cargo
# printed) and N.cases. The device tests get the path of N.cases in OCTCONV_TEST_REPORT, and append to it. Its lines are
# `ran KIND COUNT` and `missing FEATURE COUNT`, with tabs between the fields. The kinds are `cases`, which counts all
# cases, and those in $special, which not every device can run.

# The same features for everything, so that each dependency is compiled once.
readonly everything=(--locked --workspace --all-features)
readonly target=${CARGO_TARGET_DIR:-target}
readonly reports=$target/test-reports
readonly octconv=$target/debug/octconv
readonly special=(f16 "64-bit words" "matrix units" "emulated matrix units")
# The device tests that also run with checks in the shaders. All of them would take too long.
readonly checked_tests=(table::direct::pools table::direct::upsamples table::direct::adds embedding)
# The device tests that run on a software driver of this machine if all of them run on the newest one: those that compile
# little, three networks, and three themes of the table.
readonly brief_tests=(activations:: embedding:: errors:: exhausted:: networks_random:: operations::pools promised:: reduce:: small_kernels::
    tune:: ::alpha ::one_pixel ::types networks::cifar_resnet44 networks::se_resnet50 networks::mobilenet_v2)

say() {
    doing=$*
    printf '\n== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60))
}

fail() {
    printf 'error: %s\n' "$*" >&2
    doing=
    exit 1
}

# At the end of the script: stops what runs beside it and, if a command failed, says what the script was doing.
end() {
    if [[ -n $device_process ]]; then
        # A group of processes: cargo, and the program that it started.
        kill -- "-$device_process" 2>/dev/null || true
        # It may have failed too, and nothing else shows what it printed.
        printf '\nstopped: tests on %s, which had printed last:\n' "$(cat "$reports/$device_run.title")" >&2
        tail -n 20 "$reports/$device_run.log" >&2 || true
    fi
    [[ $1 == 0 || -z $doing ]] || printf '\nerror: failed at: %s\n' "$doing" >&2
}
doing=starting
trap 'end $?' EXIT
# Tests that were started and are not awaited. Empty if there are none.
device_process=

# Installs packages on Debian and Ubuntu.
install() {
    local as_root=(env)
    command -v apt-get >/dev/null || return 1
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || return 1
        as_root=(sudo env)
        # Nobody is there to type a password.
        [[ -t 0 ]] || as_root=(sudo -n env)
    fi
    say "installing $*"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# Installs Node.js if it is missing. Debian 12 and Ubuntu 24.04 have an older one than the tests need.
need_node() {
    local least=20 major
    command -v node >/dev/null && command -v npm >/dev/null || install nodejs npm || fail "node or npm is missing: install Node $least"
    major=$(node -p 'process.versions.node.split(".")[0]')
    [[ $major -ge $least ]] || fail "node is version $major: must be $least or later, from https://nodejs.org"
}

install_tools() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
        rustup component add rustfmt clippy ||
        fail "cargo fmt or cargo clippy is missing: install rustfmt and clippy"
    command -v cc >/dev/null || install gcc libc6-dev ||
        fail "a C compiler is missing, which Rust links with: install gcc"
}

# Sets the environment variables that the drivers need.
set_environment() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    # The variable that tells cargo how to start the programs that it has built.
    runner_variable=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$host")_RUNNER
    # Without it, Mesa's device selection complains on standard error, which some tests read.
    export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}
    # A test on a software device spends most of its time on compiling shaders. This leaves out LLVM's optimisations.
    # The results are the same.
    export GALLIVM_PERF=${GALLIVM_PERF:-nopt}
    # A software device compiles in one thread, and the tests that use the device wait for it. So there are more threads
    # than processors.
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc 2>/dev/null || echo 2)))}
    if [[ $(uname) == Linux ]]; then
        # Often there is an OpenGL device too. It has fewer features, so it must not be taken.
        export WGPU_BACKEND=${WGPU_BACKEND:-vulkan}
    fi
}

# Prints the driver that `octconv info` names with the runner $1 (empty: no runner). Fails if there is no device.
driver_behind() {
    local found
    # shellcheck disable=SC2086 # a runner may have arguments
    found=$($1 "$octconv" info 2>/dev/null) || return 1
    sed -n 's/^ *driver  *//p' <<<"$found" | sed -n 1p
}

readonly newest_title="the newest software Vulkan"

add_driver() {
    titles+=("$1")
    runners+=("$2")
}

not_run() {
    echo "not run here: $*" >>"$reports/missing"
}

# Whether the driver that `octconv info` names $1 compiles for the processor, which takes long.
is_software() {
    [[ $1 == *llvmpipe* ]]
}

# Sets `titles` and `runners`: the drivers that tests run on. First the machine's own; then the newest software Vulkan,
# if that is another one. With OCTCONV_TEST_NEWEST set, a machine that cannot have it is a failure. Needs the built
# program.
find_drivers() {
    local own=${!runner_variable:-} own_driver newest newest_driver status=0 message
    titles=() runners=()

    own_driver=$(driver_behind "$own") ||
        { [[ $(uname) == Linux ]] && install libvulkan1 mesa-vulkan-drivers && own_driver=$(driver_behind "$own"); } ||
        own_driver=
    if [[ -n $own_driver ]]; then
        add_driver "this machine's driver, $own_driver" "$own"
    else
        not_run "all tests on this machine's own driver: it has none, and installing mesa-vulkan-drivers failed"
    fi

    say "$newest_title"
    message=$(mktemp)
    newest=$(scripts/newest-software-vulkan 2>"$message") || status=$?
    cat "$message" >&2
    if [[ $status == 0 ]]; then
        newest_driver=$(driver_behind "$newest") || fail "$newest has no Vulkan device"
        if [[ $newest_driver != "$own_driver" ]]; then
            add_driver "$newest_title, $newest_driver" "$newest"
        fi
    elif [[ ($status != 3 && -n ${CI:-}) || -n ${OCTCONV_TEST_NEWEST:-} ]]; then
        fail "fetching $newest_title failed, and this run must have it"
    else
        not_run "all tests on $newest_title: $(tail -n 1 "$message")"
    fi
    rm -f "$message"
    [[ ${#titles[@]} -gt 0 ]] || fail "no Vulkan device, and none could be installed: install mesa-vulkan-drivers"
}

# Sets `number` to that of a new run, and gives the run the title $1.
start_report() {
    number=$(find "$reports" -name '*.title' | wc -l)
    number=$((number + 1))
    echo "$1" >"$reports/$number.title"
    : >"$reports/$number.cases"
}

# Runs `cargo test` with the arguments from $3 on, with the runner $2, as the run $1.
test_as() {
    # An absolute path, because cargo runs each test in its package's folder.
    local number=$1 runner=$2 cases
    shift 2
    cases=$(cd "$reports" && pwd)/$number.cases
    if [[ -n $runner ]]; then
        env "$runner_variable=$runner" OCTCONV_TEST_REPORT="$cases" cargo test "${everything[@]}" "$@"
    else
        OCTCONV_TEST_REPORT=$cases cargo test "${everything[@]}" "$@"
    fi
}

# Runs `cargo test` with the arguments from $3 on, with the runner $2, and reports it under the title $1. Sets `number`
# to that of the run.
run_tests() {
    local title=$1
    shift
    start_report "$title"
    say "tests on $title"
    test_as "$number" "$@" | tee "$reports/$number.log"
}

# Runs `cargo test` as run_tests does, with device tests among the tests. If they count no case, they did not run.
run_tests_on_device() {
    run_tests "$@"
    [[ $(count_ran "$number" cases) -gt 0 ]] || fail "the device tests counted no case"
}

# Runs, with the runner $2 and under the title $1, the brief tests of those in tests/device, and all others.
run_brief_tests() {
    local filter
    run_tests_on_device "$1, the brief device tests" "$2" --test device -- "${brief_tests[@]}"
    for filter in "${brief_tests[@]}"; do
        grep -q "^test .*$filter" "$reports/$number.log" || fail "no device test has the name $filter"
    done
    run_tests "$1, all other tests" "$2" --lib --bins --examples --test host --test cli --test tensors --test onnx --test corpora
    run_tests "$1, examples in the documentation" "$2" --doc
}

# Starts every device test with the runner $2, under the title $1, while other tests run: each of them often waits for
# one thread that compiles.
start_device_tests() {
    start_report "$1"
    device_run=$number
    # As a group of processes of its own, which `end` can stop.
    set -m
    test_as "$number" "$2" --test device >"$reports/$number.log" 2>&1 &
    device_process=$!
    set +m
}

# Waits for the device tests that were started under the title $1, and prints what they printed. The newest software
# Vulkan has all features, so if a kind of cases did not run there, the tests are wrong.
end_device_tests() {
    local kind kinds=(cases) status=0
    say "tests on $1"
    wait "$device_process" || status=$?
    device_process=
    cat "$reports/$device_run.log"
    [[ $status == 0 ]] || fail "a device test failed on $1"
    [[ $1 != "$newest_title"* ]] || kinds+=("${special[@]}")
    for kind in "${kinds[@]}"; do
        [[ $(count_ran "$device_run" "$kind") -gt 0 ]] || fail "no case of the kind \"$kind\" ran on $1"
    done
}

# Prints how many cases of the kind $2 the run $1 counted.
count_ran() {
    awk -F '\t' -v kind="$2" '$1 == "ran" && $2 == kind { sum += $3 } END { print sum + 0 }' "$reports/$1.cases"
}

# Prints what each run counted, what did not run and why, and last how many tests passed.
print_summary() {
    local file number
    say "summary"
    for file in "$reports"/*.title; do
        number=$(basename "$file" .title)
        # Not every run has device tests.
        [[ -s $reports/$number.cases ]] || continue
        echo "on $(cat "$file"):"
        awk -F '\t' '
            $1 == "ran" && $2 != "cases" && !($2 in ran) { kinds[++n] = $2 }
            $1 == "ran" { ran[$2] += $3 }
            $1 == "missing" && !($2 in missing) { features[++m] = $2 }
            $1 == "missing" { missing[$2] += $3 }
            END {
                printf "  ran: %d cases", ran["cases"]
                for (i = 1; i <= n; i++) printf ", %s: %d", kinds[i], ran[kinds[i]]
                print ""
                for (i = 1; i <= m; i++) printf "  not run here: %d cases need %s\n", missing[features[i]], features[i]
            }' "$reports/$number.cases"
    done
    [[ ! -e $reports/missing ]] || sort -u "$reports/missing"
    awk '$1 " " $2 == "test result:" { passed += $4; failed += $6; skipped += $8 }
        END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$reports"/*.log
}
