"""Writes in.safetensors, the tensors of the layer in spec.json: a smooth picture of 16 channels at both resolutions,
and random weights.

    pip install numpy safetensors
    python assets/layer/make_example.py
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(2019)
rows, cols = np.mgrid[0:27, 0:35] / 8.0
waves = [np.sin(rows * a + 0.3 * c) * np.cos(cols * b) for c, (a, b) in enumerate(rng.uniform(0.5, 3, (16, 2)))]
picture = np.stack(waves).astype(np.float32)[None]
# 27 x 35 is odd on purpose: the low resolution rounds up to 14 x 18.
low = np.pad(picture[:, 8:], ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge")
low = low.reshape(1, 8, 14, 2, 18, 2).mean(axis=(3, 5))
weight = lambda: rng.normal(0, (2 / (16 * 9)) ** 0.5, (8, 8, 3, 3)).astype(np.float32)
tensors = {"x_h": picture[:, :8].copy(), "x_l": low.astype(np.float32)}
tensors |= {name: weight() for name in ("w_hh", "w_hl", "w_lh", "w_ll")}
tensors |= {name: rng.normal(0, 0.1, 8).astype(np.float32) for name in ("bias_h", "bias_l")}
save_file(tensors, Path(__file__).parent / "in.safetensors")
