#!/usr/bin/env bash
# Exports bundles, plays them with the programs in players/, and compares what they give with the CPU reference. Compiles
# the kernels of the other languages by the compilers that can be had. Needs Rust, and Node 20 or later, which Debian 12 and
# Ubuntu 24.04 do not have; on Debian and Ubuntu it installs the rest: a C compiler, Vulkan, Chromium, glslang, SPIRV-Tools,
# and Python packages in a folder of their own under target/. The last lines say what could not be done here, and why. It
# takes minutes: software devices compile slowly.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly out=$target/players
readonly python=$out/venv/bin/python
# A player's exit status if the device lacks something that the bundle requires.
readonly lacks=3
left_out=()

not_done() {
    left_out+=("$*")
    echo "not done: $*"
}

# Installs the package $2 if there is no command $1.
need() {
    command -v "$1" >/dev/null || install "$2" || fail "$1 is missing: install $2"
}

install_tools_of_players() {
    need cc gcc
    need glslangValidator glslang-tools
    need spirv-val spirv-tools
    need_node
    [[ -e /usr/include/vulkan/vulkan.h && -e /usr/include/cjson/cJSON.h ]] || install libvulkan-dev libcjson-dev ||
        fail "Vulkan's or cJSON's header is missing: install libvulkan-dev and libcjson-dev"
    [[ $(uname) != Linux || -n $(find /usr/share/vulkan /etc/vulkan -name '*.json' -path '*icd.d*' 2>/dev/null) ]] ||
        install libvulkan1 mesa-vulkan-drivers || true
    say "Python packages"
    # Without python3-venv, Debian's Python makes half of it, and pip is missing.
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        python3 -m venv --clear "$out/venv" || { install python3-venv && python3 -m venv --clear "$out/venv"; } ||
            fail "Python or its module venv is missing: install python3-venv"
    fi
    "$python" -m pip install -q --disable-pip-version-check -r players/python/requirements.txt
}

# Exports the network $2 as the bundle $1-$3, where $3 is the language, with the arguments from $4 on.
export_bundle() {
    local name=$1 network=$2 language=$3
    shift 3
    "$octconv" export "$network" --to "$language" --out "$out/$name-$language" "$@"
}

export_bundles() {
    local language file manifests=()
    say "exporting"
    for language in wgsl spirv msl hlsl glsl; do
        export_bundle digits digits "$language" --example assets/digits/pictures/eight.jpg
        export_bundle mobilenet-v2 mobilenet-v2 "$language" --size 64 --random-weights --example random
        export_bundle resnet50 resnet50 "$language" --size 64 --random-weights --example random
        # GLSL has no f16.
        [[ $language == glsl ]] ||
            export_bundle resnet50-f16 resnet50 "$language" --size 64 --random-weights --example random \
                --dtype f16 --device players/f16.json
    done
    # Where the newest software Vulkan has matrix units.
    "$octconv" export resnet50 --to spirv --out "$out/resnet50-matrices" --size 64 --random-weights --example random \
        --dtype f16 --device players/matrices.json
    say "manifests against docs/bundle.schema.json"
    for file in "$out"/*/manifest.json; do
        manifests+=(-i "$file")
    done
    "$python" -m jsonschema "${manifests[@]}" docs/bundle.schema.json
}

# Plays the bundle $2 with the command from $3 on, on the driver $1. Returns 1 if the device lacks something.
play() {
    local driver=$1 bundle=$2 status=0
    shift 2
    "$@" "$out/$bundle" || status=$?
    [[ $status != "$lacks" ]] || { echo "$bundle: not played on $driver"; return 1; }
    [[ $status == 0 ]] || fail "$bundle gives wrong answers on $driver, or does not run: $*"
}

# Plays all networks with the player $2 (C or Python), on the driver $1, by the command from $4 on. Their language is $3.
play_all() {
    local driver=$1 player=$2 language=$3
    shift 3
    say "the $player player on $driver"
    play "$driver" "digits-$language" "$@"
    play "$driver" "mobilenet-v2-$language" "$@"
    play "$driver" "resnet50-f16-$language" "$@" || play "$driver" "resnet50-$language" "$@"
}

play_in_python_and_c() {
    local newest
    say "building the C player"
    cc -std=c11 -Wall -Wextra -Werror -O2 -o "$out/play" players/c/play.c -lvulkan -lcjson -lm
    play_all "this machine's driver" C spirv "$out/play"
    play_all "this machine's driver" Python wgsl "$python" players/python/play.py
    if newest=$(scripts/newest-software-vulkan); then
        say "f16 on $newest_title"
        # It has all features. So a player that says that one is missing is wrong.
        play "$newest_title" resnet50-f16-spirv "$newest" "$out/play" || fail "the C player finds no f16 there"
        play "$newest_title" resnet50-f16-wgsl "$newest" "$python" players/python/play.py ||
            fail "the Python player finds no f16 there"
        play "$newest_title" resnet50-matrices "$newest" "$out/play" ||
            fail "the C player finds no matrix units there"
    else
        not_done "f16 and matrix units on $newest_title, which could not be fetched"
    fi
}

play_in_a_browser() {
    local name status=0
    for name in "${CHROMIUM:-chromium}" chromium-browser google-chrome; do
        CHROMIUM=$(command -v "$name") && break
    done
    if [[ -z $CHROMIUM ]]; then
        install chromium || { not_done "the JavaScript player: there is no Chromium"; return; }
        CHROMIUM=$(command -v chromium)
    fi
    export CHROMIUM
    say "the JavaScript player in $("$CHROMIUM" --version 2>/dev/null)"
    npm --prefix players/javascript ci --silent
    node players/javascript/test.mjs "$out"/{digits,mobilenet-v2,resnet50,resnet50-f16}-wgsl || status=$?
    case $status in
        0) ;;
        "$lacks") not_done "the JavaScript player, for those of its bundles that Chromium's device lacks something for" ;;
        *) fail "a bundle gives wrong answers in the browser, or does not run" ;;
    esac
}

compile_other_languages() {
    local file
    say "SPIR-V by spirv-val, for Vulkan 1.1"
    for file in "$out"/*-spirv/shaders/*.spv; do
        spirv-val --target-env vulkan1.1 "$file"
    done
    # spirv-val of Debian 12 does not know the extension for matrix units.
    for file in "$out"/resnet50-matrices/shaders/*.spv; do
        spirv-val --target-env vulkan1.1 "$file" >"$out/log" 2>&1 || {
            grep -q "Invalid capability operand: 6022" "$out/log" || { cat "$out/log" && fail "$file"; }
            not_done "SPIR-V for matrix units: this spirv-val does not know their extension"
            break
        }
    done
    say "GLSL by glslang, for Vulkan and for OpenGL"
    for file in "$out"/*-glsl/shaders/*.comp; do
        glslangValidator -V "$file" -o /dev/null >"$out/log" || { cat "$out/log" && fail "$file"; }
        glslangValidator -G "$file" -o /dev/null >"$out/log" || { cat "$out/log" && fail "$file"; }
    done
    say "HLSL by Slang"
    if "$python" -m pip install -q --disable-pip-version-check slangpy; then
        "$python" players/python/check_hlsl.py main "$out"/*-hlsl/shaders/*.hlsl 2>"$out/log" ||
            { head -n 40 "$out/log" && fail "HLSL does not compile"; }
    else
        not_done "HLSL by Slang, which could not be installed"
    fi
    not_done "HLSL by Direct3D's own compilers, DXC and FXC: no package for Linux has them"
    not_done "MSL: Metal's compiler is for macOS and Windows only"
}

need python3 python3
mkdir -p "$out"
install_tools
set_environment
install_tools_of_players
say "building"
cargo build "${everything[@]}" --bin octconv
export_bundles
play_in_python_and_c
play_in_a_browser
compile_other_languages
say "all players give the right answers"
printf 'not done: %s\n' "${left_out[@]}"
