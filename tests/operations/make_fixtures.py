#!/usr/bin/env python3
"""Writes what operations of a network compute, by PyTorch in float64: tests/operations/cases.json.

    pip install torch numpy
    python tests/operations/make_fixtures.py

It shares no code with the crate. Pools have cases of their own: tests/pools.

A case is {name, rounding, nodes, size: [n, t, h, w], x, high, low} or {..., vector}. `x` has one channel. The nodes read
`both`, a map whose high frequency is x, and whose low frequency is the mean of 2x2 of x, with odd sizes rounded as
`rounding` says. All weights and biases are 1. The value of the last node is `high` and `low`, {size, values} each, with
values [n, 1, t, h, w]; or `vector` [n, c]. What is not finite is a string.

Where PyTorch's own `interpolate` makes the size that is wanted, it must give the same as the function that is used here.
So must its `scaled_dot_product_attention` where all is finite.
"""

import json
import math
import pathlib
import zlib

import numpy as np
import torch
import torch.nn.functional as F

OUT = pathlib.Path(__file__).resolve().parent / "cases.json"
aten = torch.ops.aten
checked = 0


def halve(x, rounding):
    if rounding == "ceil":
        # The last row or column of an odd size stands in for the one behind it: the mean is over what there is.
        x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2, 0, 0), mode="replicate")
    return F.avg_pool3d(x, (1, 2, 2), (1, 2, 2))


def half(size, rounding):
    return math.ceil(size / 2) if rounding == "ceil" else size // 2


def upsampled(x, out, node, factor):
    """One frequency, to `out`. `factor` is that of the node for frames, rows and columns, or None."""
    global checked
    scales = factor or [None] * 3
    frames = aten.upsample_nearest3d.default(x, [out[0], *x.shape[3:]], scales[0], None, None)
    n, c, t, h, w = frames.shape
    images = frames.permute(0, 2, 1, 3, 4).reshape(n * t, c, h, w)
    if node["mode"] == "nearest":
        align = None
        # With one channel, PyTorch copies an axis whose size stays, as it always does in bilinear mode.
        y = aten.upsample_nearest2d.default(images, out[1:], *scales[1:])
    else:
        align = node.get("align_corners", False)
        y = aten.upsample_bilinear2d.default(images, out[1:], align, *scales[1:])
    y = y.reshape(n, t, c, *out[1:]).permute(0, 2, 1, 3, 4)
    # As users call it.
    if x.shape[2] == out[0] == 1:
        way = {"scale_factor": factor[1:]} if factor else {"size": out[1:]}
        own = F.interpolate(x[:, :, 0], mode=node["mode"], align_corners=align, **way).unsqueeze(2)
        if own.shape == y.shape:
            torch.testing.assert_close(own, y, rtol=0, atol=0, equal_nan=True)
            checked += 1
    return y


def activate(x, activation):
    match activation:
        case "none":
            return x
        case {"leaky_relu": {"slope": slope}}:
            return F.leaky_relu(x, slope)
        case "relu" | "relu6":
            return getattr(F, activation)(x)
        case "hard_swish":
            return F.hardswish(x)
        case "hard_sigmoid":
            return F.hardsigmoid(x)


def attended(q, k, v, scale):
    """Every position of q takes a mean of v, weighted by the softmax of its dot products with all positions of k."""
    queries, keys, means = (x.flatten(2).transpose(1, 2) for x in (q, k, v))
    scale = 1 / math.sqrt(q.shape[1]) if scale is None else scale
    y = torch.softmax(scale * queries @ keys.transpose(1, 2), 2) @ means
    if all(x.isfinite().all() for x in (q, k, v)):
        own = F.scaled_dot_product_attention(queries, keys, means, scale=scale)
        torch.testing.assert_close(own, y, rtol=1e-12, atol=1e-12)
    return y.transpose(1, 2).reshape(*v.shape[:2], *q.shape[2:])


def evaluate(node, values, rounding):
    """A map is a pair of frequencies; a vector is a tensor."""

    def parts(function, *maps):
        return tuple(function(*part) for part in zip(*maps))

    inputs = [values[name] for name in node.get("inputs", [node.get("input", node.get("queries"))])]
    x = inputs[0]
    activation = node.get("activation", "none")
    match node["op"]:
        case "upsample":
            factor = None
            old = list(x[0].shape[2:])
            if "like" in node:
                new = list(values[node["like"]][0].shape[2:])
            elif "size" in node:
                new = (old[:1] + node["size"])[-3:]
            else:
                factor = ([1.0] + [float(f) for f in node["factor"]])[-3:]
                new = [math.floor(s * f) for s, f in zip(old, factor)]
            low = [new[0], *(half(s, rounding) for s in new[1:])]
            return tuple(upsampled(part, size, node, factor) for part, size in zip(x, (new, low)))
        case "add":
            # One after another, from the first on.
            return parts(lambda *terms: activate(sum(terms[1:], terms[0]), activation), *inputs)
        case "attention":
            function = lambda q, k, v: attended(q, k, v, node.get("scale"))
            return parts(function, x, values[node["keys"]], values[node["values"]])
        case "activation":
            function = lambda v: activate(v, activation)
            return function(x) if torch.is_tensor(x) else parts(function, x)
        case "global_pool":
            return torch.cat([v.flatten(2).mean(2) for v in x], 1)
        case "linear":
            y = x.sum(1, keepdim=True) + (1 if node.get("bias", True) else 0)
            return activate(y.repeat(1, node["outputs"]), activation)
        case "concat":
            return torch.cat(inputs, 1)
        case "gate":
            # The elements for high channels come first.
            by = values[node["by"]].split([v.shape[1] for v in x], 1)
            return parts(lambda v, b: v * b[..., None, None, None], x, by)
        case op:
            raise ValueError(op)


def listed(x):
    return [v if math.isfinite(v) else str(v) for v in x.flatten().tolist()]


def case(name, nodes, size, rounding="ceil", special=None):
    n, *space = size
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    # Multiples of 16 below 1024, so that the means of 2x2, and most of what is made of them, are exact in every type.
    x = 16.0 * rng.integers(-63, 64, (n, 1, *space)).astype(np.float64)
    for at, value in (special or {}).items():
        x.reshape(-1)[at] = value
    x = torch.from_numpy(x)
    values = {"both": (x, halve(x, rounding))}
    for node in nodes:
        values[node["name"]] = evaluate(node, values, rounding)
    made = {"name": name, "rounding": rounding, "nodes": nodes, "size": size, "x": listed(x)}
    last = values[nodes[-1]["name"]]
    if torch.is_tensor(last):
        return made | {"vector": listed(last)}
    for part, y in zip(("high", "low"), last):
        made[part] = {"size": list(y.shape[2:]), "values": listed(y)}
    return made


def node(name, op, **fields):
    return {"name": name, "op": op, **fields}


def upsample(name, mode, size, align=False, small=None, **more):
    """A case with one upsampling; of a smaller map that is made of `both` first, if `small` is its size."""
    source = "both"
    nodes = []
    if small:
        nodes.append(node("small", "upsample", input="both", mode="nearest", size=small))
        source = "small"
    to = {key: more.pop(key) for key in ("factor", "size_to", "like") if key in more}
    if "size_to" in to:
        to["size"] = to.pop("size_to")
    corners = {"align_corners": True} if align else {}
    nodes.append(node("up", "upsample", input=source, mode=mode, **corners, **to))
    return case(name, nodes, size, **more)


def cases():
    special = {3: math.nan, 12: math.inf, 20: -math.inf, 45: math.inf, 46: -math.inf}
    for mode, align in (("nearest", False), ("bilinear", False), ("bilinear", True)):
        label = mode + (" with corners" if align else "")

        def up(name, size, **more):
            return upsample(f"{label}: {name}", mode, size, align, **more)

        yield up("by 2", [2, 1, 4, 6], factor=[2, 2])
        yield up("by 2, odd", [1, 1, 5, 7], factor=[2, 2])
        yield up("by 2, odd, floored", [1, 1, 5, 7], factor=[2, 2], rounding="floor")
        yield up("by 1.5", [1, 1, 5, 6], factor=[1.5, 1.5])
        yield up("sizes that stay", [1, 1, 2, 3], factor=[1.2, 1.2])
        yield up("sizes that stay of one axis or one frequency", [1, 1, 3, 5], factor=[1.25, 1.25])
        yield up("by fractions", [1, 1, 6, 9], factor=[1.25, 0.75])
        yield up("to half of the size", [1, 1, 8, 7], factor=[0.5, 0.5])
        yield up("to a size", [1, 1, 4, 5], size_to=[9, 7])
        yield up("to a smaller size", [2, 1, 8, 9], size_to=[3, 5])
        yield up("of one position", [1, 1, 1, 1], size_to=[7, 4])
        yield up("to one position", [1, 1, 5, 4], size_to=[1, 1])
        yield up("like another map", [1, 1, 9, 10], small=[4, 5], like="both")
        yield up("like another map, floored", [1, 1, 11, 9], small=[3, 4], like="both", rounding="floor")
        yield up("clips, frames stay", [1, 3, 4, 3], factor=[2, 3])
        yield up("clips by 2", [1, 3, 4, 2], factor=[2, 2, 2])
        yield up("clips to a size", [2, 4, 3, 2], size_to=[7, 5, 3])
        yield up("not finite", [1, 1, 8, 6], factor=[2, 2], special=special)

    relu = node("r", "activation", input="both", activation="relu")
    turned = node("k", "activation", input="both", activation={"leaky_relu": {"slope": -0.25}})
    yield case("two terms", [relu, node("y", "add", inputs=["both", "r"])], [2, 1, 5, 6])
    yield case("a term twice", [node("y", "add", inputs=["both", "both"])], [1, 1, 3, 3], rounding="floor")
    four = node("y", "add", inputs=["k", "both", "r", "both"], activation="relu")
    yield case("four terms", [relu, turned, four], [1, 1, 7, 4])
    yield case("four terms of clips", [relu, turned, four], [1, 3, 4, 6])
    three = node("y", "add", inputs=["both", "k", "r"], activation={"leaky_relu": {"slope": 0.5}})
    yield case("terms that are not finite", [relu, turned, three], [1, 1, 8, 6], special=special)
    # In f16 a 1 that is added to 2048 is lost, and four of them together are not.
    one = node("one", "activation", input="both", activation="hard_sigmoid")
    ones = node("y", "add", inputs=["both", *["one"] * 4])
    yield case("a sum that is rounded once", [one, ones], [1, 1, 4, 4], special={i: 2048.0 for i in range(16)})
    for activation in ("none", "relu6", "hard_swish", "hard_sigmoid"):
        name = f"{activation} of a map"
        yield case(name, [node("y", "activation", input="both", activation=activation)], [1, 1, 8, 6], special=special)

    def attention(name, size, scale=2.0**-17, nodes=(), keys="both", mean_of="both", **more):
        # Products are up to 2^20. Where scores are far apart, f32 is not as near as these cases must be.
        scale = {} if scale is None else {"scale": scale}
        last = node("y", "attention", queries="both", keys=keys, values=mean_of, **scale)
        return case(f"attention: {name}", [*nodes, last], size, **more)

    yield attention("of one map", [1, 1, 4, 6])
    yield attention("of samples of odd size", [3, 1, 5, 7])
    yield attention("floored", [2, 1, 5, 7], rounding="floor")
    yield attention("of clips", [2, 3, 4, 3])
    yield attention("with a negative scale", [1, 1, 6, 6], -(2.0**-18))
    yield attention("of one position", [1, 1, 1, 1], None)
    yield attention("without a scale, of equal keys", [1, 1, 3, 4], None, [one], keys="one")
    small = node("small", "upsample", input="both", mode="nearest", size=[3, 5])
    yield attention("keys of another size", [2, 1, 8, 6], nodes=[small], keys="small", mean_of="small")
    negative = node("k", "activation", input="both", activation={"leaky_relu": {"slope": -1.0}})
    yield attention("values of another map", [1, 1, 4, 4], nodes=[negative], mean_of="k")
    # A score of infinity or NaN leaves only NaN, and one of -infinity has no weight. Each of the last three samples has one.
    six = node("six", "activation", input="both", activation="relu6")
    specials = {30: math.nan, 48 + 13: math.inf, 72 + 10: -math.inf}
    yield attention("scores that are not finite", [4, 1, 4, 6], nodes=[six], mean_of="six", special=specials)
    yield attention("values that are not finite", [4, 1, 4, 6], nodes=[six], keys="six", special=specials)

    means = [node("a", "global_pool", input="both"), relu, node("b", "global_pool", input="r")]
    yield case("relu of vectors", [*means, node("y", "activation", input="a", activation="relu")], [3, 1, 4, 4])
    yield case("vectors side by side", [*means, node("y", "concat", inputs=["b", "a", "b"])], [3, 1, 4, 4])
    turned_means = node("g", "activation", input="a", activation={"leaky_relu": {"slope": -0.5}})
    # Of 0 to 6, because a mean times 1008 may be more than f16 holds.
    means.append(node("s", "activation", input="both", activation="relu6"))
    gate = node("y", "gate", input="s", by="g")
    yield case("a gate", [*means, turned_means, gate], [3, 1, 5, 4])
    yield case("a gate of clips", [*means, turned_means, gate], [2, 3, 4, 3], rounding="floor")
    yield case("a gate that is not finite", [*means, turned_means, gate], [1, 1, 8, 6], special=special)
    for bias in (True, False):
        linear = node("y", "linear", input="a", outputs=3, bias=bias, activation={"leaky_relu": {"slope": 0.25}})
        yield case(f"an activated matrix, bias {bias}", [*means, linear], [3, 1, 4, 4])


def main():
    made = list(cases())
    lines = ",\n".join(json.dumps(c) for c in made)
    OUT.write_text(f"[\n{lines}\n]\n")
    print(f"{len(made)} cases; `interpolate` makes {checked} of the frequencies itself")


if __name__ == "__main__":
    main()
