#!/usr/bin/env python3
"""Writes what the pools of a network compute, by PyTorch: tests/pools/cases.json.

    pip install torch numpy
    python tests/pools/make_fixtures.py

It shares no code with the crate. A map is padded to exactly what its windows cover, and then pooled by PyTorch without
padding: maxima with -infinity, sums with 0. A mean is such a sum, divided by the sum of as many ones. Where PyTorch has
the pool itself (the same padding on both sides, at most half of the kernel; as many windows as it would take), its own
`max_pool3d` or `avg_pool3d` must give the same.

A case is {name, rounding, nodes, size: [n, t, h, w], x, high, low}, as tests/operations/make_fixtures.py has it. The only
node is the pool.
"""

import json
import math
import pathlib
import zlib

import numpy as np
import torch
import torch.nn.functional as F

OUT = pathlib.Path(__file__).resolve().parent / "cases.json"


def windows(size, kernel, stride, before, behind, ceil):
    """How many windows there are along an axis: `pooling_output_shape_pad_lr` of ATen/native/Pool.h."""
    room = size + before + behind - kernel
    count = (math.ceil(room / stride) if ceil else math.floor(room / stride)) + 1
    # With ceil, the last window must begin in the map or in front of it.
    return count - 1 if ceil and (count - 1) * stride >= size + before else count


def halve(x, rounding):
    if rounding == "ceil":
        # The last row or column of an odd size stands in for the one behind it: the mean is over what there is.
        x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2, 0, 0), mode="replicate")
    return F.avg_pool3d(x, (1, 2, 2), (1, 2, 2))


def pooled(x, out, pool):
    """`out` windows along each axis of x."""
    kernel, stride, padding = pool["kernel"], pool["stride"], pool["padding"]
    ends = []
    for size, count, k, s, (before, _) in zip(x.shape[2:], out, kernel, stride, padding):
        reach = (count - 1) * s + k - before
        ends.append((before, max(reach - size, 0), min(reach, size)))
    # What lies behind the last window is cut off. F.pad begins with the last axis.
    cut = x[:, :, : ends[0][2], : ends[1][2], : ends[2][2]]
    around = [n for before, behind, _ in reversed(ends) for n in (before, behind)]

    def sums(values):
        return F.avg_pool3d(F.pad(values, around), kernel, stride, divisor_override=1)

    counted = torch.ones_like(cut)
    counts = sums(counted)
    assert (counts > 0).all(), "a window has no element"
    if pool["kind"] == "max":
        return F.max_pool3d(F.pad(cut, around, value=-math.inf), kernel, stride)
    if pool["count_include_pad"]:
        limits = [n for e, (_, b) in zip(reversed(ends), reversed(padding)) for n in (e[0], min(e[1], b))]
        inner = F.pad(counted, limits, value=1.0)
        rest = [n for e, (_, b) in zip(reversed(ends), reversed(padding)) for n in (0, e[1] - min(e[1], b))]
        counts = F.avg_pool3d(F.pad(inner, rest), kernel, stride, divisor_override=1)
    return sums(cut) / counts


def by_pytorch(x, pool):
    """The pool as PyTorch has it, or None."""
    kernel, stride, padding = pool["kernel"], pool["stride"], [before for before, _ in pool["padding"]]
    if any(b != e or 2 * b > k for (b, e), k in zip(pool["padding"], kernel)):
        return None
    average = pool["kind"] == "average"
    more = {"ceil_mode": pool["ceil_mode"]} | ({"count_include_pad": pool["count_include_pad"]} if average else {})
    if x.shape[2] == 1 and kernel[0] == 1:
        function = F.avg_pool2d if average else F.max_pool2d
        return function(x.squeeze(2), kernel[1:], stride[1:], padding[1:], **more).unsqueeze(2)
    return (F.avg_pool3d if average else F.max_pool3d)(x, kernel, stride, padding, **more)


checked = {"max": 0, "average": 0}


def part(x, out, pool):
    y = pooled(x, out, pool)
    assert y.shape[2:] == tuple(out), (y.shape, out)
    try:
        own = by_pytorch(x, pool)
    except RuntimeError:  # A low frequency that PyTorch would leave nothing of.
        own = None
    if own is not None and own.shape == y.shape:
        torch.testing.assert_close(own, y, equal_nan=True)
        checked[pool["kind"]] += 1
    plain = [v if math.isfinite(v) else str(v) for v in y.flatten().tolist()]
    return {"size": list(out), "values": plain}


def case(name, kind, kernel, stride, padding, size, rounding="ceil", ceil_mode=False, count=False, special=None):
    """`padding` has a pair for each axis."""
    n, *space = size
    pool = {"kind": kind, "kernel": kernel, "stride": stride, "padding": padding}
    pool |= {"ceil_mode": ceil_mode, "count_include_pad": count}
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    # Multiples of 4 below 64, so that the means of 2x2 are whole, and exact in every type.
    x = 4.0 * rng.integers(-15, 16, (n, 1, *space)).astype(np.float64)
    for at, value in (special or {}).items():
        x.reshape(-1)[at] = value
    x = torch.from_numpy(x)
    out = [windows(s, k, d, b, e, ceil_mode) for s, k, d, (b, e) in zip(space, kernel, stride, padding)]
    half = [out[0], *(math.ceil(v / 2) if rounding == "ceil" else v // 2 for v in out[1:])]
    return {
        "name": name,
        "rounding": rounding,
        "nodes": [{"name": "pool", "op": "pool", "input": "both"} | pool],
        "size": size,
        "x": [v if math.isfinite(v) else str(v) for v in x.flatten().tolist()],
        "high": part(x, out, pool),
        "low": part(halve(x, rounding), half, pool),
    }


def square(name, kind, kernel, stride, padding, size, **more):
    """A case of images. `padding` is a number, or [before, behind]."""
    ends = list(padding) if isinstance(padding, list) else [padding, padding]
    n, h, w = size
    return case(name, kind, [1, kernel, kernel], [1, stride, stride], [[0, 0], ends, ends], [n, 1, h, w], **more)


def cover_all(name, kernel, stride, padding, size):
    """Chainer's cover_all: (size + 2 * padding - kernel + stride - 1) // stride + 1 windows, the last one not dropped."""
    made = square(name, "max", kernel, stride, [padding, padding + stride - 1], size)
    for s, o in zip(size[1:], made["high"]["size"][1:]):
        assert o == (s + 2 * padding - kernel + stride - 1) // stride + 1, name
    return made


def cases():
    for kind, count in (("max", False), ("average", False), ("average", True)):
        label = kind + (" counts padding" if count else "")
        more = {"count": count}
        up = {"ceil_mode": True, **more}
        yield square(f"{label}: 3 by 2 rounds up", kind, 3, 2, 0, [1, 12, 14], **up)
        yield square(f"{label}: 3 by 2, padded, rounds up", kind, 3, 2, 1, [2, 8, 10], **up)
        yield square(f"{label}: 3 by 2, odd, rounds up", kind, 3, 2, 1, [1, 7, 9], **up)
        yield square(f"{label}: floored halves", kind, 3, 2, 1, [1, 8, 9], rounding="floor", **up)
        yield square(f"{label}: a window in the padding is dropped", kind, 2, 2, 1, [1, 5, 7], **up)
        yield square(f"{label}: windows apart", kind, 1, 3, 0, [1, 8, 6], **up)
        yield square(f"{label}: 5 by 3, rounds up", kind, 5, 3, 2, [1, 9, 12], **up)
        yield square(f"{label}: 4 by 4 of 4 by 3", kind, 4, 3, 1, [1, 10, 8], **up)
        yield square(f"{label}: a map smaller than the window", kind, 3, 2, 0, [1, 2, 3], **up)
        yield square(f"{label}: one pixel, rounds up", kind, 2, 2, 0, [2, 1, 1], **up)
        yield square(f"{label}: one pixel, padded", kind, 3, 2, 1, [1, 1, 1], **more)
        yield square(f"{label}: one row", kind, 3, 2, 1, [1, 1, 8], **up)
        yield square(f"{label}: a window of 7 on 2 x 3", kind, 7, 2, 3, [1, 2, 3], **more)
        yield square(f"{label}: behind alone", kind, 3, 2, [0, 1], [1, 8, 6], **more)
        yield square(f"{label}: before alone", kind, 3, 2, [1, 0], [1, 8, 6], **more)
        yield square(f"{label}: much behind", kind, 3, 1, [0, 2], [1, 6, 6], **more)
        yield square(f"{label}: behind, rounds up", kind, 3, 3, [0, 1], [1, 7, 11], **up)
        sides = [[0, 0], [1, 0], [2, 1]]
        yield case(f"{label}: four sides", kind, [1, 2, 4], [1, 2, 2], sides, [1, 1, 7, 8], **more)
        yield case(f"{label}: four sides, rounds up", kind, [1, 3, 3], [1, 2, 2], sides, [1, 1, 6, 10], **up)
        clip = [[1, 0], [1, 1], [0, 1]]
        yield case(f"{label}: clip", kind, [2, 3, 3], [2, 2, 2], clip, [1, 5, 8, 6], **more)
        yield case(f"{label}: clip rounds up", kind, [3, 3, 2], [2, 2, 2], [[1, 1]] * 3, [1, 4, 8, 8], **up)
        special = {3: math.nan, 12: math.inf, 20: -math.inf, 21: -math.inf, 28: -math.inf, 29: -math.inf, 45: math.inf}
        yield square(f"{label}: not finite", kind, 2, 2, 0, [1, 7, 8], special=special, **up)
    yield cover_all("Chainer: 3 by 2", 3, 2, 0, [1, 12, 13])
    yield cover_all("Chainer: 2 by 2, odd", 2, 2, 0, [1, 5, 8])
    yield cover_all("Chainer: 3 by 3, padded", 3, 3, 1, [1, 10, 9])


def main():
    made = list(cases())
    lines = ",\n".join(json.dumps(c) for c in made)
    OUT.write_text(f"[\n{lines}\n]\n")
    print(f"{len(made)} cases; PyTorch has the pool itself in {checked}")


if __name__ == "__main__":
    main()
