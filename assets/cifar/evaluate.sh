#!/usr/bin/env bash
# Evaluates the four networks on the test pictures of CIFAR-10, which train.py writes to target/cifar, and compares each
# answer with PyTorch's. Flags, such as --reference, go to `octconv evaluate`.
set -euo pipefail
cd "$(dirname "$0")/../.."
failed=0
for name in plain oct-125 oct-250 oct-500; do
    cargo run --release --quiet -- evaluate "target/cifar/$name.json" --network "assets/cifar/$name.json" \
        --weights "assets/cifar/$name.safetensors" --labels assets/cifar/labels.txt "$@" || failed=1
done
exit "$failed"
