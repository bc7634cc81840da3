#!/usr/bin/env python3
"""Writes pictures, and what torchvision makes of them: in-*.png and out-*.png beside this file.

    pip install torch torchvision pillow numpy
    python crates/octconv-cli/tests/pictures/make_fixtures.py

The tests of src/picture.rs read them. The name of an output says what was done: out-WxH-shorterS-WxH.png is Resize(S) and
CenterCrop of a PIL picture, and out-WxH-fit-WxH.png is Resize((h, w)). Both are bilinear with antialias, torchvision's
default.
"""

import pathlib

import numpy as np
from PIL import Image
from torchvision import transforms

HERE = pathlib.Path(__file__).resolve().parent

# Columns and rows of a picture, the shorter side, and the columns and rows that are kept.
CROPS = [
    (61, 47, 40, 28, 28),  # int(40 * 61 / 47) is not the nearest number; half of 51 - 28 is rounded to 12
    (47, 61, 40, 27, 31),  # half of 40 - 27 is rounded to 6, half of 51 - 31 is whole
    (47, 61, 40, 31, 24),  # half of 40 - 31 is rounded to 4, half of 51 - 24 to 14
    (20, 15, 32, 32, 32),  # larger than before
    (150, 7, 16, 16, 16),
    (24, 18, 18, 11, 7),  # the size stays
    (18, 18, 20, 18, 18),  # a picture that has the size of the input
]
FITS = [(61, 47, 28, 20), (20, 15, 33, 40)]


def picture(w, h):
    """Edges, a slope, and noise."""
    y, x = np.mgrid[0:h, 0:w]
    noise = np.random.default_rng(w * 1000 + h).integers(0, 256, (h, w))
    edges = np.where((x // 5 + y // 3) % 2 == 0, 230, 20)
    return Image.fromarray(np.stack([noise, edges, x * 255 // w], 2).astype(np.uint8))


for w, h, shorter, kept_w, kept_h in CROPS:
    made = transforms.Compose([transforms.Resize(shorter), transforms.CenterCrop((kept_h, kept_w))])(picture(w, h))
    assert made.size == (kept_w, kept_h)
    made.save(HERE / f"out-{w}x{h}-shorter{shorter}-{kept_w}x{kept_h}.png")
for w, h, to_w, to_h in FITS:
    transforms.Resize((to_h, to_w))(picture(w, h)).save(HERE / f"out-{w}x{h}-fit-{to_w}x{to_h}.png")
for w, h in {case[:2] for case in CROPS + FITS}:
    picture(w, h).save(HERE / f"in-{w}x{h}.png")
